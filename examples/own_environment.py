"""An environment and a wrapper of one's own: walk along a corridor to its end, paid in tenths.

python examples/own_environment.py
"""

from __future__ import annotations

import gymnasium
import numpy as np

from wng_tf import learn


class Corridor(gymnasium.Env):
    """Places 0 to `length`; a step goes left or right and costs one, until the end is reached."""

    def __init__(self, length: int = 8):
        self.length, self.place = length, 0
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        return np.array([self.place / self.length], np.float32), -1.0, self.place == self.length, False, {}


class Tenths(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 0.1 * float(reward)


if __name__ == "__main__":
    learn(env=Corridor, env_kwargs={"length": 8}, env_wrapper=Tenths, alg="ppo", nsteps=256, nminibatches=4, lr=3e-3,
          total_timesteps=20_000, eval_interval=5_000, log_path="runs/out/corridor")  # fmt: skip
