"""EvoTorch's evolution strategy on Hopper-v5 beside Gymnasium's `env.step`: `python -m benchmarks.evotorch_peer`.

The peer of `benchmarks.evolution --what=hopper`: the same network (two hidden layers of 32 tanh units), population (100
mirrored members), observation normalization and task. Needs `pip install evotorch`, best in an environment of its own, and
nothing of this project but this file.
"""

from __future__ import annotations

import statistics
import time

import gymnasium
import numpy as np

GENERATIONS = 8
ACTORS = 2


def main() -> None:
    """Measures and prints."""
    from evotorch.algorithms import PGPE
    from evotorch.neuroevolution import GymNE

    problem = GymNE(
        "Hopper-v5",
        "Linear(obs_length, 32) >> Tanh() >> Linear(32, 32) >> Tanh() >> Linear(32, act_length) >> Tanh()",
        observation_normalization=True,
        num_actors=ACTORS,
    )
    search = PGPE(problem, popsize=100, center_learning_rate=0.01, stdev_learning_rate=0.1, stdev_init=0.05)
    search.step()  # starts the actors
    alone, peer = [], []
    for _ in range(GENERATIONS):
        alone.append(env_step())
        before, start = search.status["total_interaction_count"], time.perf_counter()
        search.step()
        peer.append((search.status["total_interaction_count"] - before) / (time.perf_counter() - start))
    print(
        f"Hopper-v5: steps/s env.step alone {statistics.median(alone):,.0f}, EvoTorch, {ACTORS} actors "
        f"{statistics.median(peer):,.0f} ({min(peer):,.0f} to {max(peer):,.0f})"
    )


def env_step(steps: int = 3000) -> float:
    """Steps per second of one process on random actions."""
    env = gymnasium.make("Hopper-v5")
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    start = time.perf_counter()
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 3).astype(np.float32))
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
