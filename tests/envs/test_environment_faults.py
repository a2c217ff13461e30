"""An environment that fails ends the run with one sentence that has its own words, whichever process it was in."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_runs import TINY, as_flags, progress, train, uncompiled
from test_cli import assert_sentence
from unruly_envs import FAULTS, Failing, Walk

from baselines_compat.vec_env import DummyVecEnv, EnvironmentFailure, SubprocVecEnv, WorkerError
from baselines_compat.vec_env.watched import Watched
from wng_tf import evaluate, run
from wng_tf.evolution.frozen_vector_env import FrozenVectorEnv
from wng_tf.training import checkpoint
from wng_tf.training.stopping import Interrupted, StopNow, StopRequest

SMALL = {
    "ppo": {**TINY, "num_env": 2},
    "es": {"population": 2, "num_hidden": 4},
}
WAYS = [(alg, workers) for alg in SMALL for workers in (1, 2)]


def flags_of(alg: str, workers: int, env: str, folder: Path) -> list[str]:
    common = {"alg": alg, "env": f"unruly_envs:{env}", "num_timesteps": 600, "save_interval": 1, "log_path": folder}
    return as_flags(**common, **SMALL[alg], num_workers=workers)


@pytest.mark.parametrize(("alg", "workers"), WAYS)
@pytest.mark.parametrize(
    "fault", ["runtime", "exit", *[pytest.param(f, marks=pytest.mark.slow) for f in FAULTS if f not in ("runtime", "exit")]]
)
def test_an_exception_in_step(alg, workers, fault, call, tmp_path):
    folder = tmp_path / "run"
    with uncompiled():
        outcome = call(run.app, *flags_of(alg, workers, f"Failing-step-{fault}-v0", folder))
    assert outcome.code == 1
    checkpoint = "The last good checkpoint, of step "
    assert_sentence(outcome.stderr, f"failed in step: {FAULTS[fault][1]}. ", checkpoint, str(folder / "traceback.txt"))
    assert "unruly_envs.py" in (folder / "traceback.txt").read_text()
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(("alg", "workers"), WAYS)
@pytest.mark.parametrize("where", ["constructor", "reset", "close"])
def test_an_exception_elsewhere(alg, workers, where, call, tmp_path):
    folder = tmp_path / "run"
    with uncompiled():
        outcome = call(run.app, *flags_of(alg, workers, f"Failing-{where}-stubborn-v0", folder))
    assert outcome.code == 1
    place = "its constructor" if where == "constructor" else where
    assert_sentence(outcome.stderr, f"failed in {place}: {FAULTS['stubborn'][1]}. ")


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> Path:
    """The folder of a run in a well-behaved environment."""
    folder = tmp_path_factory.mktemp("walk") / "run"
    train("ppo on CartPole", folder, env="unruly_envs:Walk-v0", total_timesteps=64)
    return folder


def moved_to(env: str, run: Path, folder: Path) -> Path:
    """A copy of a run that says it was trained in another environment."""
    shutil.copytree(run, folder)
    (folder / "flags.txt").write_text((folder / "flags.txt").read_text().replace("Walk-v0", env))
    return folder


@pytest.mark.parametrize("where", ["constructor", "reset", "step", "close"])
def test_in_evaluation(where, call, walked, tmp_path):
    folder = moved_to(f"Failing-{where}-disk-v0", walked, tmp_path / "run")
    outcome = call(evaluate.app, f"--run={folder}", "--episodes=20")
    assert outcome.code == 1
    assert_sentence(outcome.stderr, f"{FAULTS['disk'][1]}. ", "traceback.txt")


@pytest.mark.parametrize("alg", SMALL)
@pytest.mark.parametrize(
    ("how", "named"), [("KILL", "killed by SIGKILL"), ("SEGV", "killed by SIGSEGV"), ("exit", "(exit code 0)")]
)
def test_a_worker_that_dies(alg, how, named, call, tmp_path):
    folder = tmp_path / "run"
    before = children()
    with uncompiled():
        outcome = call(run.app, *flags_of(alg, 2, f"Dying-{how}-v0", folder))
    assert outcome.code == 1
    assert_sentence(outcome.stderr, named, "--resume", "The last good checkpoint, of step ")
    assert children() <= before


def children() -> set[int]:
    """Children of this process, zombies too, but for the resource tracker, which stays."""
    of_this: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended; its children are another's by now
            of_this |= {int(pid) for pid in (task / "children").read_text().split()}
    return of_this - {resource_tracker._resource_tracker._pid}


# ---- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("alg", SMALL)
def test_a_signal_to_the_run_saves(alg, number, tmp_path, monkeypatch):
    """As a terminal's Ctrl-C, a scheduler's SIGTERM and a closed terminal's SIGHUP: see also the test of whole groups."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored under nohup
    folder, sent = tmp_path / "run", []

    def send(*_: Any) -> None:
        sent.append(os.kill(os.getpid(), number))

    name = "ppo on CartPole" if alg == "ppo" else "wnes on Point"
    try:
        with pytest.raises(Interrupted, match="saved. Continue with"):
            train(name, folder, callback=send, save_interval=0)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(sent) == 1
    assert len(checkpoint.steps(folder / "checkpoints")) == 1


def test_one_request_told_in_two_ways_is_one_request(tmp_path):
    request = StopRequest(print)
    request.install()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert request.asked
        with pytest.raises(StopNow):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        request.remove()


def make_workers(kind: str) -> tuple[Any, list[int], Callable[[], Any]]:
    """Workers, their numbers, and a call of them."""
    if kind == "es":
        env = FrozenVectorEnv("unruly_envs:Walk-v0", 2, own_process=True)
        return env, [env._worlds.process.pid], lambda: env.reset(seed=1)
    venv = SubprocVecEnv([Walk] * 2, num_workers=2)
    return venv, [worker.process.pid for worker in venv._workers], venv.reset


@pytest.mark.parametrize("kind", SMALL)
def test_signals_that_ask_to_stop_do_not_end_workers(kind):
    env, pids, use = make_workers(kind)
    for _ in range(2):  # ES: also while Python starts in it
        for pid in pids:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
        use()
    env.close()


def test_an_environments_processes_can_still_be_asked_to_end():
    """What is ignored would be ignored in them too."""
    code = (
        "import signal, subprocess; from baselines_compat.vec_env.processes import ignore_stop_signals\n"
        "ignore_stop_signals(); child = subprocess.Popen(['sleep', '600']); child.terminate(); print(child.wait())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout == "-15\n"


@pytest.mark.parametrize("kind", SMALL)
def test_no_shared_memory_has_a_name(kind):
    before = set(Path("/dev/shm").iterdir())
    env, _, use = make_workers(kind)
    use()
    assert {path for path in set(Path("/dev/shm").iterdir()) - before if path.stat().st_uid == os.getuid()} == set()
    env.close()


def test_a_failure_is_told_again():

    with SubprocVecEnv([functools.partial(Failing, "eof", "reset")] * 2, num_workers=2) as venv:
        with pytest.raises(EnvironmentFailure, match="EOFError: the simulator has gone"):
            for _ in range(20):
                venv.reset()
        with pytest.raises(WorkerError, match="EOFError: the simulator has gone"):
            venv.get_state()


# ---- what does not come back ----------------------------------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch):
    """An environment that hangs in this process changes how long is waited for it, see `unruly_envs.Hanging`."""
    monkeypatch.setattr(Watched, "_wait", Watched._wait)


@pytest.mark.parametrize(("alg", "workers"), WAYS)
@pytest.mark.parametrize("where", ["constructor", "reset", "step"])
def test_what_hangs_is_given_up(alg, workers, where, call, hurried, tmp_path):
    folder = tmp_path / "run"
    before = children()
    with uncompiled():
        outcome = call(run.app, *flags_of(alg, workers, f"Hanging-{where}-v0", folder), "--env_timeout=60")
    assert outcome.code == 1
    told = "No checkpoint" if where == "constructor" else "The last good checkpoint, of step "
    assert_sentence(outcome.stderr, "hung: it did not come back within 60 s (--env_timeout). ", told)
    if where != "constructor":
        assert "unruly_envs.py" in (folder / "traceback.txt").read_text()
    assert children() <= before


@pytest.mark.parametrize("where", ["constructor", "reset", "step"])
def test_what_hangs_in_evaluation_is_given_up(where, call, walked, hurried, tmp_path):
    folder = moved_to(f"Hanging-{where}-v0", walked, tmp_path / "run")
    outcome = call(evaluate.app, f"--run={folder}", "--episodes=20", "--env_timeout=60")
    assert outcome.code == 1
    assert_sentence(outcome.stderr, f"unruly_envs:Hanging-{where}-v0 hung: it did not come back within 60 s")


@pytest.mark.parametrize(("name", "workers"), [("ppo on CartPole", 1), ("wnes on Point", 1), ("wnes on Point", 2)])
def test_a_time_limit_that_is_kept_changes_no_bit(name, workers, tmp_path):
    settings = {"env": "unruly_envs:Walk-v0", "network": "mlp"}
    train(name, tmp_path / "without", **settings)
    train(name, tmp_path / "with", **settings, env_timeout=60.0, num_workers=workers)
    rows, expected = (progress(tmp_path / folder) for folder in ("with", "without"))
    for row in (*rows, *expected):
        row.pop("es/cpu_seconds", None)
    assert rows == expected


def test_slow_is_not_hung(monkeypatch):
    """One step at each look at the progress: a call through many steps takes longer than one may."""
    looked, stepped = threading.Semaphore(0), threading.Semaphore(0)

    class Slow(Walk):
        def step(self, action):
            looked.acquire()
            result = super().step(action)
            stepped.release()
            return result

    def wait(self: Watched, seconds: float) -> Any:
        looked.release()
        while not stepped.acquire(timeout=0.01):
            with contextlib.suppress(queue.Empty):
                return self._results.get_nowait()
        raise queue.Empty

    monkeypatch.setattr(Watched, "_wait", wait)
    with DummyVecEnv([Slow], timeout=1.0) as venv:
        venv.reset()
        states = venv.get_state()
        states[0]["played"] = np.zeros((15, 1), np.float32)
        venv.set_state(states)


STOPPED = """
import os, signal, time
from unruly_envs import Walk
from baselines_compat.vec_env import DummyVecEnv

class Stopped(Walk):
    def reset(self, **kwargs):
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.1)
        return super().reset(**kwargs)

with DummyVecEnv([Stopped], timeout=2.0) as venv:
    venv.reset()
print("came back")
"""


def test_a_stopped_process_does_not_hang():
    """Ctrl-Z and fg: what passes meanwhile is no fault of the environment's."""
    path = str(Path(__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
    time.sleep(2.5)
    os.kill(child.pid, signal.SIGCONT)
    assert child.communicate(timeout=120)[0] == "came back\n"
