"""The last observations of each environment as one."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from baselines_compat.vec_env.vec_env import VecEnv
from baselines_compat.vec_env.wrapper import VecEnvWrapper


class VecFrameStack(VecEnvWrapper):
    """The last `nstack` observations side by side along the last axis, the newest at the end; zeros before an episode.

    Args:
      venv: environments whose observations are a Box.
      nstack: how many, at least 1.

    Raises:
      ValueError: fewer than 1, or observations that are no Box.
    """

    def __init__(self, venv: VecEnv, nstack: int):
        space = venv.observation_space
        if nstack < 1:
            raise ValueError(f"nstack is {nstack}: at least 1 observation has to be kept.")
        if not isinstance(space, gym.spaces.Box):
            raise ValueError(f"VecFrameStack needs observations that are a Box, not {space}.")
        self.nstack = nstack
        low, high = (np.repeat(bound, nstack, axis=-1) for bound in (space.low, space.high))
        # Before an episode there are zeros, which may lie outside of the bounds of an observation.
        old = low.shape[-1] // nstack * (nstack - 1)
        low[..., :old], high[..., :old] = np.minimum(low[..., :old], 0), np.maximum(high[..., :old], 0)
        super().__init__(venv, observation_space=gym.spaces.Box(low, high, dtype=space.dtype.type))
        self._stacked: np.ndarray | None = None

    def reset(self) -> np.ndarray:
        observations = self.venv.reset()
        self._stacked = np.zeros((*observations.shape[:-1], observations.shape[-1] * self.nstack), observations.dtype)
        self._stacked[..., -observations.shape[-1] :] = observations
        return self._stacked.copy()

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        assert self._stacked is not None, "step before reset"
        width, given = observations.shape[-1], []
        self._stacked = np.roll(self._stacked, -width, axis=-1)
        for i, info in enumerate(infos):
            if dones[i]:
                if info.get("terminal_observation") is not None:
                    last = self._stacked[i].copy()
                    last[..., -width:] = info["terminal_observation"]
                    info = {**info, "terminal_observation": last}
                self._stacked[i] = 0
            given.append(info)
        self._stacked[..., -width:] = observations
        return self._stacked.copy(), rewards, dones, given
