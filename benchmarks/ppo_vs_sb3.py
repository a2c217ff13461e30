"""PPO here and in Stable-Baselines3, the same hyper-parameters and seeds: do final returns agree?

    pip install -e '.[peers]'
    python -m benchmarks.ppo_vs_sb3

Can be interrupted and repeated: see `benchmarks.comparison`.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app

from benchmarks import comparison


def train_wng_tf(env: str, seed: int, steps: int) -> list[float]:
    """Our value loss is ½ (V - R)², as in Baselines; Stable-Baselines3's has no ½ and a coefficient of 0.5."""
    return comparison.train_wng_tf(env, seed, steps, alg="ppo", lr="3e-4", vf_coef=1.0, nsteps=2048, nminibatches=32,
                                   noptepochs=10, cliprange=0.2)  # fmt: skip


def train_stable_baselines3(env: str, seed: int, steps: int) -> list[float]:
    """Stable-Baselines3's defaults for PPO, written out."""
    from stable_baselines3 import PPO

    return comparison.train_stable_baselines3(env, seed, steps, PPO, n_steps=2048, batch_size=64, n_epochs=10,
                                              learning_rate=3e-4, clip_range=0.2, gamma=0.99, gae_lambda=0.95,
                                              ent_coef=0.0, vf_coef=0.5, max_grad_norm=0.5)  # fmt: skip


TRAIN = {"wng_tf": train_wng_tf, "stable-baselines3": train_stable_baselines3}


def main(argv: Sequence[str]) -> None:
    """Do what the flags say."""
    del argv
    comparison.compare("benchmarks.ppo_vs_sb3", "ppo", TRAIN)


if __name__ == "__main__":
    comparison.define_flags(["Hopper-v5", "InvertedDoublePendulum-v5"], list(TRAIN), "runs/results/ppo_vs_sb3")
    app.run(main)
