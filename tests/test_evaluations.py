"""Evaluations during training: training does not notice them, they say which policy is the best, and they can end a run."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from held_envs import Drift
from short_runs import RUNS, assert_same_state, progress, train

from wng_tf import saved_policy
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.evaluate import play
from wng_tf.training import checkpoint, streams

NAMES = ("ppo on CartPole", "wnes on Point")
EVERY = {"ppo on CartPole": 128, "wnes on Point": 500}
OWN = "eval/"


def learners(folder):
    return {step: checkpoint.load(folder / "checkpoints", step)[1] for step in checkpoint.steps(folder / "checkpoints")}


@pytest.mark.parametrize("name", NAMES)
def test_training_does_not_notice_and_a_resumed_run_evaluates_as_it_would_have(name, tmp_path):
    given = {"eval_interval": EVERY[name], "eval_episodes": 2}
    train(name, tmp_path / "without")
    train(name, tmp_path / "with", **given)
    one, two = learners(tmp_path / "without"), learners(tmp_path / "with")
    assert one.keys() == two.keys()
    for step, state in one.items():
        assert_same_state(state["learner"], two[step]["learner"])
    rows = progress(tmp_path / "with")
    assert [{k: v for k, v in row.items() if not k.startswith(OWN)} for row in rows] == progress(tmp_path / "without")
    evaluated = [int(row["misc/total_timesteps"]) for row in rows if row["eval/eprewmean"]]
    assert 1 < len(evaluated) <= len(rows)
    assert evaluated[-1] == int(rows[-1]["misc/total_timesteps"])

    train(name, tmp_path / "parts", callback=lambda local, _: local["number"] != 2, **given)
    train(name, tmp_path / "parts", resume=True, **given)
    assert progress(tmp_path / "parts") == rows
    for which in ("latest", "best"):
        whole, parts = (checkpoint.load(tmp_path / part / "checkpoints", which) for part in ("with", "parts"))
        assert whole[0] == parts[0]
        assert_same_state(whole[1]["learner"], parts[1]["learner"])


@pytest.mark.parametrize("name", NAMES)
def test_the_best_is_the_best_evaluated_one_and_its_return_can_be_had_again(name, tmp_path):
    train(name, tmp_path / "run", eval_interval=1, eval_episodes=3, save_interval=0)
    rows = progress(tmp_path / "run")
    means = {int(row["misc/total_timesteps"]): float(row["eval/eprewmean"]) for row in rows}
    best = max(means, key=means.get)
    step, state = checkpoint.load(tmp_path / "run" / "checkpoints", "best")
    assert step == best
    assert state["run"]["best"] == pytest.approx(means[best], rel=1e-5)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["best_evaluation"] == pytest.approx(means[best], rel=1e-5)
    policy = saved_policy.load(tmp_path / "run", "best")
    with tasks.make(RUNS[name]["env"]) as world:
        again = play(policy, world, 3, 0, deterministic=True, starts=streams.TRAINING_EVALUATION_START)
        other = play(policy, world, 3, 0, deterministic=True)
    assert again.mean == pytest.approx(means[best], rel=1e-5)
    assert again.returns != other.returns


@pytest.mark.parametrize("name", NAMES)
def test_a_run_stops_at_the_return_asked_for(name, tmp_path):
    low = -1e9
    train(name, tmp_path / "evaluated", eval_interval=EVERY[name], eval_episodes=1, stop_return=low)
    rows = progress(tmp_path / "evaluated")
    assert [bool(row.get("eval/eprewmean")) for row in rows] == [False] * (len(rows) - 1) + [True]
    train(name, tmp_path / "trained", stop_return=low)
    assert len(progress(tmp_path / "trained")) <= len(rows)
    for part in ("evaluated", "trained"):
        summary = json.loads((tmp_path / part / "summary.json").read_text())
        assert summary["status"] == "stopped"
        assert summary["stopped_by"].startswith("stop_return")
    train(name, tmp_path / "never", stop_return=1e9)
    assert json.loads((tmp_path / "never" / "summary.json").read_text())["status"] == "finished"
    train(name, tmp_path / "trained", resume=True, stop_return=1e9)
    assert_same_state(*(checkpoint.load(tmp_path / part / "checkpoints")[1]["learner"] for part in ("never", "trained")))


def test_generators_that_all_modules_share_are_put_back(tmp_path):
    class Random(Drift):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed)
            return observation + np.random.normal(size=3), info  # noqa: NPY002

    thetas = []
    for interval in (0, 64):
        np.random.seed(5)  # noqa: NPY002
        train(
            "ppo on CartPole",
            None,
            env=lambda: Random(),
            eval_interval=interval,
            callback=lambda local: thetas.append(local["learner"].theta.numpy()),
        )
    half = len(thetas) // 2
    np.testing.assert_array_equal(thetas[:half], thetas[half:])


def test_an_environment_of_its_own(tmp_path):
    seen = []

    class Seen(Drift):
        def reset(self, *, seed=None, options=None):
            seen.append(seed)
            return super().reset(seed=seed)

    given = {"env": "held_envs:Drift", "eval_interval": 128, "eval_episodes": 2}
    train("ppo on CartPole", tmp_path / "object", eval_env=Seen(limit=3), **given)
    starts = [streams.TRAINING_EVALUATION_START.words(1, 0, episode)[0] for episode in range(2)]
    assert seen == starts * 3
    with open(tmp_path / "object" / "progress.csv", newline="") as file:
        lengths = {row["eval/eplenmean"] for row in csv.DictReader(file)} - {""}
    assert {float(length) for length in lengths} == {3.0}
    with pytest.raises(UserError, match="observation space"):
        train("ppo on CartPole", None, eval_env="CartPole-v1", **given)


def test_an_object_needs_another_environment_to_be_evaluated_in():
    with pytest.raises(UserError, match="need an eval_env of their own"):
        train("ppo on CartPole", None, env=Drift(), eval_interval=64)
