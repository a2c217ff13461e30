"""The environments in which a population runs, in partitions that can be stepped at the same time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium import spaces

from baselines_compat.vec_env.faults import WorkerError
from wng_tf.envs import traits
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.evolution.evaluation import Evaluate, Evaluator, Plan
from wng_tf.evolution.frozen_vector_env import FrozenVectorEnv
from wng_tf.parts import HEADS


@dataclass(frozen=True)
class EnvPartitions:
    """Environments of one task without automatic reset, in parts that can be stepped at the same time.

    Attributes:
      parts: vector environments; their environments freeze when they end, or never end.
    """

    parts: tuple[gymnasium.vector.VectorEnv[Any, Any, Any], ...]

    @property
    def observation_space(self) -> spaces.Box:
        """Of one environment."""
        space = self.parts[0].single_observation_space
        assert isinstance(space, spaces.Box)
        return space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """Of one environment."""
        return self.parts[0].single_action_space

    def evaluator(self, plan: Plan) -> Evaluate:
        """What evaluates the generations of a run in these environments."""
        return Evaluator(plan, self)

    def remarks(self) -> list[str]:
        """Nothing happens here that users should know of."""
        return []

    def close(self) -> None:
        """Ends threads and processes. EnvironmentFailure, once all have ended, if closing an environment raised."""
        with contextlib.ExitStack() as stack:
            for part in self.parts:
                stack.callback(part.close)

    def __enter__(self) -> EnvPartitions:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: Any) -> None:
        # What ended the block counts, and not what closing after it meets.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(WorkerError):
            self.close()


def horizon_of(task: Task, horizon: int) -> int:
    """Steps of a rollout: `horizon`, but not beyond the environment's time limit, which 0 stands for.

    Raises:
      UserError: there is neither.
    """
    limit = traits.time_limit(task)
    if limit is None:
        if horizon:
            return horizon
        raise UserError(f"{task.env_id} has no time limit: say with --horizon how many steps a rollout may take.")
    return min(horizon, limit) if horizon else limit


def make_partitions(task: Task, num_envs: int, num_workers: int, timeout: float = 0.0) -> EnvPartitions:
    """`num_envs` environments of the task in `num_workers` parts.

    With one worker this process steps them. With several, a thread steps each part of this project's environments
    (MuJoCo's C++ without Python), a process each part of others. A process that does not answer for `timeout` seconds
    is given up; 0: never.

    Raises:
      UserError: as for `tasks.make`.
    """
    workers = min(num_workers, num_envs)
    sizes = [len(range(k, num_envs, workers)) for k in range(workers)]
    if task.is_plain and task.env_id in ("wng_tf/Point-v0", "wng_tf/Quadruped-v0"):
        return EnvPartitions(
            tuple(gymnasium.make_vec(task.env_id, num_envs=size, autoreset_mode="Disabled") for size in sizes)
        )
    options: dict[str, Any] = {"own_process": workers > 1, "timeout": timeout, "heads": [head for _, head in HEADS.own()]}
    return EnvPartitions(tuple(FrozenVectorEnv(task, size, **options) for size in sizes))
