"""Environments small enough to know every number of. Made by `functools.partial(Class, ...)`, so workers can too."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Scripted(gym.Env):
    """Episodes of given lengths and ends, over and over; observation [episode, step], reward 10 episode + step.

    Args:
      script: (length, end) of each episode, end being "terminated", "truncated" or "both".
    """

    def __init__(self, script: tuple[tuple[int, str], ...]):
        self.script = script
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.episode, self.t = -1, 0

    def _observation(self) -> np.ndarray:
        return np.array([self.episode, self.t], np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action: np.ndarray):
        length, end = self.script[self.episode % len(self.script)]
        self.t += 1
        last = self.t >= length
        reward = 10.0 * self.episode + self.t
        return self._observation(), reward, last and end != "truncated", last and end != "terminated", {}


class ConstantReward(gym.Env):
    """Reward 1 for ever in a single state, cut by a time limit."""

    def __init__(self, limit: int, terminal: bool = False):
        self.limit, self.terminal, self.t = limit, terminal, 0
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action: np.ndarray):
        self.t += 1
        last = self.t >= self.limit
        return np.ones(1, np.float32), 1.0, last and self.terminal, last and not self.terminal, {}


class Drifting(gym.Env):
    """A random walk that returns the same buffer at every step and scribbles over the action it is sent."""

    def __init__(self, limit: int = 7):
        self.limit, self.t = limit, 0
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.state = np.zeros(3)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        self.state[:] = self.np_random.normal(size=3)
        return self.state, {}

    def step(self, action: np.ndarray):
        self.t += 1
        action *= 0.5
        self.state += action + self.np_random.normal(size=3)
        return self.state, float(-np.abs(self.state).sum()), False, self.t >= self.limit, {}


class Faulty(gym.Env):
    """NaN in one place at one step; a NaN action is refused with an exception, as real engines do."""

    def __init__(self, what: str, at: int, last: bool = False):
        self.what, self.at, self.last, self.t = what, at, last, 0
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(3), {}

    def step(self, action: np.ndarray):
        if not np.isfinite(action).all():
            raise FloatingPointError("the engine exploded")
        self.t += 1
        now = self.t == self.at
        observation = np.full(3, np.nan if now and self.what == "observation" else 0.1 * self.t)
        reward = np.inf if now and self.what == "reward" else 1.0
        return observation, reward, now and self.last, False, {}


class Choice(gym.Env):
    """Discrete actions; start + step modulo 3 is right. Observation: [the action as it was sent, step modulo 3]."""

    def __init__(self, limit: int = 6, start: int = 5):
        self.limit, self.start, self.t = limit, start, 0
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(3, start=start)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: int):
        assert self.action_space.contains(action), action
        self.t += 1
        right = action == self.start + (self.t - 1) % 3
        observation = np.array([action, self.t % 3], np.float32)
        return observation, float(right), self.t >= self.limit, False, {}


KEPT_SPACES: dict[str, spaces.Space] = {
    "float32": spaces.Box(-0.1, 0.1, (2,), np.float32),
    "float64": spaces.Box(-0.1, 0.1, (2,), np.float64),
    "one-sided": spaces.Box(np.array([-0.1, -np.inf]), np.array([np.inf, 0.1]), dtype=np.float64),
    "float16": spaces.Box(-0.1, 0.1, (2,), np.float16),
    "int32": spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32),
    "int64": spaces.Box(-(2**63), 2**63 - 1, (2,), np.int64),
    "uint8": spaces.Box(3, 5, (2,), np.uint8),
    "int8": spaces.Box(-1, 1, (2,), np.int8),
    "bool": spaces.Box(0, 1, (2,), np.bool_),
    "discrete": spaces.Discrete(3),
}


class Keeping(gym.Env):
    """Keeps every action that it is sent, and fails where one is not of its space or was written over."""

    def __init__(self, space: str):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = KEPT_SPACES[space]
        self.kept: list[Any] = []
        self.copies: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return self._look(), {}

    def _look(self) -> np.ndarray:
        return self.np_random.normal(size=2).astype(np.float32)

    def step(self, action: Any):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        assert action.dtype == self.action_space.dtype, f"{action.dtype} is not {self.action_space.dtype}"
        for kept, copy in zip(self.kept, self.copies, strict=True):
            assert np.array_equal(kept, copy), f"{copy} became {kept}"
        self.kept = [*self.kept[-20:], action]
        self.copies = [*self.copies[-20:], np.array(action)]
        return self._look(), float(np.clip(np.asarray(action, np.float64), -9, 9).sum()), False, False, {}


class Aim(gym.Env):
    """Say where the target is: observation [x, y, 1], x and y ~ U(-1, 1), reward -|action - (x, y)|², one step."""

    def __init__(self):
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float64)
        self.action_space = spaces.Box(-5.0, 5.0, (2,), np.float32)
        self.target = np.zeros(2)

    def _look(self) -> np.ndarray:
        self.target = self.np_random.uniform(-1.0, 1.0, 2)
        return np.array([*self.target, 1.0])

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action: np.ndarray):
        reward = -float(np.square(action - self.target).sum())
        return self._look(), reward, True, False, {}


class Refusing(gym.Env):
    """Cannot be made."""

    def __init__(self, text: str = "no such robot"):
        raise ValueError(text)


class Broken(gym.Env):
    """Fails at the first step with an error of its own."""

    def __init__(self):
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray):
        raise RuntimeError("a wheel fell off")


class Spy(gym.Env):
    """Makes a task as rollouts do, and tells of its process: [TensorFlow or Keras imported, resident memory in MB]."""

    def __init__(self, task: str):
        from wng_tf.envs import tasks

        self.inner = tasks.make(task)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _report(self) -> np.ndarray:
        import sys
        from pathlib import Path

        self.inner.step(self.inner.action_space.sample())
        heavy = any(name in sys.modules for name in ("tensorflow", "keras", "tensorflow_probability"))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return np.array([heavy, pages * 4096 / 2**20])

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.inner.reset(seed=seed)
        return self._report(), {}

    def step(self, action: np.ndarray):
        return self._report(), 0.0, False, False, {}

    def close(self) -> None:
        self.inner.close()


class Compass(gym.Env):
    """Dict observations far from the origin; rewards for going where the arrow points."""

    def __init__(self):
        self.observation_space = spaces.Dict(arrow=spaces.Discrete(2), height=spaces.Box(0.0, 2e3, (1,)))
        self.action_space = spaces.Discrete(2)

    def _seen(self):
        self.arrow = int(self.np_random.integers(2))
        return {"arrow": self.arrow, "height": self.np_random.normal(1e3, 1.0, (1,)).astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action):
        reward = float(action == self.arrow)
        return self._seen(), reward, False, False, {}


def episode_length(trajectory: Any, length: int) -> list[float]:
    """A behavioural embedding of a user's own."""
    return [float(len(trajectory.rewards)), float(trajectory.rewards.sum())]


for _name in KEPT_SPACES:
    gym.register(f"toy/Keeping-{_name}-v0", entry_point=Keeping, kwargs={"space": _name}, max_episode_steps=9)
gym.register("toy/Compass-v0", entry_point=Compass, max_episode_steps=10)
gym.register("toy/Aim-v0", entry_point="toy_envs:Aim")
gym.register("toy/Drifting-v0", entry_point="toy_envs:Drifting")
for _what in ("observation", "reward"):
    gym.register(f"toy/Faulty-{_what}-v0", entry_point="toy_envs:Faulty", kwargs={"what": _what, "at": 70})
