"""Running mean and variance, merged exactly (Chan et al. 1979), as in Baselines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from baselines_compat.errors import NonFiniteError


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of some samples, all float64."""

    count: float  # type: ignore[assignment]  # the name of a tuple's method, which nobody calls
    mean: np.ndarray
    m2: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Moments:
        """Moments of samples x [N, *shape], N may be 0."""
        x = np.asarray(x, np.float64)
        if x.shape[0] == 0:
            return cls(0.0, np.zeros(x.shape[1:]), np.zeros(x.shape[1:]))
        mean = x.mean(axis=0)
        return cls(float(x.shape[0]), mean, np.square(x - mean).sum(axis=0))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of samples together."""
        count = self.count + other.count
        if other.count == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        m2 = self.m2 + other.m2 + np.square(delta) * (self.count * other.count / count)
        return Moments(count, mean, m2)

    @property
    def var(self) -> np.ndarray:
        return self.m2 / self.count

    @property
    def finite(self) -> bool:
        """Whether neither sums nor squares have overflowed."""
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.m2).all())


class RunningMeanStd:
    """Baselines' running statistics: start at mean 0, variance 1, with a weight of `epsilon` samples.

    Raises:
      NonFiniteError: from `update` and `merge`: samples called `name` are not finite, or their squares overflow. The
        statistics are as they were.
    """

    def __init__(self, epsilon: float = 1e-4, shape: tuple[int, ...] = (), name: str = "samples"):
        self.name = name
        self.moments = Moments(epsilon, np.zeros(shape), np.full(shape, epsilon))

    @property
    def mean(self) -> np.ndarray:
        return self.moments.mean

    @property
    def var(self) -> np.ndarray:
        return self.moments.var

    @property
    def count(self) -> float:
        return self.moments.count

    def update(self, x: np.ndarray) -> None:
        """Add samples x [N, *shape]."""
        with np.errstate(over="ignore", invalid="ignore"):
            self.merge(Moments.of(x))

    def merge(self, moments: Moments) -> None:
        """Add samples of which these are the moments."""
        with np.errstate(over="ignore", invalid="ignore"):
            merged = self.moments.merge(moments)
        if not merged.finite:
            raise NonFiniteError(
                f"The running mean and variance of the {self.name} are not finite: a value is NaN or infinite, or too large."
            )
        self.moments = merged

    def state(self) -> dict:
        return {"count": self.count, "mean": np.array(self.mean), "m2": np.array(self.moments.m2)}

    def restore(self, state: dict) -> None:
        self.moments = Moments(float(state["count"]), np.array(state["mean"]), np.array(state["m2"]))
