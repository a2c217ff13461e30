"""Callbacks in Baselines' form, of both families: what they are told, and how they stop a run."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from short_runs import assert_same_state, train

from wng_tf.errors import UserError
from wng_tf.training import checkpoint
from wng_tf.training.callbacks import Callbacks, Names

RUNS = ("ppo on CartPole", "wnes on Point")


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (lambda local: local["a"], [1]),
        (lambda local, world: (local["a"], world["b"]), [(1, 2)]),
        (lambda *both: len(both), [2]),
        (lambda local, world=None: world["b"], [2]),
        (lambda **_: None, None),
        (lambda one, two, three: None, None),
    ],
)
def test_a_callback_takes_locals_and_globals_or_the_locals_alone(callback, told):
    if told is None:
        with pytest.raises(UserError, match="must take"):
            Callbacks(callback)
        return
    seen = []
    assert Callbacks(lambda *a: seen.append(callback(*a[: 1 if told == [1] else 2])))(Names(a=1), Names(b=2))
    assert seen == told
    assert Callbacks(callback)(Names(a=1), Names(b=2))


@pytest.mark.parametrize("given", [3, "stop", [print, None], {"a": print}])
def test_what_is_no_callback_is_refused(given):
    with pytest.raises(UserError, match="callback must be a function"):
        Callbacks(given)


def test_all_of_a_list_are_called_and_one_false_stops():
    called = []
    first, second = (lambda *_: called.append(1) or False), (lambda *_: called.append(2))
    assert not Callbacks([first, second])(Names(), {})
    assert called == [1, 2]
    for nothing in (None, 0, "", [], True):
        assert Callbacks(lambda *_, value=nothing: value)(Names(), {})
    assert not Callbacks(lambda *_: np.False_)(Names(), {})
    assert Callbacks(None)(Names(), {})


@pytest.mark.parametrize("name", RUNS)
def test_a_callback_is_told_baselines_names(name, tmp_path):
    told = []
    train(name, tmp_path / "run", callback=[lambda local, world: told.append((local, world))])
    local, world = told[-1]
    assert isinstance(local, dict) and isinstance(world, dict)
    assert world["learn"].__module__.endswith(".learn")
    assert [one["number"] for one, _ in told] == list(range(1, len(told) + 1))
    with open(tmp_path / "run" / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [one["steps"] for one, _ in told] == [int(row["misc/total_timesteps"]) for row in rows]
    assert local.eprewmean == pytest.approx(float(rows[-1]["eprewmean"]), rel=1e-4, nan_ok=True)
    with pytest.raises(AttributeError, match="There is no 'model' here: there are"):
        _ = local.model


@pytest.mark.parametrize("log_interval", [1, 5])
@pytest.mark.parametrize("name", RUNS)
def test_false_stops_and_saves_and_the_run_goes_on_as_if_it_had_not_been_stopped(name, log_interval, tmp_path):
    settings = {"save_interval": 3, "log_interval": log_interval}
    train(name, tmp_path / "whole", **settings)
    train(name, tmp_path / "parts", callback=lambda local, _: local["number"] < 2, **settings)
    folder = tmp_path / "parts"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["stopped_by"]) == ("stopped", "callback")
    stopped, _ = checkpoint.load(folder / "checkpoints")
    whole = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert stopped == summary["total_timesteps"] < whole["total_timesteps"]
    assert "by callback" in (folder / "log.txt").read_text()
    with open(folder / "progress.csv", newline="") as file:
        assert int(list(csv.DictReader(file))[-1]["misc/total_timesteps"]) == stopped
    train(name, folder, resume=True, **settings)
    one, two = (checkpoint.load(tmp_path / part / "checkpoints") for part in ("whole", "parts"))
    assert one[0] == two[0]
    assert_same_state(one[1]["learner"], two[1]["learner"])
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert one[1]["run"]["updates"] == two[1]["run"]["updates"]
