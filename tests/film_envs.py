"""Environments that draw themselves, named as `film_envs:Name`; other processes find the module too."""

from __future__ import annotations

import os
import signal
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Grey(gym.Env):
    """Ten steps, each drawn in a grey of its own that the reset's seed and the actions decide. Its infos cannot be sent."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def _look(self) -> np.ndarray:
        return np.array([self.shade / 255.0, self.t / 10.0, os.getpid() % 2], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t, self.shade = 0, float(self.np_random.uniform(0.0, 100.0))
        return self._look(), {"tell": lambda: None}

    def step(self, action: np.ndarray):
        self.t += 1
        self.shade = min(255.0, self.shade + 5.0 + 5.0 * abs(float(action[0])))
        return self._look(), self.shade, False, self.t == 10, {"tell": lambda: None}

    def render(self) -> np.ndarray:
        return np.full((32, 48, 3), self.shade, np.uint8)


class Dying(Grey):
    """Takes its process with it, as two libraries that do not go together do."""

    def render(self) -> np.ndarray:
        if self.t == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().render()


class Broken(Grey):
    """Cannot be drawn."""

    def render(self) -> np.ndarray:
        raise ZeroDivisionError("no light")


class Failing(Grey):
    """Fails after a while."""

    def step(self, action: np.ndarray):
        if self.t == 3:
            raise RuntimeError("a wheel fell off")
        return super().step(action)


class Moving(Grey):
    """It leaves the working folder."""

    def reset(self, **kwargs):
        os.chdir("/")
        return super().reset(**kwargs)
