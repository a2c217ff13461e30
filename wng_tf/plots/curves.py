"""Learning curves: of one run, and the mean and deviation of several on a common grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wng_tf.errors import UserError
from wng_tf.plots.runs import RETURN, SECONDS, STEPS, LoadedRun, episode_ends

WINDOW = 100
POINTS = 400

#: Of a task's curves: (algorithm, variant) to its band.
Bands = Mapping[tuple[str, str], "Band"]


@dataclass(frozen=True)
class Curve:
    """One run: values [n] at ascending steps [n]; `seconds` [n] of wall clock, if the run logged them."""

    steps: np.ndarray
    values: np.ndarray
    seconds: np.ndarray | None = None


@dataclass(frozen=True)
class Band:
    """Several runs on a common grid x [T].

    Attributes:
      values: [runs, T], NaN where a run has no value.
      mean, sd: over runs, NaN where not all runs have a value; sd with n - 1, and 0 for a single run.
    """

    x: np.ndarray
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.values.mean(axis=0)

    @property
    def sd(self) -> np.ndarray:
        return self.values.std(axis=0, ddof=1) if len(self.values) > 1 else 0.0 * self.values[0]


def return_curve(run: LoadedRun, *, source: str = "auto", window: int = WINDOW) -> Curve:
    """The run's mean return of the last `window` episodes at each step.

    Args:
      source: `monitor` (every episode counts from the step at which it ended), `progress` (the logged eprewmean), or
        `auto`: the log for evolution strategies, whose monitor files hold the population, else monitor files if there.

    Raises:
      UserError: the run lacks the source.
    """
    if source == "auto":
        source = "monitor" if run.monitors and not run.is_evolution else "progress"
    if source == "progress":
        return metric_curve(run, RETURN)
    if not run.monitors:
        raise UserError(f"{run.folder} has no monitor files with episodes: use --source=progress.")
    steps, values = episode_returns(run)
    means = running_mean(values, window)
    if run.progress is not None and len(run.progress):
        # The last episode ends before the last step; its mean holds until then.
        last = run.progress[STEPS][-1]
        if last > steps[-1]:
            steps, means = np.append(steps, last), np.append(means, means[-1])
    return Curve(steps, means, _seconds(run, steps))


def episode_returns(run: LoadedRun) -> tuple[np.ndarray, np.ndarray]:
    """Steps at which the episodes of all environments ended, ascending, and their returns."""
    steps = np.concatenate(episode_ends(run))
    returns = np.concatenate([np.asarray(table["r"], float) for table in run.monitors])
    order = np.argsort(steps, kind="stable")
    return steps[order], returns[order]


def metric_curve(run: LoadedRun, name: str) -> Curve:
    """A column of the run's log.

    Raises:
      UserError: the run has no log, or the log no such column.
    """
    if run.progress is None or STEPS not in run.progress:
        raise UserError(f"{run.folder} has no progress.csv with the column {STEPS}.")
    if name not in run.progress:
        raise UserError(f"{run.folder} does not log '{name}': it has {', '.join(run.progress.columns)}.")
    values = np.asarray(run.progress[name], float)
    there = np.isfinite(values)
    steps = run.progress[STEPS][there]
    return Curve(steps, values[there], _seconds(run, steps))


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values at each one, of all so far at the beginning [n] -> [n]."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=float)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def final_value(curve: Curve) -> float:
    """The last value; NaN for an empty curve."""
    return float(curve.values[-1]) if len(curve.values) else float("nan")


def bands(curves: Iterable[tuple[LoadedRun, Curve]], *, axis: str = "steps", points: int = POINTS) -> dict[str, Bands]:
    """Task -> method -> band, each task on a grid of its own.

    Args:
      axis: `steps` or `minutes`; runs that did not log their time are left out of the second.
    """
    tasks: dict[str, dict[tuple[str, str], list]] = defaultdict(lambda: defaultdict(list))
    for run, curve in curves:
        x = curve.steps if axis == "steps" else None if curve.seconds is None else curve.seconds / 60.0
        if x is not None and len(x):
            tasks[run.env][run.method].append((np.asarray(x, float), curve.values))
    return {env: _common_grid(methods, points) for env, methods in tasks.items()}


def _common_grid(methods: Mapping[tuple[str, str], Sequence], points: int) -> Bands:
    end = max(x[-1] for pairs in methods.values() for x, _ in pairs)
    grid = np.linspace(0.0, end, points)
    return {method: Band(grid, np.array([interpolate(grid, x, y) for x, y in pairs])) for method, pairs in methods.items()}


def interpolate(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y at the grid's points, linear between the x; NaN outside them."""
    return np.interp(grid, x, y, left=np.nan, right=np.nan)


def _seconds(run: LoadedRun, steps: np.ndarray) -> np.ndarray | None:
    """Wall clock at given steps: linear between the rows of the log, and from 0 to the first."""
    log = run.progress
    if log is None or SECONDS not in log or not len(log):
        return None
    return np.interp(steps, np.concatenate([[0], log[STEPS]]), np.concatenate([[0.0], log[SECONDS]]))
