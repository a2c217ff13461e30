"""TRPO here and in sb3-contrib, the same settings and seeds: do final returns agree?

    pip install -e '.[peers]'
    python -m benchmarks.trpo_vs_sb3

Settings are sb3-contrib's defaults. Its KL divergence is the mean over the coordinates of an action, ours their sum, so that
its radius of 0.01 and its absolute damping of 0.1 are ours of so many times their number. Its line search accepts any
distance up to the radius, and begins where the damped metric's quadratic model has it; ours starts on the radius itself.

Can be interrupted and repeated: see `benchmarks.comparison`.
"""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
from absl import app

from benchmarks import comparison


def train_wng_tf(env: str, seed: int, steps: int) -> list[float]:
    """Our side."""
    coordinates = gymnasium.make(env).action_space.shape[0]
    return comparison.train_wng_tf(env, seed, steps, alg="trpo", nsteps=2048, nminibatches=16, vf_iters=10, lr="1e-3",
                                   gamma=0.99, lam=0.95, trust_radius=0.01 * coordinates, cg_iters=15,
                                   cg_damping=0.1 * coordinates, cg_damping_unit="absolute")  # fmt: skip


def train_sb3_contrib(env: str, seed: int, steps: int) -> list[float]:
    """sb3-contrib's defaults, written out."""
    from sb3_contrib import TRPO

    return comparison.train_stable_baselines3(env, seed, steps, TRPO, n_steps=2048, batch_size=128, n_critic_updates=10,
                                              learning_rate=1e-3, gamma=0.99, gae_lambda=0.95, target_kl=0.01,
                                              cg_max_steps=15, cg_damping=0.1)  # fmt: skip


TRAIN = {"wng_tf": train_wng_tf, "sb3-contrib": train_sb3_contrib}


def main(argv: Sequence[str]) -> None:
    """Do what the flags say."""
    del argv
    comparison.compare("benchmarks.trpo_vs_sb3", "trpo", TRAIN)


if __name__ == "__main__":
    comparison.define_flags(["Hopper-v5"], list(TRAIN), "runs/results/trpo_vs_sb3")
    app.run(main)
