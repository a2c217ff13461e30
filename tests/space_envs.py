"""Environments with every kind of space, as `space_envs:space/...-v0`; worker processes find the module too."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

ACTIONS: dict[str, spaces.Space[Any]] = {
    "matrix": spaces.Box(-0.5, 0.5, (2, 3), np.float64),
    "whole": spaces.Box(-2, 2, (2, 2), np.int64),
    "number": spaces.Box(-1.0, 1.0, (), np.float32),
    "choice": spaces.Discrete(3, start=-7),
    "choices": spaces.MultiDiscrete([3, 2, 2], start=[4, 0, -1]),
    "table": spaces.MultiDiscrete([[2, 3], [3, 2]], dtype=np.int32),
    "switches": spaces.MultiBinary(3),
    "panel": spaces.MultiBinary((2, 2)),
}


class Acting(gym.Env):
    """Refuses what is no member of its action space; the reward is the mean of the action's numbers.

    The observation is two numbers, the second the share of the last action's numbers that are positive.
    """

    def __init__(self, name: str):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = ACTIONS[name]

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return np.array([self.np_random.normal(), 0.0], np.float32), {}

    def step(self, action: Any):
        assert type(action) is type(self.action_space.sample()), type(action)
        assert action.dtype == self.action_space.dtype, action.dtype
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        numbers = np.asarray(action, np.float64)
        observation = np.array([self.np_random.normal(), np.mean(numbers > 0)], np.float32)
        return observation, float(numbers.mean()), False, False, {}


OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float64),
    "number": spaces.Box(-1.0, 1.0, (), np.float32),
    "whole": spaces.Box(-5, 5, (3,), np.int32),
    "choice": spaces.Discrete(3, start=2),
    "choices": spaces.MultiDiscrete([3, 2], start=[1, 5]),
    "switches": spaces.MultiBinary((2, 2)),
    "dict": spaces.Dict(place=spaces.Box(-1.0, 1.0, (2,), np.float32), kind=spaces.Discrete(3)),
    "tuple": spaces.Tuple([spaces.Box(-1.0, 1.0, (2, 2), np.float32), spaces.MultiBinary(2)]),
    "image": spaces.Box(0, 255, (20, 24, 3), np.uint8),
    "gray": spaces.Box(0, 255, (20, 20), np.uint8),
    "camera": spaces.Dict(eye=spaces.Box(0, 255, (6, 6, 1), np.uint8), speed=spaces.Box(-90.0, 90.0, (2,), np.float32)),
}


class Showing(gym.Env):
    """Observations that are samples of a space; the reward is the action."""

    def __init__(self, name: str):
        self.observation_space = copy.deepcopy(OBSERVATIONS[name])  # it draws
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _look(self) -> Any:
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(int(seed) % 2**31)
        return self._look(), {}

    def step(self, action: Any):
        return self._look(), float(action[0]), False, False, {}


class Seeing(gym.Env):
    """One step: a bright half of an image, left or right, is to be named."""

    def __init__(self):
        self.observation_space = spaces.Box(0, 255, (20, 20, 1), np.uint8)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.side = int(self.np_random.integers(2))
        image = self.np_random.integers(0, 100, (20, 20, 1))
        image[:, 10 * self.side : 10 * self.side + 10] += 100
        return image.astype(np.uint8), {}

    def step(self, action: Any):
        right = float(action == self.side)
        return self.reset()[0], right, True, False, {}


class Levers(gym.Env):
    """One step: every lever has its right position, the last one or the first; the reward is the share that is right."""

    def __init__(self, kind: str = "choices"):
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.MultiDiscrete([2, 3]) if kind == "choices" else spaces.MultiBinary(2)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: Any):
        right = np.array([1, 2]) if isinstance(self.action_space, spaces.MultiDiscrete) else np.array([1, 0])
        return np.ones(1, np.float32), float(np.mean(action == right)), True, False, {}


class OneOfMany(gym.ActionWrapper):
    """Discrete actions as the only one of a MultiDiscrete."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        assert isinstance(env.action_space, spaces.Discrete)
        self.action_space = spaces.MultiDiscrete([env.action_space.n])

    def action(self, action: Any):
        return action[0]


class Typing(gym.Env):
    """Actions of a kind that nobody handles."""

    def __init__(self):
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Text(5)


def cart_pole() -> gym.Env:
    """CartPole whose action is the only one of a MultiDiscrete."""
    return OneOfMany(gym.make("CartPole-v1", disable_env_checker=True).unwrapped)


for _name in ACTIONS:
    gym.register(f"space/Acting-{_name}-v0", entry_point=Acting, kwargs={"name": _name}, max_episode_steps=9)
for _name in OBSERVATIONS:
    gym.register(f"space/Showing-{_name}-v0", entry_point=Showing, kwargs={"name": _name}, max_episode_steps=9)
gym.register("space/Seeing-v0", entry_point=Seeing, max_episode_steps=1)
for _name in ("choices", "switches"):
    gym.register(f"space/Levers-{_name}-v0", entry_point=Levers, kwargs={"kind": _name}, max_episode_steps=1)
gym.register("space/CartPole-v0", entry_point=cart_pole, max_episode_steps=500)
gym.register("space/Typing-v0", entry_point=Typing, max_episode_steps=5)
