"""A sweep of real training runs: kill -9 of the sweep and of runs leaves no trace in its table."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.test_sweep import wait_until
from wng_tf.plots.report import Options, write_report
from wng_tf.sweeps.records import RunPaths, is_locked, read_record
from wng_tf.training.checkpoint import latest_step

ROOT = Path(__file__).parents[2]
STEPS, NSTEPS = 5120, 256
NAMES = [f"InvertedPendulum-v5/ppo/seed{seed}" for seed in range(3)]


def start(root: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "wng_tf.sweep", f"--log_path={root}", "--algs=ppo", "--seeds=0-2",
               "--envs=InvertedPendulum-v5", "--jobs=2",
               f"--set=num_timesteps={STEPS},nsteps={NSTEPS},nminibatches=4,noptepochs=2,save_interval=1"]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def under_way(root: Path, name: str) -> int:
    """The process of a run that has a checkpoint and is not done."""
    paths = RunPaths(root, name)

    def look():
        step = latest_step(paths.folder / "checkpoints")
        return step is not None and step < STEPS and is_locked(paths.lock) and read_record(paths.record).attempts[-1].pid

    return wait_until(look, seconds=300)


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finish(start(undisturbed))
    process = start(killed)
    try:
        os.kill(under_way(killed, NAMES[0]), signal.SIGKILL)
        under_way(killed, NAMES[2])
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        os.kill(under_way(killed, NAMES[2]), signal.SIGKILL)
    finally:
        process.kill()
    finish(start(killed))
    assert (killed / "sweep.csv").read_bytes() == (undisturbed / "sweep.csv").read_bytes()
    assert any(attempt.resumed for attempt in read_record(RunPaths(killed, NAMES[0]).record).attempts)
    with open(killed / "sweep.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert all(int(row["total_timesteps"]) == STEPS for row in rows)
    # The plots are of the same bytes too, but for the time that it took.
    options = Options(figures=("curves", "profile"), window=10)
    for root in (undisturbed, killed):
        write_report([root], root / "plots", options)
    for name in ("curves.csv", "profile.csv", "summary.csv", "table.md"):
        assert (killed / "plots" / name).read_bytes() == (undisturbed / "plots" / name).read_bytes()
