"""Evaluations during training: the deterministic policy, in an environment and with random streams of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from gymnasium import spaces

from baselines_compat.vec_env import generators
from wng_tf.envs.guarded import Guarded
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.policies.episodes import play
from wng_tf.policies.saved import SavedPolicy
from wng_tf.training import streams


class EvaluationSettings(Protocol):
    """What is read of the settings of both families."""

    @property
    def eval_interval(self) -> int: ...

    @property
    def eval_episodes(self) -> int: ...

    @property
    def env_timeout(self) -> float: ...


class Evaluations:
    """Plays episodes with the policy of then, every so many steps, and says what came of it.

    Training does not notice: the normalizer is frozen, the start states have streams of their own, and generators that all
    modules share are put back. Every evaluation starts from the same states, in a fresh environment, so that one of a
    resumed run equals that of a run that was not interrupted; in an object, which cannot be made again, they go on.

    Args:
      task: where; None without evaluations.
      settings: of the run.
      seed: of the run.
      horizon: steps of an episode at most; 0: the environment's own time limit.
    """

    def __init__(self, task: Task | None, settings: EvaluationSettings, seed: int, horizon: int = 0):
        self._task = task
        self._interval = settings.eval_interval
        self._episodes = settings.eval_episodes
        self._timeout = settings.env_timeout
        self._seed = seed
        self._horizon = horizon
        self._kept: Guarded | None = None

    def due(self, before: int, now: int, total: int) -> bool:
        """Whether an update from so many steps to so many is followed by one: an interval is full, or the run ends."""
        if self._task is None or not self._interval:
            return False
        return now >= total or now // self._interval > before // self._interval

    def __call__(self, policy: SavedPolicy) -> dict[str, float]:
        """Mean return and length of the episodes, by columns of the log, and the return's deviation.

        Raises:
          UserError: the environment's spaces are not the policy's, or it has no time limit and an episode does not end.
          EnvironmentFailure, NonFiniteError: the environment failed.
        """
        with _unnoticed(), self._world() as world:
            _check(policy, world)
            found = play(
                policy,
                world,
                self._episodes,
                self._seed,
                deterministic=True,
                max_episode_steps=self._horizon,
                starts=streams.TRAINING_EVALUATION_START,
            )
        return {
            "eval/eprewmean": found.mean,
            "eval/eplenmean": found.mean_length,
            "eval/eprewsd": float("nan") if found.sd is None else found.sd,
        }

    @contextlib.contextmanager
    def _world(self) -> Iterator[Any]:
        assert self._task is not None  # `due` said so
        if self._task.held is None:
            with Guarded(self._task, self._timeout) as world:
                yield world
            return
        self._kept = self._kept or Guarded(self._task, self._timeout)
        yield self._kept


@contextlib.contextmanager
def _unnoticed() -> Iterator[None]:
    """Puts the generators that all modules share back to where they were."""
    before = [(place, generators.state(place.get())) for place in generators.SHARED]
    try:
        yield
    finally:
        for place, state in before:
            generators.put(place, state)


def _check(policy: SavedPolicy, world: Any) -> None:
    pairs = (
        ("observation", policy.observation_space, world.observation_space),
        ("action", policy.action_space, world.action_space),
    )
    for what, own, other in pairs:
        same = type(own) is type(other) and own.shape == other.shape
        if not same or (isinstance(own, spaces.Discrete) and own.n != other.n):
            raise UserError(
                f"The evaluations' environment has the {what} space {other}, and the policy is for {own}: give an eval_env "
                "with the spaces of the one that is trained in, wrappers included."
            )
