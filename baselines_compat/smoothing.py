"""Smoothing of learning curves: moving averages and exponential ones on an even grid."""

from __future__ import annotations

import numpy as np

EMA_SAMPLES = 512
"""Points of a curve that is averaged over runs, unless `resample` says otherwise."""


def smooth(y: np.ndarray, radius: int, mode: str = "two_sided", valid_only: bool = False) -> np.ndarray:
    """Moving average of y [n] -> [n].

    Args:
      radius: a point is averaged with the `radius` points on each side ("two_sided"), or with the `radius -
        1`
        points before it ("causal"); near the ends, with those that there are.
      valid_only: put NaN where there were fewer.

    A curve shorter than 2 radius + 1 becomes its mean. Raises ValueError on another `mode`.
    """
    if mode not in ("two_sided", "causal"):
        raise ValueError(f"mode is 'two_sided' or 'causal', not '{mode}'.")
    y = np.asarray(y, np.float64)
    n = len(y)
    if n < 2 * radius + 1:
        return np.full(n, y.mean() if n else np.nan)
    before, after = (radius, radius) if mode == "two_sided" else (radius - 1, 0)
    sums = np.convolve(y, np.ones(before + after + 1))[after : after + n]
    index = np.arange(n)
    counts = np.minimum(index + after, n - 1) - np.maximum(index - before, 0) + 1
    out = sums / counts
    if valid_only:
        out[counts < before + after + 1] = np.nan
    return out


def one_sided_ema(
    xolds: np.ndarray,
    yolds: np.ndarray,
    low: float | None = None,
    high: float | None = None,
    n: int = EMA_SAMPLES,
    decay_steps: float = 1.0,
    low_counts_threshold: float = 1e-8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Causal exponential moving average, resampled to an even grid.

    At a grid point x the value is sum_i w_i y_i / sum_i w_i over the points with x_i <= x, weighted
    w_i = exp(-(x - x_i) / period), period being `decay_steps` steps of the grid.

    Args:
      xolds, yolds: the points [m], xolds ascending.
      low, high: ends of the grid, inside the points (nothing is extrapolated); by default the first and last
        point.
      n: how many grid points.
      low_counts_threshold: where the sum of weights is below, the value is NaN.

    Returns:
      grid [n], values [n], sums of weights [n].

    Raises:
      ValueError: xolds and yolds differ in length or are empty, or the grid goes beyond the points.
    """
    xolds, yolds = np.asarray(xolds, np.float64), np.asarray(yolds, np.float64)
    if xolds.shape != yolds.shape or xolds.size == 0:
        raise ValueError(f"As many x as y are wanted and at least one, not {len(xolds)} and {len(yolds)}.")
    low = xolds[0] if low is None else low
    high = xolds[-1] if high is None else high
    if low < xolds[0] or high > xolds[-1]:
        raise ValueError(f"[{low}, {high}] goes beyond the points, which span [{xolds[0]}, {xolds[-1]}].")
    xs = np.linspace(low, high, n)
    period = (high - low) / (n - 1) * decay_steps if n > 1 and high > low else 1.0
    # Each point first counts at the first grid point at or after it; from there on, all decay by one factor.
    first = np.searchsorted(xs, xolds, side="left")
    used = first < n
    weights = np.exp(-(xs[first[used]] - xolds[used]) / period)
    new_weight = np.bincount(first[used], weights, minlength=n)
    new_sum = np.bincount(first[used], weights * yolds[used], minlength=n)
    decay = np.exp(-np.diff(xs, prepend=xs[0]) / period)
    sums, counts = np.empty(n), np.empty(n)
    total = count = 0.0
    for i in range(n):
        total = total * decay[i] + new_sum[i]
        count = count * decay[i] + new_weight[i]
        sums[i], counts[i] = total, count
    with np.errstate(invalid="ignore", divide="ignore"):
        return xs, np.where(counts < low_counts_threshold, np.nan, sums / counts), counts


def symmetric_ema(
    xolds: np.ndarray,
    yolds: np.ndarray,
    low: float | None = None,
    high: float | None = None,
    n: int = EMA_SAMPLES,
    decay_steps: float = 1.0,
    low_counts_threshold: float = 1e-8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `one_sided_ema`, but over the points on both sides: a causal and an anticausal pass, added."""
    xolds, yolds = np.asarray(xolds, np.float64), np.asarray(yolds, np.float64)
    low = xolds[0] if low is None else low
    high = xolds[-1] if high is None else high
    xs, forward, forward_counts = one_sided_ema(xolds, yolds, low, high, n, decay_steps, 0.0)
    _, backward, backward_counts = one_sided_ema(-xolds[::-1], yolds[::-1], -high, -low, n, decay_steps, 0.0)
    sums = _weighted(forward, forward_counts) + _weighted(backward, backward_counts)[::-1]
    counts = forward_counts + backward_counts[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return xs, np.where(counts < low_counts_threshold, np.nan, sums / counts), counts


def _weighted(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, values * counts, 0.0)
