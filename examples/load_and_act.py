"""Train a policy, save it, load it, and act: python examples/load_and_act.py. Loading and acting import no TensorFlow."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gymnasium

import wng_tf


def train(path: Path, total_timesteps: float = 3e4) -> None:
    """Train on CartPole and save the policy to `path`."""
    policy = wng_tf.learn(alg="ppo", env="CartPole-v1", total_timesteps=total_timesteps, num_hidden=32, progress=False)
    policy.save(path)


def play(path: Path, seed: int = 0) -> float:
    """Return of one episode of the saved policy."""
    policy = wng_tf.load(path)
    with gymnasium.make("CartPole-v1") as env:
        observation, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action, _ = policy.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
    return total


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder, "cartpole.npz"))
        print([play(Path(folder, "cartpole.npz"), seed) for seed in range(5)])
