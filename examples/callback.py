"""A callback in Baselines' form, which stops a run early, and the function of a learning rate.

python examples/callback.py
"""

from __future__ import annotations

import numpy as np

from wng_tf import learn


class NoProgress:
    """Stops a run whose mean return has not risen for so many updates; the first ones have no episodes to judge by."""

    def __init__(self, patience: int):
        self.patience, self.best, self.waited = patience, -np.inf, 0

    def __call__(self, locals, globals):
        if locals["eprewmean"] > self.best:
            self.best, self.waited = locals["eprewmean"], 0
        else:
            self.waited += 1
        return self.waited < self.patience  # False stops the run, and saves it


def say(locals, globals):
    print(f"update {locals['number']}: mean return {locals['eprewmean']:.1f}")


def train(folder, steps: int = 100_000, patience: int = 20):
    return learn(env="CartPole-v1", alg="ppo", total_timesteps=steps, lr=lambda left: 1e-3 * left, log_path=folder,
                 callback=[say, NoProgress(patience)], stop_return=450.0)  # fmt: skip


if __name__ == "__main__":
    train("runs/out/early_stop")
