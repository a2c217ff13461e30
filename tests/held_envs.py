"""Environments, wrappers and factories that tests of `learn(env=...)` name or hold."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from toy_envs import Drifting


class Scaled(gym.RewardWrapper):
    """Rewards times two."""

    def reward(self, reward: Any) -> float:
        return 2.0 * float(reward)


class Shifted(gym.RewardWrapper):
    """Rewards plus one."""

    def reward(self, reward: Any) -> float:
        return float(reward) + 1.0


class Drift(Drifting):
    """`Drifting` with a reward that an argument scales."""

    def __init__(self, limit: int = 7, scale: float = 1.0):
        super().__init__(limit)
        self.scale = scale

    def step(self, action: np.ndarray):
        observation, reward, *rest = super().step(action)
        return observation, self.scale * reward, *rest


class Pole(gym.Wrapper):
    """CartPole, cut after a few steps by nobody but this class."""

    def __init__(self, limit: int = 20):
        super().__init__(gym.make("CartPole-v1", max_episode_steps=limit))


def make_drift(limit: int = 7, scale: float = 1.0) -> gym.Env:
    return Drift(limit, scale)


def make_nothing() -> Any:
    return 3


def make_three(env: Any) -> Any:
    return 3


class Counting(gym.Env):
    """Observation [which episode, step], reward episode + step; episodes of the given length end or are cut in turns."""

    def __init__(self, length: int = 3):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.length, self.episode, self.t = length, -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.array([self.episode, 0.0]), {}

    def step(self, action: np.ndarray):
        self.t += 1
        over = self.t == self.length
        cut = over and self.episode % 2 == 1
        return np.array([self.episode, float(self.t)]), float(self.episode + self.t), over and not cut, cut, {}


class Native(gym.vector.VectorEnv):
    """Several `Counting` in a form of somebody's own: the call after an end is the reset, and there are no masks."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, lengths: tuple[int, ...]):
        self.worlds = [Counting(length) for length in lengths]
        self.num_envs = len(lengths)
        self.single_observation_space = self.worlds[0].observation_space
        self.single_action_space = self.worlds[0].action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, self.num_envs)
        self.over = [False] * self.num_envs
        self.closed_by_anybody = False

    def reset(self, *, seed: int | None = None, options: Any = None):
        assert options is None
        assert seed is None or isinstance(seed, int)
        self.over = [False] * self.num_envs
        return np.stack([world.reset(seed=seed)[0] for world in self.worlds]), {}

    def step(self, actions: np.ndarray):
        results = []
        for i, (world, action) in enumerate(zip(self.worlds, actions, strict=True)):
            result = (world.reset()[0], 0.0, False, False, {}) if self.over[i] else world.step(action)
            self.over[i] = result[2] or result[3]
            results.append(result)
        observations, rewards, terminated, truncated, _ = zip(*results, strict=True)
        return np.stack(observations), np.array(rewards), np.array(terminated), np.array(truncated), {}

    def close_extras(self, **kwargs: Any) -> None:
        self.closed_by_anybody = True


gym.register("held/Drift-v0", entry_point="held_envs:Drift")


class Repeated(gym.Wrapper):
    """Needs to be told how often."""

    def __init__(self, env: gym.Env, times: int):
        super().__init__(env)
        self.times = times


def takes_nothing():
    """No wrapper at all."""


def falls_over(env: gym.Env):
    """Raises what a call with the wrong arguments does."""
    raise TypeError("no len")
