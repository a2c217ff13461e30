"""Behavioural embeddings of whole populations: the registry of `wng_tf.embeddings`, applied to N rollouts at once.

Any trajectory embedding will do, since J comes from the score of the perturbations (Eq. 14). The paper uses
`final_state` on Point and `reward_to_go` at every step on Quadruped (D.2). Those two and `mean_state` are computed
from sums that every generation keeps anyway; for others each observation and action is recorded, and the registered
function called per rollout.

Observations are taken as the environment gives them, not normalized: the normalizer changes from one generation to
the next, and embeddings of earlier policies must stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wng_tf import embeddings
from wng_tf.errors import UserError


@dataclass(frozen=True)
class Trajectories:
    """N rollouts of at most H steps. What would come after an episode's end is zero.

    Attributes:
      rewards: [N, H].
      lengths: [N], steps until the episode ended.
      final_observations: [N, observations], after the last step.
      observation_sums: [N, observations], over the observations that were acted on.
      observations: [N, H, observations], those that were acted on; None unless recorded.
      actions: [N, H, actions] (one-hot if discrete); None unless recorded.
    """

    rewards: NDArray[np.float64]
    lengths: NDArray[np.int64]
    final_observations: NDArray[np.float64]
    observation_sums: NDArray[np.float64]
    observations: NDArray[np.float32] | None = None
    actions: NDArray[np.float32] | None = None


def _final_state(trajectories: Trajectories) -> NDArray[np.float64]:
    """Φ(τ) = s_H, the last observation."""
    return trajectories.final_observations


def _mean_state(trajectories: Trajectories) -> NDArray[np.float64]:
    return trajectories.observation_sums / trajectories.lengths[:, np.newaxis]


def _reward_to_go(trajectories: Trajectories) -> NDArray[np.float64]:
    """Φ(τ)_i = Σ_{t ≥ i} r_t, for every step i (D.2)."""
    return np.cumsum(trajectories.rewards[:, ::-1], axis=1)[:, ::-1]


_FROM_SUMS: dict[str, Callable[[Trajectories], NDArray[np.float64]]] = {
    "final_state": _final_state,
    "mean_state": _mean_state,
}


class PopulationEmbedding:
    """The map from `Trajectories` to embeddings [N, d]."""

    def __init__(self, name: str, horizon: int, length: int = 0):
        """Looks the embedding up.

        Args:
          name: a registered trajectory embedding, or `package.module:function`.
          horizon: H.
          length: points in time of an embedding that has several; 0: every step.

        Raises:
          UserError: no such embedding, or one that needs a differentiable policy.
        """
        found = embeddings.find(name)
        if found.kind != "trajectory":
            raise UserError(
                f"The embedding '{name}' is made of the actions of single states, which evolution strategies do not "
                f"keep: choose one of {', '.join(embeddings.trajectory_embeddings())}."
            )
        self._name = name
        self._embedding = found
        self._length = length or horizon
        self._from_sums = _FROM_SUMS.get(name)
        if name == "reward_to_go" and self._length == horizon:
            self._from_sums = _reward_to_go

    @property
    def needs_steps(self) -> bool:
        """Whether every observation and action must be recorded."""
        return self._from_sums is None

    def __call__(self, trajectories: Trajectories) -> NDArray[np.float64]:
        """Embeddings [N, d] in float64.

        Raises:
          UserError: the function gave vectors of several lengths, or a number that is not finite.
        """
        if self._from_sums is not None:
            return self._from_sums(trajectories)
        rows = [self._one(trajectories, i, int(steps)) for i, steps in enumerate(trajectories.lengths)]
        if len({row.size for row in rows}) != 1 or not rows[0].size or not all(np.isfinite(row).all() for row in rows):
            raise UserError(f"Embedding '{self._name}' must give finite vectors of one length for every trajectory.")
        return np.stack(rows)

    def _one(self, trajectories: Trajectories, i: int, steps: int) -> NDArray[np.float64]:
        assert trajectories.observations is not None
        assert trajectories.actions is not None
        trajectory = embeddings.Trajectory(
            trajectories.observations[i, :steps],
            trajectories.actions[i, :steps],
            trajectories.rewards[i, :steps],
            trajectories.final_observations[i],
        )
        return embeddings.embed(self._embedding, trajectory, self._length, np.float64)
