"""Statistics over a handful of runs, as Agarwal et al. (2021, "Deep RL at the Edge of the Statistical Precipice").

Scores come as one array [runs] for each task. Intervals are percentile intervals of a bootstrap that resamples the runs
of each task apart (stratified), through `scipy.stats.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95

_BATCH = 500

#: Of one task's runs [n].
Scores: TypeAlias = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """An estimate with the ends of its interval; the ends are NaN where there are too few runs for one.

    The fields are floats, or arrays of one shape for an estimate of several numbers.
    """

    value: Any
    low: Any
    high: Any


def mean_interval(scores: Scores) -> Interval:
    """Mean of one task's runs [n]."""
    return bootstrap([scores], lambda sample, axis: np.asarray(np.mean(sample, axis=axis)))


def student_interval(scores: Scores) -> Interval:
    """Mean of one task's runs [n] by Student's t instead of a bootstrap."""
    values, count = np.asarray(scores), len(scores)
    if count < 2:
        return Interval(float(values.mean()), np.nan, np.nan)
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return Interval(*(float(values.mean() + side * half) for side in (0, -1, 1)))


def iqm_interval(*scores: Scores) -> Interval:
    """Interquartile mean over the runs of one task or, for comparable scores, of several tasks together."""
    return bootstrap(scores, lambda *samples, axis: interquartile_mean(np.concatenate(samples, axis=axis), axis))


def interquartile_mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half: a quarter of the scores (rounded down) is cut from either end."""
    return stats.trim_mean(scores, 0.25, axis=axis)


def improvement_interval(ours: Sequence[Scores], theirs: Sequence[Scores]) -> Interval:
    """Probability of improvement: that a run of ours scores higher than one of theirs, a tie counting half.

    Args:
      ours, theirs: scores of the same tasks in the same order; the probability is the mean over tasks.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"The same tasks, one or more, are wanted of both, not {len(ours)} and {len(theirs)}.")

    def statistic(*samples: np.ndarray, axis: int) -> np.ndarray:
        del axis  # the last
        pairs = zip(samples[: len(ours)], samples[len(ours) :], strict=True)
        return np.mean([_exceeds(x, y) for x, y in pairs], axis=0)

    return bootstrap([*ours, *theirs], statistic)


def performance_profile(scores: Sequence[Scores], thresholds: Scores) -> Interval:
    """Share of runs that score above each threshold [T], each task weighing the same, with pointwise intervals."""
    levels = np.asarray(thresholds, float)

    def statistic(*samples: np.ndarray, axis: int) -> np.ndarray:
        del axis
        return np.mean([_share_above(sample, levels) for sample in samples], axis=0)

    return bootstrap(scores, statistic)


def bootstrap(
    samples: Sequence[Scores],
    statistic: Callable[..., np.ndarray],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """A statistic with its percentile interval; the resampling is the same at every call.

    Args:
      samples: arrays [n_i], each resampled apart.
      statistic: takes one array [..., n_i] for each sample and `axis=-1`, and returns [...]; or [T, ...], for an
        estimate of T numbers.

    Raises:
      ValueError: a score that is not finite, or no scores.
    """
    arrays = [np.asarray(sample, float) for sample in samples]
    if not arrays or not all(array.size for array in arrays):
        raise ValueError("There are no scores to resample.")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("Scores must be finite.")
    value = np.asarray(statistic(*arrays, axis=-1))
    if min(array.size for array in arrays) < 2:
        nothing = np.full_like(value, np.nan, dtype=float)
        return _interval(value, nothing, nothing)
    result = stats.bootstrap(
        arrays,
        statistic,
        n_resamples=resamples,
        batch=_BATCH,
        vectorized=True,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return _interval(value, result.confidence_interval.low, result.confidence_interval.high)


def _interval(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> Interval:
    if np.ndim(value) == 0:
        return Interval(float(value), float(low), float(high))
    return Interval(value, np.asarray(low), np.asarray(high))


def _exceeds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P(x > y) + P(x = y) / 2 over all pairs: [..., n], [..., m] -> [...]."""
    x, y = x[..., :, None], y[..., None, :]
    return np.mean((x > y) + 0.5 * (x == y), axis=(-2, -1))


def _share_above(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """[..., n], [T] -> [T, ...]."""
    shape = (-1,) + (1,) * scores.ndim
    return np.mean(scores[None] > thresholds.reshape(shape), axis=-1)
