"""Registers environments that go wrong, as `--env=faulty_ids:Name-v0`; worker processes find the module too."""

from __future__ import annotations

import functools
import os
import signal
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import register
from toy_envs import Broken, Faulty


class Signalling(gymnasium.Env):
    """Sends its process a signal in step 100."""

    def __init__(self, number: int = signal.SIGKILL):
        self.number = number
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray):
        self.t += 1
        if self.t == 100:
            os.kill(os.getpid(), self.number)
        return np.zeros(1, np.float32), 1.0, False, self.t % 10 == 0, {}


class Space(Signalling):
    """Has the spaces that it is given."""

    def __init__(self, observations: spaces.Space | None = None, actions: spaces.Space | None = None):
        super().__init__()
        self.observation_space = observations or self.observation_space
        self.action_space = actions or self.action_space


ENVIRONMENTS = {
    "NaNObservation-v0": functools.partial(Faulty, "observation", 100),
    "InfiniteReward-v0": functools.partial(Faulty, "reward", 100),
    "Dying-v0": Signalling,
    "CtrlC-v0": functools.partial(Signalling, signal.SIGINT),
    "Broken-v0": Broken,
    "ManyChoices-v0": functools.partial(Space, actions=spaces.Tuple([spaces.Discrete(2)] * 2)),
    "Images-v0": functools.partial(Space, observations=spaces.Sequence(spaces.Box(0, 255, (8, 8, 3), np.uint8))),
    "Words-v0": functools.partial(Space, observations=spaces.Text(5)),
}
for name, entry_point in ENVIRONMENTS.items():
    register(name, entry_point=entry_point)
