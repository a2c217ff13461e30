"""Observation and reward normalization: the arithmetic, apart from any environment.

`Normalizer` holds the statistics of a run. A `LocalNormalizer` is one environment's working copy during a segment:
it starts from the run's statistics and adds its own samples as they come, so that what it does depends on nothing
but that environment. After the segment the samples of all environments are merged into the run's statistics in the
order of the environments. With one environment this is Baselines' VecNormalize.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from baselines_compat.running_mean_std import Moments, RunningMeanStd


@dataclasses.dataclass(frozen=True)
class NormalizerSettings:
    """What VecNormalize is asked to do. The columns `left` of observations, ranges [start, stop), stay as they are."""

    ob: bool = True
    ret: bool = True
    clipob: float = 10.0
    cliprew: float = 10.0
    gamma: float = 0.99
    epsilon: float = 1e-8
    left: tuple[tuple[int, int], ...] = ()


def normalize(observation: np.ndarray, mean: np.ndarray, var: np.ndarray, settings: NormalizerSettings) -> np.ndarray:
    """(x - mean) / sqrt(var + epsilon), clipped, as float32; x alone in float32 if observations are not normalized."""
    if not settings.ob:
        return np.asarray(observation, np.float32)
    scaled = (observation - mean) / np.sqrt(var + settings.epsilon)
    normalized: np.ndarray = np.clip(scaled, -settings.clipob, settings.clipob).astype(np.float32)
    for start, stop in settings.left:
        normalized[..., start:stop] = observation[..., start:stop]
    return normalized


class Normalizer:
    """The statistics of a run: of observations, and of discounted returns."""

    def __init__(self, observation_shape: tuple[int, ...], settings: NormalizerSettings):
        self.settings = settings
        self.ob_rms = RunningMeanStd(shape=observation_shape, name="observations")
        self.ret_rms = RunningMeanStd(name="discounted returns")

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Normalized observations [..., obs] float32, statistics unchanged."""
        return normalize(observation, self.ob_rms.mean, self.ob_rms.var, self.settings)

    def merge(self, observations: Moments, returns: Moments) -> None:
        """Add the samples of a segment."""
        self.ob_rms.merge(observations)
        self.ret_rms.merge(returns)

    def snapshot(self) -> tuple[Moments, Moments]:
        return self.ob_rms.moments, self.ret_rms.moments

    def state(self) -> dict:
        return {"ob_rms": self.ob_rms.state(), "ret_rms": self.ret_rms.state()}

    def restore(self, state: dict) -> None:
        self.ob_rms.restore(state["ob_rms"])
        self.ret_rms.restore(state["ret_rms"])


class LocalNormalizer:
    """One environment's statistics during a segment. It runs at every step, on few numbers.

    So arithmetic is in place between arrays of one shape and type, and what it needs are local names: NumPy takes half as
    long again for each number of Python's among the operands, and as long as for three operations where it rounds to
    float32 on the way.

    Attributes:
      observe: `observe(observation, out)` adds `observation` [obs] float64 to the statistics and writes it, normalized, into
        `out` [obs] float32.
      reward: `reward(reward, discounted_return)` adds the discounted return to its statistics; returns the reward scaled by
        its deviation.
    """

    def __init__(self, snapshot: tuple[Moments, Moments], settings: NormalizerSettings):
        observations, returns = snapshot
        self._settings = settings
        self._mean = np.array(observations.mean)
        self._m2 = np.array(observations.m2)
        self._count = np.full_like(self._mean, observations.count)
        self.observe = self._observer(float(observations.count)) if settings.ob else _copy
        self.reward = _rewarder(returns, settings) if settings.ret else _same

    def _observer(self, count: float) -> Callable[[np.ndarray, np.ndarray], None]:
        mean, m2, counts, left = self._mean, self._m2, self._count, self._settings.left
        epsilon = np.full_like(mean, self._settings.epsilon)
        highest = np.full_like(mean, self._settings.clipob)
        lowest = -highest
        delta, scaled = np.empty_like(mean), np.empty_like(mean)
        add, subtract, multiply, divide, sqrt = np.add, np.subtract, np.multiply, np.divide, np.sqrt
        minimum, maximum, fill, dot = np.minimum, np.maximum, counts.fill, scaled.dot
        # A sum of squares below this shows that nothing is outside the limits. It is near the number of observations.
        inside = (1.0 - 1e-6) * self._settings.clipob**2

        def observe(observation: np.ndarray, out: np.ndarray) -> None:
            nonlocal count
            count += 1.0
            fill(count)
            subtract(observation, mean, delta)
            divide(delta, counts, scaled)
            add(mean, scaled, mean)
            subtract(observation, mean, scaled)
            multiply(delta, scaled, delta)
            add(m2, delta, m2)
            divide(m2, counts, delta)
            add(delta, epsilon, delta)
            sqrt(delta, delta)
            divide(scaled, delta, scaled)
            if not dot(scaled) < inside:
                minimum(scaled, highest, out=scaled)
                maximum(scaled, lowest, out=scaled)
            out[...] = scaled
            if left:
                for start, stop in left:
                    out[start:stop] = observation[start:stop]

        return observe

    def normalize(self, observation: np.ndarray) -> np.ndarray:
        """`observation` [obs] normalized by the statistics so far, float32; the statistics do not change."""
        return normalize(observation, self._mean, self._m2 / self._count, self._settings)

    def rewards(
        self, rewards: Sequence[float], ended: Sequence[bool], discounted: float
    ) -> tuple[list[float], list[float], float]:
        """`reward` of one step after another, for which nothing has to wait until the segment is over.

        Args:
          rewards: as the environment gave them.
          ended: whether the episode ended with that step.
          discounted: the discounted return before the first of them.

        Returns:
          the scaled rewards, the discounted returns, and the one to go on with.
        """
        gamma, scale = self._settings.gamma, self.reward
        scaled, returns = [], []
        for reward, last in zip(rewards, ended, strict=True):
            discounted = discounted * gamma + reward
            returns.append(discounted)
            scaled.append(scale(reward, discounted))
            if last:
                discounted = 0.0
        return scaled, returns, discounted


def _copy(observation: np.ndarray, out: np.ndarray) -> None:
    out[...] = observation


def _same(reward: float, discounted_return: float) -> float:
    del discounted_return
    return reward


def _rewarder(returns: Moments, settings: NormalizerSettings) -> Callable[[float, float], float]:
    count, mean, m2 = float(returns.count), float(returns.mean), float(returns.m2)
    epsilon, limit, sqrt = settings.epsilon, settings.cliprew, math.sqrt

    def scaled_reward(reward: float, discounted_return: float) -> float:
        nonlocal count, mean, m2
        count += 1.0
        delta = discounted_return - mean
        mean += delta / count
        m2 += delta * (discounted_return - mean)
        scaled = reward / sqrt(m2 / count + epsilon)
        return scaled if -limit < scaled < limit else -limit if scaled < limit else limit

    return scaled_reward
