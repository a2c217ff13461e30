"""How far a sweep is: steps done by all runs together, and the time that is left."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from wng_tf.sweeps.execute import Outcome, is_finished
from wng_tf.sweeps.grid import Run

STEPS_COLUMN = "misc/total_timesteps"

_REFRESH_SECONDS = 2.0
_TAIL_BYTES = 4096


def steps_done(folder: Path) -> int:
    """Environment steps in the last whole row of the run's progress.csv; 0 without one."""
    try:
        with open(folder / "progress.csv", "rb") as file:
            header = file.readline().decode()
            begin = file.tell()
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - _TAIL_BYTES))
            tail = file.read().decode(errors="replace")
        column = next(csv.reader([header])).index(STEPS_COLUMN)
        # What follows the last line end is a row that is being written.
        last = tail[: tail.rindex("\n")].splitlines()[-1]
        return int(float(next(csv.reader([last]))[column]))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class SweepProgress:
    """A bar over all runs on a terminal, and a line for each run that ends.

    The bar counts environment steps where the sweep sets `num_timesteps` for every run, else whole runs.
    """

    def __init__(self, root: Path, runs: Sequence[Run], *, show_bar: bool | None = None):
        self._folders = {run: root / run.name for run in runs}
        totals = [run.total_timesteps() for run in runs]
        in_steps = all(totals)
        self._size = {run: total if total and in_steps else 1 for run, total in zip(runs, totals, strict=True)}
        self._in_steps = in_steps
        self._done = {run: self._run_done(run) for run in runs}
        self._over: set[Run] = {run for run in runs if is_finished(self._folders[run], run)}
        self._failed = 0
        self._count = 0
        self._last_refresh = 0.0
        visible = sys.stderr.isatty() if show_bar is None else show_bar
        self._bar = tqdm(
            total=sum(self._size.values()),
            initial=sum(self._done.values()),
            unit="step" if in_steps else "run",
            unit_scale=in_steps,
            smoothing=0,  # time left from the mean rate: runs of slow and fast methods alternate
            dynamic_ncols=True,
            disable=not visible,
        )

    def tick(self) -> None:
        """Brings the bar up to date, at most every other second."""
        if self._bar.disable or time.monotonic() - self._last_refresh < _REFRESH_SECONDS:
            return
        self._last_refresh = time.monotonic()
        for run in self._folders:
            if run not in self._over:
                self._done[run] = self._run_done(run)
        self._bar.n = sum(self._done.values())
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.set_postfix_str(f"{len(self._over)}/{len(self._folders)} runs{failed}")

    def report(self, outcome: Outcome, return_text: str) -> None:
        """Prints the run's one line, above the bar."""
        self._count += 1
        self._over.add(outcome.run)
        self._done[outcome.run] = self._size[outcome.run]
        self._failed += outcome.status == "failed"
        width = len(str(len(self._folders)))
        line = f"[{self._count:{width}d}/{len(self._folders)}] {outcome.run.title}: "
        if outcome.status == "finished":
            line += f"return {return_text}, " + ("finished earlier" if outcome.earlier else duration(outcome.seconds))
        elif outcome.status == "failed":
            line += f"FAILED ({outcome.attempts} attempts): {outcome.error}"
        else:
            line += "interrupted"
        with contextlib.suppress(BrokenPipeError):
            self._bar.write(line, file=sys.stdout)
            sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()

    def _run_done(self, run: Run) -> int:
        if is_finished(self._folders[run], run):
            return self._size[run]
        return min(steps_done(self._folders[run]), self._size[run]) if self._in_steps else 0
