"""Wrappers of all environments at once, in Baselines' form."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from baselines_compat.vec_env.vec_env import VecEnv


class VecEnvWrapper(VecEnv):
    """A `VecEnv` around another. A subclass has `reset` and `step_wait`; what it does not have is that of `venv`.

    Segments (`collect`) come of its own `reset` and `step`, so that they have what it changes; a resumed run begins new
    episodes, see `VecEnv`.

    Args:
      venv: what is wrapped.
      observation_space, action_space: if they differ from those of `venv`.
    """

    def __init__(
        self, venv: VecEnv, observation_space: gym.Space | None = None, action_space: gym.Space | None = None
    ) -> None:
        self.venv = venv
        super().__init__(
            venv.num_envs,
            venv.observation_space if observation_space is None else observation_space,
            venv.action_space if action_space is None else action_space,
        )

    @abc.abstractmethod
    def reset(self) -> np.ndarray: ...

    @abc.abstractmethod
    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]: ...

    def step_async(self, actions: Sequence[Any]) -> None:
        self.venv.step_async(actions)

    def remarks(self) -> list[str]:
        return self.venv.remarks()

    def close(self) -> None:
        self.venv.close()

    @property
    def unwrapped(self) -> VecEnv:
        """The `VecEnv` below all wrappers."""
        return self.venv.unwrapped if isinstance(self.venv, VecEnvWrapper) else self.venv

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "venv":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.venv, name)


class VecEnvObservationWrapper(VecEnvWrapper):
    """A wrapper that changes observations [num_envs, obs] alone, by `process`.

    The last observation of an episode, in its info, goes through `process` too.
    """

    @abc.abstractmethod
    def process(self, obs: np.ndarray) -> np.ndarray:
        """What to hand on for these observations, [n, obs]."""

    def reset(self) -> np.ndarray:
        return self.process(self.venv.reset())

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        changed = []
        for info in infos:
            last = info.get("terminal_observation")
            changed.append(
                info if last is None else {**info, "terminal_observation": self.process(np.asarray(last)[None])[0]}
            )
        return self.process(observations), rewards, dones, changed
