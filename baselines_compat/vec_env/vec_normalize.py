"""Normalized observations and rewards over a `VecEnv`, in Baselines' names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baselines_compat.actor import ActorSpec, JointActor
from baselines_compat.conform import size_of
from baselines_compat.flattening import image_columns
from baselines_compat.vec_env.normalizer import Normalizer, NormalizerSettings
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays
from baselines_compat.vec_env.vec_env import VecEnv


class VecNormalize(VecEnv):
    """Running normalization of observations and of rewards (by the deviation of the discounted return).

    Args:
      venv: the environments.
      ob, ret: whether observations and rewards are normalized. The pixels of images are not: they are fractions already.
      clipob, cliprew: limits of the normalized values.
      gamma: discount of the return whose deviation scales the rewards.
      epsilon: added to variances.

    Attributes:
      ob_rms, ret_rms: the statistics. They are part of the policy: saved with it, frozen in evaluation.
      training: False freezes the statistics in `reset` and `step`.
    """

    def __init__(
        self,
        venv: VecEnv,
        ob: bool = True,
        ret: bool = True,
        clipob: float = 10.0,
        cliprew: float = 10.0,
        gamma: float = 0.99,
        epsilon: float = 1e-8,
    ):
        super().__init__(venv.num_envs, venv.observation_space, venv.action_space)
        self.venv = venv
        size = size_of(venv.observation_space)
        pixels = image_columns(venv.observation_space)
        if pixels == ((0, size),):
            ob, pixels = False, ()
        self.normalizer = Normalizer((size,), NormalizerSettings(ob, ret, clipob, cliprew, gamma, epsilon, pixels))
        self.training = True
        self._returns = np.zeros(self.num_envs)

    @property
    def ob_rms(self):
        return self.normalizer.ob_rms

    @property
    def ret_rms(self):
        return self.normalizer.ret_rms

    def _observe(self, observations: np.ndarray) -> np.ndarray:
        if self.training:
            self.ob_rms.update(observations)
        return self.normalizer(observations)

    def reset(self) -> np.ndarray:
        self._returns[:] = 0.0
        return self._observe(self.venv.reset())

    def step_async(self, actions: Sequence[Any]) -> None:
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        settings = self.normalizer.settings
        self._returns = self._returns * settings.gamma + rewards
        if settings.ret:
            if self.training:
                self.ret_rms.update(self._returns)
            scale = np.sqrt(self.ret_rms.var + settings.epsilon)
            rewards = np.clip(rewards / scale, -settings.cliprew, settings.cliprew)
        self._returns[dones] = 0.0
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.normalizer(info["terminal_observation"])
        return self._observe(observations), rewards, dones, infos

    def collect(
        self, spec: ActorSpec | JointActor, flat: np.ndarray, nsteps: int, normalizer: Normalizer | None = None
    ) -> tuple[SegmentArrays, list[list[EpisodeRecord]]]:
        """As `VecEnv.collect`, with this wrapper's own statistics."""
        return self.venv.collect(spec, flat, nsteps, normalizer or self.normalizer)

    def get_state(self) -> dict[str, Any]:
        """As `VecEnv.get_state`, with the statistics, the open discounted returns and whether the statistics are frozen."""
        return {
            "environments": self.venv.get_state(),
            "normalizer": self.normalizer.state(),
            "returns": self._returns.copy(),
            "training": self.training,
        }

    def set_state(self, state: dict[str, Any]) -> list[str]:
        """As `VecEnv.set_state`."""
        lost = self.venv.set_state(state["environments"])
        self.normalizer.restore(state["normalizer"])
        # Older states have neither: their runs collected whole segments, whose open returns the environments keep.
        self._returns[:] = state.get("returns", 0.0)
        self.training = bool(state.get("training", True))
        return lost

    def remarks(self) -> list[str]:
        return self.venv.remarks()

    def close(self) -> None:
        self.venv.close()
