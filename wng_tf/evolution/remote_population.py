"""A population whose parts are evaluated by actors of a cluster, any of which may be lost at any time.

An actor knows the run's plan. For a generation it is told the generation's number, θ and the normalizer, and which members
are its part; it draws their perturbations, start states and noise itself, and tells back one row a member: return, length,
embedding, and sums of observations if there is a normalizer. A part depends on nothing else, so that another actor may do
it again, to the same bits.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.vec_env.faults import WorkerError, naming
from wng_tf.cluster.crew import Crew
from wng_tf.cluster.engine import START_SECONDS, Engine
from wng_tf.envs import tasks
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.evolution.env_partitions import EnvPartitions, make_partitions
from wng_tf.evolution.evaluation import Evaluate, Evaluations, Evaluator, Outcome, Plan
from wng_tf.parts import HEADS
from wng_tf.policies.normalizers import ObservationNormalizer


class RemotePopulation:
    """Where rollouts are made, see `evaluation.Places`: by `num_workers` actors.

    Args:
      engine: runs the actors.
      task: the task.
      num_envs: environments that step together, over all actors.
      num_workers: actors, and parts of a generation.
      env_timeout: seconds after which an environment that does not come back is given up; 0: never.
      patience: seconds to wait for an actor where there is none.

    Raises:
      UserError, EnvironmentFailure: as for `tasks.make`.
    """

    def __init__(
        self,
        engine: Engine,
        task: Task,
        num_envs: int,
        num_workers: int,
        env_timeout: float = 0.0,
        patience: float = START_SECONDS,
    ):
        self._engine, self._task, self._env_timeout, self._patience = engine, task, env_timeout, patience
        self._size = min(num_workers, num_envs)
        self._num_envs = -(-num_envs // self._size)  # of one actor, which may have to do the largest part
        self._crew: Crew | None = None
        try:
            world = tasks.make(task)
            with naming(task.name, "close"):
                world.close()
        except BaseException:
            engine.close()
            raise
        self.observation_space: spaces.Box = world.observation_space  # type: ignore[assignment]  # `tasks.make` says so
        self.action_space: spaces.Space = world.action_space

    def evaluator(self, plan: Plan) -> Evaluate:
        """Starts the actors; the first generation waits for them."""
        heads = HEADS.own()
        make = functools.partial(make_evaluator, plan, self._task, self._num_envs, self._env_timeout, heads)
        self._crew = crew = Crew(self._engine, make, self._size, self._patience)
        return functools.partial(self._evaluate, crew, plan)

    def _evaluate(
        self,
        crew: Crew,
        plan: Plan,
        number: int,
        theta: NDArray[np.float64],
        normalizer: ObservationNormalizer | None,
    ) -> Outcome:
        """As `Evaluator`, without the rollouts, which stay where they were made."""
        # Member i goes to part i mod parts, as in `Generation`.
        parts = [np.arange(k, plan.members, self._size) for k in range(min(self._size, plan.members))]
        told = self._engine.share((theta, normalizer))
        drawn: list[NDArray[np.float64]] = []
        found: list[Evaluations] = crew.map(
            "evaluate", [(number, told, part) for part in parts], meanwhile=lambda: drawn.append(plan.xi(number))
        )
        if len({part.embeddings.shape[1] for part in found}) != 1:
            raise UserError(
                f"Embedding '{plan.config.embedding}' must give finite vectors of one length for every trajectory."
            )
        return Outcome(drawn[0], Evaluations.joined(found, np.argsort(np.concatenate(parts))))

    def remarks(self) -> list[str]:
        """What was lost since this was last asked, a sentence each."""
        return [] if self._crew is None else self._crew.remarks()

    def close(self) -> None:
        """Ends the actors, and leaves the cluster. EnvironmentFailure, once it has, if closing an environment raised."""
        try:
            if self._crew is not None:
                self._crew.close()
        finally:
            self._engine.close()

    def __enter__(self) -> RemotePopulation:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: Any) -> None:
        # What ended the block counts, and not what closing after it meets.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(WorkerError):
            self.close()


class RemoteEvaluator(Evaluator):
    """An `Evaluator` in an actor, with environments of its own."""

    def __init__(self, plan: Plan, partitions: EnvPartitions):
        super().__init__(plan, partitions)
        self._partitions = partitions

    def ready(self) -> None:
        """It is: making it was what takes long."""

    def close(self) -> None:
        """Closes the environments."""
        self._partitions.close()


def make_evaluator(
    plan: Plan, task: Task, num_envs: int, env_timeout: float, own_heads: Sequence[tuple[str, Any]]
) -> RemoteEvaluator:
    """What an actor holds.

    Args:
      plan: of the run.
      task: its task.
      num_envs: environments of this actor.
      env_timeout: as for `make_partitions`.
      own_heads: action heads that the program has registered, by name.

    Raises:
      UserError: the environment cannot be made here.
    """
    _one_thread()
    for name, head in own_heads:
        if name not in HEADS:
            HEADS.register(name, head)
    partitions: EnvPartitions = make_partitions(task, num_envs, 1, env_timeout)
    return RemoteEvaluator(plan, partitions)


def _one_thread() -> None:
    """An actor has one processor. TensorFlow takes a number of threads before it starts only."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
