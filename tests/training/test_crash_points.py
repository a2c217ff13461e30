"""A run that is killed before any change to its folder, and started again, ends as one that was not: every file of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_points import account, counted, put_back, snapshots
from short_runs import train

from baselines_compat.vec_env.segment import EpisodeRecord
from wng_tf.training import run_folder
from wng_tf.training.run import RunInfo, TrainingRun


def walk(folder: Path, *, resume: bool = False, keep: int = 2) -> None:
    """A run whose learner is a random walk: everything of a run but TensorFlow."""
    info = RunInfo("walk", "None", "None-v0", 0, 8, {"alg": "walk", "num_timesteps": 8})
    run = TrainingRun(info, log_path=folder, resume=resume, num_env=1, save_interval=2, keep=keep, conclude=conclude)
    position, steps = np.zeros(3), 0

    def restore(saved: dict[str, Any]) -> None:
        nonlocal position, steps
        position, steps = saved["position"], saved["steps"]

    def state() -> dict[str, Any]:
        return {"position": position, "steps": steps}

    with run:
        run.start(restore)
        while steps < 8:
            steps += 1
            position = position + np.random.default_rng(steps).normal(size=3)
            run.add_episodes([[EpisodeRecord(float(position[0]), steps, 1.0)]])
            run.log({"position": position[1]}, steps, steps)
            run.checkpoint_if_due(steps, state)
        run.finish(steps, state)


def conclude(folder: Path) -> None:
    """In place of an export, which replaces a folder by another."""
    fresh = folder / ".model.new"
    fresh.mkdir(exist_ok=True)
    if (folder / "model").exists():
        (folder / "model").rmdir()
    fresh.rename(folder / "model")


def policy_gradient(folder: Path, *, resume: bool = False) -> None:
    settings = dict(total_timesteps=192, num_env=2, nsteps=32, keep_checkpoints=2, noptepochs=1, num_hidden=4)
    train("ppo on CartPole", folder, resume=resume, **settings)


def evolution(folder: Path, *, resume: bool = False) -> None:
    train("wnes on Point", folder, resume=resume, total_timesteps=1200, keep_checkpoints=2, population=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without waiting for the disk, which a killed process leaves to the system, and without asking for a commit."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(run_folder, "_git_commit", lambda: None)


RUNS: dict[str, Callable[..., None]] = {"walk": walk, "ppo": policy_gradient, "wnes": evolution}


@pytest.mark.parametrize(
    "name, every",
    [("walk", 1), ("wnes", 4), ("ppo", 8), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in ("ppo", "wnes"))],
)
def test_killed_anywhere_and_started_again(name, every, tmp_path):
    run, folder = RUNS[name], tmp_path / "run"
    killed = snapshots(folder, tmp_path / "killed", lambda: run(folder))
    whole = account(folder)
    assert len(killed) > 25 and len(whole["checkpoints"]) == 3
    for snapshot in killed[::every]:
        run(folder, resume=put_back(snapshot, folder))
        assert account(folder) == whole, snapshot.name


@pytest.mark.parametrize("name", ["walk", "wnes"])
def test_killed_again_while_it_resumes(name, tmp_path):
    run, folder = RUNS[name], tmp_path / "run"
    killed = snapshots(folder, tmp_path / "killed", lambda: run(folder))
    whole = account(folder)
    middle = killed[len(killed) // 2]
    assert put_back(middle, folder)
    again = snapshots(folder, tmp_path / "again", lambda: run(folder, resume=True))
    for snapshot in again[:: 1 if name == "walk" else 4]:
        run(folder, resume=put_back(snapshot, folder))
        assert account(folder) == whole, snapshot.name


def test_killed_while_a_finished_run_is_resumed(tmp_path):
    folder = tmp_path / "run"
    walk(folder)
    whole = account(folder)
    for snapshot in snapshots(folder, tmp_path / "killed", lambda: walk(folder, resume=True)):
        walk(folder, resume=put_back(snapshot, folder))
        assert account(folder) == whole, snapshot.name


@pytest.mark.slow
def test_processes_killed_anywhere(tmp_path):
    """With processes and SIGKILL in place of copies; each is killed at the next moment until one comes through.

    TensorFlow, once at work, does not survive a fork: so this is the run without it.
    """
    run, folder = walk, tmp_path / "run"
    run(folder)
    whole = account(folder)
    moment = 0
    while True:
        put_back(tmp_path / "nothing", folder)
        if not killed_at(moment, lambda: run(folder)):
            break
        run(folder, resume=(folder / run_folder.FLAGS).exists())
        assert account(folder) == whole, moment
        moment += 1
    assert moment > 50


def killed_at(moment: int, run: Callable[[], None]) -> bool:
    """Run in a child that is killed before its call of that number; whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            with counted(lambda number, name: number == moment and os.kill(os.getpid(), signal.SIGKILL)):
                run()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
