"""A run that is interrupted and resumed ends as one that is not: weights, optimiser, streams, curves, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import short_runs
from short_runs import RUNS, TINY, as_flags, assert_same_state, episodes, progress, train

from wng_tf.errors import UserError
from wng_tf.training import checkpoint
from wng_tf.training.stopping import Interrupted


def without_times(state: dict) -> dict:
    """A checkpoint's state without wall-clock times, which may differ."""
    run = {key: value for key, value in state["run"].items() if key != "elapsed"}
    run["episodes"] = [episode[:2] for episode in run["episodes"]]
    return {**state, "run": run}


def assert_same_run(one: Path, other: Path) -> None:
    """Same last checkpoint to the last bit, same rows of progress.csv and of the monitor files."""
    (step, state), (other_step, other_state) = (checkpoint.load(folder / "checkpoints") for folder in (one, other))
    assert step == other_step
    assert_same_state(without_times(state), without_times(other_state))
    assert progress(one) == progress(other)
    assert episodes(one) == episodes(other)


def ctrl_c_at(steps: int) -> Callable[[dict], None]:
    """A callback of `learn` that presses Ctrl-C."""

    def press(local: dict) -> None:
        if local["steps"] == steps:
            os.kill(os.getpid(), signal.SIGINT)

    return press


def kill_after(whole: Path, steps: int, folder: Path) -> None:
    """Make `folder` what kill -9 leaves of the run `whole` some time after its checkpoint of `steps`.

    Later checkpoints and the summary are missing; the curves go on beyond the checkpoint and end in torn rows; a
    checkpoint was being written.
    """
    shutil.copytree(whole, folder)
    (folder / "summary.json").unlink()
    checkpoints = folder / "checkpoints"
    later = [step for step in checkpoint.steps(checkpoints) if step > steps]
    for step in later:
        path = checkpoints / f"checkpoint-{step:012d}.npz"
        half = path.read_bytes()[: path.stat().st_size // 2]
        path.unlink()
        (checkpoints / f".{path.name}.tmp").write_bytes(half)
    for name in ("progress.csv", "progress.json", "0.monitor.csv"):
        data = (folder / name).read_bytes()
        if data.count(b"\n") > 2:  # headers are written whole
            (folder / name).write_bytes(data[:-7])


@pytest.mark.parametrize("name", ["ppo on Hopper", pytest.param("bg_wnpg on pendulum", marks=pytest.mark.slow)])
def test_ctrl_c_and_resume(name, trained, tmp_path, capfd):
    whole, folder = trained(name), tmp_path / "run"
    pressed_at = RUNS[name]["total_timesteps"] // 2
    with pytest.raises(Interrupted) as stopped:
        train(name, folder, callback=ctrl_c_at(pressed_at))
    continuing = f"python -m wng_tf.run --flagfile={folder}/flags.txt --resume"
    assert str(stopped.value) == f"Stopped at step {pressed_at}, saved. Continue with: {continuing}"
    assert "Stopping after this update" in capfd.readouterr().err
    assert checkpoint.latest_step(folder / "checkpoints") == pressed_at
    assert not (folder / "summary.json").exists()
    train(name, folder, resume=True)
    assert_same_run(whole, folder)


def test_ctrl_c_between_checkpoints_does_not_change_which_is_the_best(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train("ppo on CartPole", whole, save_interval=4)
    with pytest.raises(Interrupted):
        train("ppo on CartPole", folder, save_interval=4, callback=ctrl_c_at(192))
    assert checkpoint.steps(folder / "checkpoints") == [192]
    train("ppo on CartPole", folder, save_interval=4, resume=True)
    assert checkpoint.steps(whole / "checkpoints") == [256, 384]
    assert checkpoint.steps(folder / "checkpoints") == [192, 256, 384]
    (step, best), (other_step, other_best) = (checkpoint.load(f / "checkpoints", "best") for f in (whole, folder))
    assert step == other_step
    assert_same_state(without_times(best), without_times(other_best))
    assert_same_run(whole, folder)


@pytest.mark.parametrize("name", ["ppo on CartPole", "bg_wnpg on pendulum"])
def test_kill_and_resume(name, trained, tmp_path):
    whole, folder = trained(name), tmp_path / "run"
    kill_after(whole, checkpoint.steps(whole / "checkpoints")[1], folder)
    train(name, folder, resume=True)
    assert_same_run(whole, folder)
    assert not list((folder / "checkpoints").glob(".*"))


def test_workers_change_nothing_not_even_on_resumption(trained, tmp_path):
    whole, folder = trained("ppo on Hopper"), tmp_path / "run"
    kill_after(whole, checkpoint.steps(whole / "checkpoints")[2], folder)
    train("ppo on Hopper", folder, resume=True, num_workers=2)
    assert_same_run(whole, folder)


def test_killed_before_the_first_checkpoint_begins_again(trained, tmp_path):
    whole, folder = trained("ppo on CartPole"), tmp_path / "run"
    kill_after(whole, 0, folder)
    assert not checkpoint.steps(folder / "checkpoints")
    train("ppo on CartPole", folder, resume=True)
    assert_same_run(whole, folder)


def test_resuming_a_finished_run_changes_nothing(trained, tmp_path):
    whole, folder = trained("ppo on CartPole"), tmp_path / "run"
    shutil.copytree(whole, folder)
    train("ppo on CartPole", folder, resume=True)
    assert_same_run(whole, folder)


def test_a_finished_run_can_go_on(trained, tmp_path):
    whole, folder = trained("ppo on CartPole"), tmp_path / "run"
    train("ppo on CartPole", folder, total_timesteps=192)
    train("ppo on CartPole", folder, resume=True)
    assert_same_run(whole, folder)


def test_after_a_damaged_checkpoint_is_deleted_the_run_continues_from_the_one_before(trained, tmp_path):
    whole, folder = trained("ppo on CartPole"), tmp_path / "run"
    shutil.copytree(whole, folder)
    newest = max((folder / "checkpoints").glob("checkpoint-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(UserError, match="delete it to continue from the one before it"):
        train("ppo on CartPole", folder, resume=True)
    newest.unlink()
    train("ppo on CartPole", folder, resume=True)
    assert_same_run(whole, folder)


def test_compiled_updates_too(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train("ppo on CartPole", whole, xla=True)
    kill_after(whole, 128, folder)
    train("ppo on CartPole", folder, xla=True, resume=True)
    assert_same_run(whole, folder)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["Hopper-v5", "InvertedDoublePendulum-v5"])
def test_compiled_natural_gradients_too(env, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train("bg_wnpg on pendulum", whole, xla=True, env=env)
    kill_after(whole, 256, folder)
    train("bg_wnpg on pendulum", folder, xla=True, env=env, resume=True)
    assert_same_run(whole, folder)


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["ppo", "bg_wnpg"])
def test_kill_minus_nine_at_any_time(alg, tmp_path):
    """Processes killed at moments that nobody chose, and Ctrl-C once, against one process that runs through."""
    settings = {**TINY, "alg": alg, "env": "Hopper-v5", "num_env": 2, "num_timesteps": 64 * 2 * 40, "save_interval": 3}
    whole, folder = tmp_path / "whole", tmp_path / "run"

    def start(log_path: Path, *more: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "wng_tf.run", *as_flags(**settings, log_path=log_path), *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    assert start(whole).wait() == 0
    rng, interruptions = short_runs.np.random.default_rng(os.getpid()), 0
    process = start(folder, "--num_workers=2")
    while process.poll() is None:
        if interruptions < 4 and progress_has_rows(folder, 2 + 8 * interruptions):
            time.sleep(rng.uniform(0.0, 0.3))
            if process.poll() is not None:
                break
            how = signal.SIGINT if interruptions == 2 else signal.SIGKILL
            process.send_signal(how)
            code = process.wait()
            assert code == (130 if how is signal.SIGINT else -signal.SIGKILL)
            if how is signal.SIGINT:
                assert "Continue with: python -m wng_tf.run" in process.stderr.read()
            interruptions += 1
            process = start(folder, "--resume", f"--num_workers={1 + interruptions % 2}")
        time.sleep(0.01)
    assert process.returncode == 0 and interruptions >= 2
    assert_same_run(whole, folder)


def progress_has_rows(folder: Path, count: int) -> bool:
    path = folder / "progress.csv"
    return path.exists() and path.read_bytes().count(b"\n") > count
