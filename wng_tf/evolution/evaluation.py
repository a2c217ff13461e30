"""What a generation's rollouts come to: by this process, or a part of them by one that knows the run's plan alone.

Perturbations, start states and noise are drawn from (seed, generation) where they are used, so that θ and the
normalizer's vectors are all that has to be told, and a member's row of the results all that has to be told back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wng_tf.evolution import population, strategy
from wng_tf.evolution.config import EvolutionConfig
from wng_tf.evolution.embeddings import PopulationEmbedding
from wng_tf.evolution.episode_loop import Rollouts
from wng_tf.evolution.generation import Generation
from wng_tf.policies.normalizers import ObservationNormalizer
from wng_tf.policies.spec import PolicySpec

if TYPE_CHECKING:
    from wng_tf.evolution.env_partitions import EnvPartitions


@dataclass(frozen=True)
class Plan:
    """All of a run that its rollouts depend on, but for what changes from one generation to the next.

    Attributes:
      spec: the policy's shape.
      embedding: from trajectories to embeddings.
      config: settings.
      horizon: steps of a rollout at most.
      seed: of the run.
    """

    spec: PolicySpec
    embedding: PopulationEmbedding
    config: EvolutionConfig
    horizon: int
    seed: int

    @property
    def members(self) -> int:
        """Rollouts of a generation: 2n perturbed policies, then the evaluations."""
        return 2 * self.config.population + self.config.evaluation_episodes

    def xi(self, number: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The perturbations ξ [n, P] of generation `number`, or those rows of them."""
        shape = (self.config.population, self.spec.num_parameters)
        return population.perturbations(self.seed, number, shape, unit_norm=self.config.perturbation == "unit", rows=rows)

    def parameters(self, number: int, theta: NDArray[np.float64], members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Those of some members, in ascending order [k, P]: what `mirrored` and θ itself have in their rows."""
        pairs, sigma = self.config.population, strategy.spread(self.config, self.spec.num_parameters)
        perturbed = members[members < 2 * pairs]
        rows, where = np.unique(perturbed % pairs, return_inverse=True)
        steps = sigma * self.xi(number, rows)
        parameters = np.empty((len(members), len(theta)))
        parameters[:] = theta
        for row, member in enumerate(perturbed):
            parameters[row] += steps[where[row]] if member < pairs else -steps[where[row]]
        return parameters

    def noise(self, number: int, members: NDArray[np.int64] | None = None) -> NDArray[np.float32] | None:
        """Noise on the actions, of all or of some members; None where there is none."""
        config = self.config
        size: int = self.spec.head.num_noise  # type: ignore[attr-defined]  # it is a `DeterministicHead`
        if not config.action_noise or not size:
            return None
        counts = (self.horizon, config.population, config.evaluation_episodes)
        return population.action_noise(self.seed, number, *counts, size, members)

    def starts(self, number: int) -> list[int]:
        """The environment seeds of all members."""
        config = self.config
        return population.start_seeds(self.seed, number, config.population, config.evaluation_episodes, config.start_states)


@dataclass(frozen=True)
class Evaluations:
    """What the rollouts of N members came to.

    Attributes:
      returns: [N], undiscounted.
      lengths: [N], steps.
      embeddings: [N, d].
      observation_sums, observation_squares: [N, observations], over the observations that were acted on; zero where the
        policy has no normalizer.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    embeddings: NDArray[np.float64]
    observation_sums: NDArray[np.float64]
    observation_squares: NDArray[np.float64]

    @classmethod
    def of(cls, rollouts: Rollouts, embeddings: NDArray[np.float64]) -> Evaluations:
        """Those of rollouts, with their embeddings."""
        trajectories = rollouts.trajectories
        sums = trajectories.observation_sums
        return cls(rollouts.returns, trajectories.lengths, embeddings, sums, rollouts.observation_squares)

    @classmethod
    def joined(cls, parts: Sequence[Evaluations], order: NDArray[np.int64]) -> Evaluations:
        """All parts one after another, then put into `order`: the i-th is the order[i]-th of them."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(cls))
        return cls(*(np.concatenate(column)[order] for column in columns))


@dataclass(frozen=True)
class Outcome:
    """A generation: perturbations ξ [n, P], what all members came to, and their rollouts where those are here."""

    xi: NDArray[np.float64]
    evaluations: Evaluations
    rollouts: Rollouts | None = None


#: From the number of a generation, θ [P] and the normalizer to what comes of it.
Evaluate = Callable[[int, NDArray[np.float64], ObservationNormalizer | None], Outcome]


class Places(Protocol):
    """Where rollouts are made."""

    @property
    def observation_space(self) -> spaces.Box:
        """Of one environment."""

    @property
    def action_space(self) -> spaces.Space:
        """Of one environment."""

    def evaluator(self, plan: Plan) -> Evaluate:
        """What evaluates the generations of a run."""

    def remarks(self) -> list[str]:
        """What users should know of what happened since this was last asked, a sentence each."""


class Evaluator:
    """Evaluates in environments of this process.

    Args:
      plan: of the run.
      partitions: from `env_partitions.make_partitions`.

    Raises:
      NonFiniteError: from its calls: an observation, reward or action was NaN or infinite.
      EnvironmentFailure, WorkerError: from its calls: the environments failed.
      UserError: from its calls: the embedding gave something unusable.
    """

    def __init__(self, plan: Plan, partitions: EnvPartitions):
        self.plan = plan
        self.generation = Generation(
            plan.spec,
            partitions,
            plan.horizon,
            every_step=plan.embedding.needs_steps,
            normalize=plan.config.normalize_observations,
        )

    def __call__(self, number: int, theta: NDArray[np.float64], normalizer: ObservationNormalizer | None) -> Outcome:
        """All members of generation `number`."""
        plan, config = self.plan, self.plan.config
        xi = plan.xi(number)
        sigma = strategy.spread(config, plan.spec.num_parameters)
        own = np.tile(theta, (config.evaluation_episodes, 1))
        parameters = np.concatenate([population.mirrored(theta, xi, sigma), own])
        rollouts = self.generation(parameters, plan.starts(number), plan.noise(number), normalizer)
        return Outcome(xi, Evaluations.of(rollouts, plan.embedding(rollouts.trajectories)), rollouts)

    def evaluate(
        self,
        number: int,
        told: tuple[NDArray[np.float64], ObservationNormalizer | None],
        members: NDArray[np.int64],
    ) -> Evaluations:
        """Some members alone [k], in ascending order; the same numbers as in a whole generation.

        Args:
          told: θ [P] and the normalizer, which are the same for all parts of a generation.
        """
        plan = self.plan
        theta, normalizer = told
        starts = plan.starts(number)
        parameters = plan.parameters(number, theta, members)
        rollouts = self.generation(parameters, [starts[i] for i in members], plan.noise(number, members), normalizer)
        return Evaluations.of(rollouts, plan.embedding(rollouts.trajectories))
