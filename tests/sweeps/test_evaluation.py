"""Runs of a sweep are evaluated when they are finished: once, again after more steps, and without hiding a failure."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path

import pytest

from tests.sweeps.test_sweep import ROOT, jobs, table
from wng_tf.sweeps import evaluation
from wng_tf.sweeps.conduct import FAILED, conduct
from wng_tf.sweeps.engine_local import LocalEngine

#: What an evaluation writes: the mean return is the run's seed and the number of episodes.
PLAYER = """
import json, pathlib, sys
folder, episodes = pathlib.Path(sys.argv[1]), int(sys.argv[2])
summary = json.loads((folder / "summary.json").read_text())
if summary["seed"] == int(sys.argv[3]):
    sys.exit("error: the world is gone.")
mean = 1000.0 * summary["seed"] + episodes
with open(folder / "played.txt", "a") as file:
    file.write("once ")
text = {"step": summary["total_timesteps"], "episodes": episodes, "deterministic": {"mean": mean}}
(folder / "evaluation.json").write_text(json.dumps(text))
"""


@pytest.fixture
def player(monkeypatch):
    """`player(seed)`: evaluations are played by a stand-in, which fails for the run of that seed."""

    def use(broken: int = -1) -> None:
        monkeypatch.setattr(
            evaluation, "command", lambda folder, count: [sys.executable, "-c", PLAYER, str(folder), str(count), str(broken)]
        )

    use()
    return use


def sweep(root: Path, *settings: str, episodes: int) -> int:
    planned = [dataclasses.replace(job, episodes=episodes) for job in jobs(root, *settings, seeds=(1, 2))]
    return conduct(planned, lambda: LocalEngine(2))


def test_the_table_has_the_deterministic_return_beside_that_of_training(tmp_path, player):
    assert sweep(tmp_path, episodes=7) == 0
    rows = table(tmp_path)
    assert list(rows[0])[-3:] == ["eprewmean", "eval_return", "folder"]
    assert [float(row["eval_return"]) for row in rows] == [1007.0, 2007.0] * 2
    assert sweep(tmp_path, episodes=7) == 0
    assert {path.read_text() for path in tmp_path.glob("**/played.txt")} == {"once "}


def test_runs_that_were_finished_before_are_evaluated_then(tmp_path, player):
    assert sweep(tmp_path, episodes=0) == 0
    assert "eval_return" not in table(tmp_path)[0]
    assert sweep(tmp_path, episodes=3) == 0
    assert [float(row["eval_return"]) for row in table(tmp_path)] == [1003.0, 2003.0] * 2


@pytest.mark.parametrize("why", ["more steps", "more episodes", "damaged"])
def test_an_evaluation_that_is_not_of_the_last_checkpoint_is_made_again(why, tmp_path, player):
    assert sweep(tmp_path, episodes=3) == 0
    if why == "damaged":
        for path in tmp_path.glob("**/evaluation.json"):
            path.write_text('{"step": 500,')
    steps = ["num_timesteps=700"] if why == "more steps" else []
    assert sweep(tmp_path, *steps, episodes=5 if why == "more episodes" else 3) == 0
    assert {path.read_text() for path in tmp_path.glob("**/played.txt")} == {"once once "}


def test_an_evaluation_that_fails_is_a_failure_and_is_tried_again(tmp_path, player, capsys):
    player(2)
    assert sweep(tmp_path, episodes=3) == FAILED
    assert "evaluation: error: the world is gone." in capsys.readouterr().out
    assert [row["eval_return"] for row in table(tmp_path)] == ["1003.0", ""] * 2
    assert [row["status"] for row in table(tmp_path)] == ["finished"] * 4
    player()
    assert sweep(tmp_path, episodes=3) == 0
    assert [row["eval_return"] for row in table(tmp_path)] == ["1003.0", "2003.0"] * 2


@pytest.mark.slow
def test_real_runs_are_evaluated(tmp_path):
    import subprocess

    words = [sys.executable, "-m", "wng_tf.sweep", f"--log_path={tmp_path}", "--algs=ppo,es", "--envs=CartPole-v1",
             "--evaluate=3", "--set=num_timesteps=256"]  # fmt: skip
    subprocess.run(words, cwd=ROOT, check=True, timeout=600)
    with open(tmp_path / "sweep.csv") as file:
        for row in csv.DictReader(file):
            played = json.loads((tmp_path / row["folder"] / "evaluation.json").read_text())
            assert float(row["eval_return"]) == played["deterministic"]["mean"] and played["episodes"] == 3
