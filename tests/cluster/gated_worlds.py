"""A world that stands still in its first episode of a process until a file is there; actors import it by its name.

The environment variable GATED_WORLDS names a folder: a process that stands still leaves `held-PID` there, and goes on when
there is `gate`. Without the variable nothing stands still.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np

VARIABLE = "GATED_WORLDS"
_passed = False


class Gated(gym.Env):
    """A walk on a line: the action and noise move it, the distance from zero costs; observes also if TensorFlow is here."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.normal(), 0
        return np.array([self.x, self.t]), {}

    def step(self, action):
        self.t += 1
        if self.t == 3:
            _hold()
        self.x += float(action[0]) + 0.1 * self.np_random.normal()
        return np.array([self.x, self.t]), -abs(self.x), abs(self.x) > 4.0, False, {}


def _hold() -> None:
    global _passed
    folder = os.environ.get(VARIABLE)
    if _passed or folder is None:
        return
    _passed = True
    (Path(folder) / f"held-{os.getpid()}-{'tensorflow' in sys.modules}").touch()
    until = time.monotonic() + 120.0
    while not (Path(folder) / "gate").exists() and time.monotonic() < until:
        time.sleep(0.02)


if "Gated-v0" not in gym.registry:
    gym.register("Gated-v0", entry_point=Gated, max_episode_steps=20)
