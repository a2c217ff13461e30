"""Observation and reward normalization: the arithmetic, apart from any environment.

`Normalizer` holds the statistics of a run. A `LocalNormalizer` is one environment's working copy during a segment:
it starts from the run's statistics and adds its own samples as they come, so that what it does depends on nothing
but that environment. After the segment the samples of all environments are merged into the run's statistics in the
order of the environments. With one environment this is Baselines' VecNormalize.
"""

from __future__ import annotations

import dataclasses
import math

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

    So arithmetic is in place between arrays of one shape and type: NumPy takes half as long again for each number of
    Python's among the operands, and as long as for three operations where it rounds to float32 on the way.
    """

    def __init__(self, snapshot: tuple[Moments, Moments], settings: NormalizerSettings):
        observations, returns = snapshot
        self._settings = settings
        self._mean = np.array(observations.mean)
        self._m2 = np.array(observations.m2)
        self._count = np.full_like(self._mean, observations.count)
        self._one = np.ones_like(self._mean)
        self._epsilon = np.full_like(self._mean, settings.epsilon)
        self._highest = np.full_like(self._mean, settings.clipob)
        self._lowest = -self._highest
        self._delta = np.empty_like(self._mean)
        self._scaled = np.empty_like(self._mean)
        self._ret_count = returns.count
        self._ret_mean = float(returns.mean)
        self._ret_m2 = float(returns.m2)

    def observe(self, observation: np.ndarray, out: np.ndarray) -> None:
        """Add `observation` [obs] to the statistics and write it, normalized, into `out` [obs] float32."""
        if not self._settings.ob:
            out[...] = observation
            return
        count, mean, m2, delta, scaled = self._count, self._mean, self._m2, self._delta, self._scaled
        np.add(count, self._one, count)
        np.subtract(observation, mean, delta)
        np.divide(delta, count, scaled)
        np.add(mean, scaled, mean)
        np.subtract(observation, mean, scaled)
        np.multiply(delta, scaled, delta)
        np.add(m2, delta, m2)
        np.divide(m2, count, delta)
        np.add(delta, self._epsilon, delta)
        np.sqrt(delta, delta)
        np.divide(scaled, delta, scaled)
        np.minimum(scaled, self._highest, out=scaled)
        np.maximum(scaled, self._lowest, out=scaled)
        out[...] = scaled
        for start, stop in self._settings.left:
            out[start:stop] = observation[start:stop]

    def normalize(self, observation: np.ndarray) -> np.ndarray:
        """`observation` [obs] normalized by the statistics so far, float32; the statistics do not change."""
        return normalize(observation, self._mean, self._m2 / self._count, self._settings)

    def reward(self, reward: float, discounted_return: float) -> float:
        """Add the discounted return to its statistics and scale the reward by its deviation."""
        settings = self._settings
        if not settings.ret:
            return reward
        self._ret_count = count = self._ret_count + 1.0
        delta = discounted_return - self._ret_mean
        self._ret_mean += delta / count
        self._ret_m2 += delta * (discounted_return - self._ret_mean)
        scaled = reward / math.sqrt(self._ret_m2 / count + settings.epsilon)
        return max(-settings.cliprew, min(settings.cliprew, scaled))
