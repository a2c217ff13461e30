"""`make_vec_env`: several copies of an environment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from baselines_compat.vec_env.arguments import count, whole
from baselines_compat.vec_env.subproc_vec_env import SubprocVecEnv
from baselines_compat.vec_env.vec_env import DummyVecEnv, VecEnv


def make_vec_env(
    env_id: str | Callable[[], gym.Env],
    num_env: int = 1,
    seed: int = 0,
    *,
    num_workers: int = 1,
    env_kwargs: dict[str, Any] | None = None,
    timeout: float = 0.0,
) -> VecEnv:
    """Several copies of an environment, in this process or in `num_workers` spawned ones.

    Args:
      env_id: a Gymnasium id, or a picklable function that makes one environment.
      num_env: how many copies.
      seed: seed of the run; the streams of copy i are keyed by (seed, i).
      num_workers: 1 steps them in this process; more spawns that many workers. The results are the same.
      env_kwargs: passed to `gymnasium.make`.
      timeout: seconds after which an environment that does not come back is given up; 0: never.

    Raises:
      UserError: `num_env` is no whole number from 1 on; or as `DummyVecEnv`.
    """
    make = functools.partial(gym.make, env_id, **(env_kwargs or {})) if isinstance(env_id, str) else env_id
    env_fns = [make] * count(num_env)
    num_workers = whole("num_workers", num_workers, 0)
    if num_workers > 1:
        return SubprocVecEnv(env_fns, seed, num_workers, timeout)
    return DummyVecEnv(env_fns, seed, timeout)
