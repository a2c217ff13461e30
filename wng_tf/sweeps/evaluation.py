"""The deterministic policy of each finished run, evaluated beside it: `evaluation.json` in the run's folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_POLL_SECONDS = 0.1


def command(folder: Path, episodes: int) -> list[str]:
    """The command line of an evaluation. The sweep has run the environment already, and asked whether to trust it."""
    return [sys.executable, "-m", "wng_tf.evaluate", f"--run={folder}", f"--episodes={episodes}", "--trust"]


def evaluate(folder: Path, episodes: int, environment: Mapping[str, str], stopped: Callable[[], bool]) -> str | None:
    """Evaluates the last checkpoint of a run in a process of its own.

    Returns:
      why it failed, in one line, or None. An evaluation that was stopped fails; it is made again by the next sweep.
    """
    process = subprocess.Popen(
        command(folder, episodes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
        text=True,
    )
    try:
        while True:
            try:
                _, errors = process.communicate(timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if stopped():
                    raise KeyboardInterrupt from None
    finally:
        process.kill()
        process.wait()
    if process.returncode == 0:
        return None
    lines = errors.strip().splitlines()
    return f"evaluation: {lines[-1].strip()}" if lines else f"evaluation: exit code {process.returncode}"
