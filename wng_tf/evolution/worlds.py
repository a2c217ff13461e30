"""The worlds in which a population runs."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import registry

from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.evolution.frozen_vector_env import FrozenVectorEnv


def horizon_of(task: Task, horizon: int) -> int:
    """Steps of a rollout: `horizon`, but not beyond the environment's time limit, which 0 stands for.

    Raises:
        UserError: there is neither.
    """
    limit = registry[task.env_id.rpartition(":")[2]].max_episode_steps
    if limit is None:
        if horizon:
            return horizon
        raise UserError(f"{task.env_id} has no time limit: say with --horizon how many steps a rollout may take.")
    return min(horizon, limit) if horizon else limit


def make_worlds(task: Task, num_envs: int, num_workers: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """`num_envs` worlds of the task that are never reset by themselves.

    Worlds of this project step in `num_workers` threads of one process; those of others in `num_workers` processes,
    and they freeze when their episode ends.
    """
    if task.env_id in ("wng_tf/Point-v0", "wng_tf/Quadruped-v0"):
        return gymnasium.make_vec(task.env_id, num_envs=num_envs, num_threads=num_workers, autoreset_mode="Disabled")
    return FrozenVectorEnv(task.name, num_envs, num_workers=num_workers)
