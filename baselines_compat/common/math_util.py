"""Discounted sums, explained variance, and arrays as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.signal


def discount(vector: np.ndarray, gamma: float) -> np.ndarray:
    """Sums of what follows along the first axis, vector[t] + gamma * vector[t + 1] + ...: of the same shape [n, ...].

    Raises:
      ValueError: a number in place of an array.
    """
    if np.ndim(vector) == 0:
        raise ValueError("discount needs an array of one dimension or more.")
    return scipy.signal.lfilter([1.0], [1.0, -gamma], np.asarray(vector)[::-1], axis=0)[::-1]


def discount_with_boundaries(x: np.ndarray, new: np.ndarray, gamma: float) -> np.ndarray:
    """As `discount`, without what follows the end of an episode.

    Args:
      x: what is summed, [n, ...].
      new: whether an episode begins at that step, [n, ...].
      gamma: discount.
    """
    sums = np.array(x, copy=True)
    goes_on = 1 - np.asarray(new, sums.dtype)
    for t in range(len(sums) - 2, -1, -1):
        sums[t] += gamma * goes_on[t + 1] * sums[t + 1]
    return sums


def explained_variance(ypred: np.ndarray, y: np.ndarray) -> float:
    """The share of the variance of `y` [n] that `ypred` [n] explains: 1 - Var[y - ypred] / Var[y].

    1 is a perfect prediction, 0 that of a constant, and below 0 it is worse than that; NaN where `y` does not vary.

    Raises:
      ValueError: arrays that are not of one dimension and one length.
    """
    ypred, y = np.asarray(ypred), np.asarray(y)
    _check_alike(ypred, y, 1)
    variance = np.var(y)
    return math.nan if variance == 0 else float(1 - np.var(y - ypred) / variance)


def explained_variance_2d(ypred: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`explained_variance` of each column of [n, k]: [k]; 0 where a column of `y` does not vary.

    Raises:
      ValueError: arrays that are not of two dimensions and one shape.
    """
    ypred, y = np.asarray(ypred), np.asarray(y)
    _check_alike(ypred, y, 2)
    variance = np.var(y, axis=0)
    varies = variance >= 1e-10
    return np.where(varies, 1 - np.var(y - ypred, axis=0) / np.where(varies, variance, 1.0), 0.0)


def flatten_arrays(arrs: Iterable[np.ndarray]) -> np.ndarray:
    """The elements of all arrays, in order, as one vector."""
    return np.concatenate([np.ravel(array) for array in arrs])


def unflatten_vector(vec: np.ndarray, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Arrays of these shapes, from a vector of their elements: views of it."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(vec, ends)[:-1], shapes, strict=True)]


def _check_alike(ypred: np.ndarray, y: np.ndarray, dimensions: int) -> None:
    if ypred.shape != y.shape or y.ndim != dimensions:
        raise ValueError(f"predictions {ypred.shape} and values {y.shape} must have one shape, of {dimensions} dimensions.")
