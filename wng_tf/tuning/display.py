"""How far the studies are: a bar over the environment steps of all trials, and a line for what ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from wng_tf.sweeps.progress import steps_done
from wng_tf.tuning import report
from wng_tf.tuning.progress import final_value
from wng_tf.tuning.study import Study, Trial

_REFRESH_SECONDS = 2.0


class StudyProgress:
    """A bar on a terminal, and lines on standard output: one for each trial that ends, and for each seed of one that goes on.

    A trial that was given up counts as all of its steps: there is nothing left to do for it.
    """

    def __init__(self, studies: Sequence[Study], *, show_bar: bool | None = None):
        self._studies = studies
        ended = [sum(trial.state.is_finished() for trial in study.counted()) for study in studies]
        self._ended = sum(ended)
        self._steps_ended = sum(study.plan.total_steps * count for study, count in zip(studies, ended, strict=True))
        self._begun: dict[tuple[str, int], Trial] = {}
        self._last_refresh = 0.0
        self._bar = tqdm(
            total=self._steps_in_all(),
            initial=self._steps_ended,
            unit="step",
            unit_scale=True,
            smoothing=0,  # time left from the mean rate: trials of slow and fast methods alternate
            dynamic_ncols=True,
            disable=not (sys.stderr.isatty() if show_bar is None else show_bar),
        )

    def begin(self, trial: Trial) -> None:
        """A trial is at work, or waits for its next seed."""
        self._begun[trial.study.plan.name, trial.number] = trial

    def tick(self) -> None:
        """Brings the bar up to date, at most every other second."""
        if self._bar.disable or time.monotonic() - self._last_refresh < _REFRESH_SECONDS:
            return
        self._last_refresh = time.monotonic()
        done = self._steps_ended
        for trial in self._begun.values():
            done += sum(min(steps_done(trial.study.root / run.name), trial.study.plan.steps) for run in trial.runs)
        self._bar.total, self._bar.n = self._steps_in_all(), done
        self._bar.set_postfix_str(f"{self._ended}/{self._trials_in_all()} trials")

    def tell_seed(self, trial: Trial, index: int) -> None:
        """One seed of a trial has ended, and others are still to come."""
        run = trial.runs[index]
        value = final_value(trial.study.root / run.name, run, trial.study.options.column)
        self._write(f"{trial.title}, seed {run.seed}: {'no value' if value is None else f'{value:.2f}'}")

    def tell(self, trial: Trial) -> None:
        """A trial has ended, in whatever way."""
        self._begun.pop((trial.study.plan.name, trial.number), None)
        self._ended += 1
        self._steps_ended += trial.study.plan.total_steps
        size = self._trials_in_all()
        self._write(f"[{self._ended:{len(str(size))}d}/{size}] {trial.title}: {report.outcome(trial.frozen)}")

    def close(self) -> None:
        self._bar.close()

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._bar.write(line, file=sys.stdout)
            sys.stdout.flush()

    def _trials_in_all(self) -> int:
        return sum(study.size for study in self._studies)

    def _steps_in_all(self) -> int:
        return sum(study.size * study.plan.total_steps for study in self._studies)
