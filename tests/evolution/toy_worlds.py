"""Small environments with known returns; workers import them by name, as `toy_worlds:Countdown-v0`."""

from __future__ import annotations

import os
import sys

import gymnasium as gym
import numpy as np


class Countdown(gym.Env):
    """Ends (terminated) after as many steps as the start state says, 1 to 9; reward: the action's first entry."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left, self.calls = int(self.np_random.integers(1, 10)), 0
        return np.array([self.left, 0.0]), {}

    def step(self, action):
        assert self.left > 0, "stepped after its end"
        self.left -= 1
        self.calls += 1
        return np.array([self.left, self.calls], float), float(action[0]), self.left == 0, False, {}


class Broken(Countdown):
    """Gives NaN after three steps: in the observation, or in the reward."""

    def __init__(self, where="observation"):
        super().__init__()
        self.where = where

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 9
        return np.array([9.0, 0.0]), {}

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.calls == 3 and self.where == "observation":
            observation = observation * np.nan
        if self.calls == 3 and self.where == "reward":
            reward = float("inf")
        return observation, reward, terminated, truncated, info


class Raising(Countdown):
    """Fails in its second step."""

    def step(self, action):
        if self.calls == 1:
            raise RuntimeError("the cable is out")
        return super().step(action)


class Spy(gym.Env):
    """Its observation is 1 where TensorFlow is loaded in its process."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(0, 1, (1,), np.float64)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([float("tensorflow" in sys.modules)]), {}


class OnlyHere(Countdown):
    """Cannot be made in another process than its owner."""

    def __init__(self, owner: int):
        if os.getpid() != owner:
            raise RuntimeError("this world works only where it was made")
        super().__init__()


def last_action(trajectory, length):
    """A custom embedding."""
    del length
    return trajectory.actions[-1]


def ragged(trajectory, length):
    """An embedding that is none: vectors of several lengths."""
    del length
    return trajectory.rewards


for name, entry, kwargs in (
    ("Countdown", Countdown, {}),
    ("BrokenObservation", Broken, {"where": "observation"}),
    ("BrokenReward", Broken, {"where": "reward"}),
    ("Raising", Raising, {}),
    ("Spy", Spy, {}),
    ("OnlyHere", OnlyHere, {}),
):
    if f"{name}-v0" not in gym.registry:
        gym.register(f"{name}-v0", entry_point=entry, kwargs=kwargs, max_episode_steps=7)
if "Endless-v0" not in gym.registry:
    gym.register("Endless-v0", entry_point=Countdown)
