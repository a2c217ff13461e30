"""One generation after another: sample, run, tell. State in, state out; the only effects are in the environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines_compat.flattening import image_columns
from baselines_compat.running_mean_std import Moments
from wng_tf.evolution import population, strategy
from wng_tf.evolution.config import EvolutionConfig
from wng_tf.evolution.embeddings import PopulationEmbedding
from wng_tf.evolution.episode_loop import Rollouts
from wng_tf.evolution.evaluation import Evaluations, Places, Plan
from wng_tf.evolution.population import Stream
from wng_tf.policies import heads, keras_layers, saved
from wng_tf.policies.keras_layers import IMAGES
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.normalizers import Normalizer
from wng_tf.policies.saved import SavedPolicy, Statistics
from wng_tf.policies.spec import PolicySpec
from wng_tf.training.checkpoint import MisfitError, check_fits

#: Said once of a network that is no chain of layers.
THROUGH_THE_MODEL = (
    "The network is no chain of layers: members of the population go through the compiled Keras model one after another, a "
    "step, where those of mlp and toeplitz act in one product."
)


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
      steps: environment steps so far, those of evaluations included.
      state: the strategy's.
      policy: the unperturbed policy of the last generation, which is the one that was evaluated; None before the
        first.
      policy_return: its mean return; NaN before the first generation.
    """

    steps: int
    state: strategy.State
    policy: SavedPolicy | None = None
    policy_return: float = float("nan")

    def tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "steps": self.steps,
            "strategy": strategy.to_tree(self.state),
            "policy": None if self.policy is None else saved.to_tree(self.policy),
            "policy_return": self.policy_return,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Progress:
        """The inverse of `tree`."""
        policy = None if tree["policy"] is None else saved.from_tree(tree["policy"])
        return cls(tree["steps"], strategy.from_tree(tree["strategy"]), policy, tree["policy_return"])


@dataclass(frozen=True)
class Report:
    """What happened in a generation.

    Attributes:
      returns, lengths: of every rollout, those of the unperturbed policy last.
      rollouts: all that is known of them; None where they were made on other machines.
      diagnostics: numbers to log.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    rollouts: Rollouts | None
    diagnostics: dict[str, float]

    @property
    def evidence(self) -> dict[str, float]:
        """`diagnostics` under its earlier name, which callbacks of other programs may read."""
        return self.diagnostics


class Trainer:
    """Advances a run by one generation at a time; `advance` depends on its argument and the settings alone."""

    def __init__(
        self,
        places: Places,
        network: str,
        config: EvolutionConfig,
        *,
        horizon: int,
        seed: int,
        schedule: Callable[[int], float],
    ):
        """Prepares the compiled loop.

        Args:
          places: from `env_partitions.make_partitions`, or `remote_population.RemotePopulation`.
          network: one of `parts.NETWORKS`, or `package.module:function`.
          config: settings.
          horizon: steps of a rollout at most.
          seed: of the run.
          schedule: from steps so far to the learning rate.

        Raises:
          UserError: an unknown embedding.
        """
        self.config, self.seed, self._schedule = config, seed, schedule
        self._observation_space = places.observation_space
        self._action_space = places.action_space
        head = heads.deterministic(places.action_space, config.action_noise)
        network_of_run = keras_layers.build(network, places.observation_space, config.hidden, head.num_outputs)
        self.spec = PolicySpec(network_of_run, head)
        self._pixels = image_columns(places.observation_space)
        embedding = PopulationEmbedding(config.embedding, horizon, config.embedding_length)
        self._evaluate = places.evaluator(Plan(self.spec, embedding, config, horizon, seed))

    @property
    def remarks(self) -> list[str]:
        """What users should know of the network, a sentence each."""
        keras = isinstance(self.spec.network, KerasNetwork)
        return [IMAGES] * (bool(self._pixels) and not keras) + [THROUGH_THE_MODEL] * keras

    def start(self) -> Progress:
        """Before the first generation."""
        rng = population.generator(self.seed, 0, Stream.PARAMETERS)
        theta = self.spec.network.initial(rng, positive=self.config.initial_weights == "positive")
        return Progress(0, strategy.initial(theta, self.config, self.spec.observations))

    def restored(self, tree: dict[str, Any]) -> Progress:
        """The progress in a checkpoint.

        Raises:
          MisfitError: it is another strategy's or another policy's.
          UserError: it is of an older version.
        """
        like = self.start().tree()
        del like["strategy"]["past"]
        check_fits(tree, {**like, "policy": {}, "policy_return": 0.0}, "learner")
        past = tree["strategy"].get("past")  # as long as the run is, and its embedding
        if not isinstance(past, np.ndarray) or past.ndim != 2 or past.dtype.kind != "f":
            raise MisfitError("learner/strategy/past holds no embeddings")
        try:
            return Progress.from_tree(tree)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MisfitError(f"learner/policy: {error}") from error

    def policy(self, state: strategy.State) -> SavedPolicy:
        """The unperturbed policy of a state."""
        normalizer = Normalizer.of(state.moments, self._pixels) if self.config.normalize_observations else None
        return SavedPolicy(
            self.spec,
            state.theta,
            normalizer,
            self._observation_space,
            self._action_space,
            statistics=Statistics(state.moments),
        )

    def advance(self, progress: Progress) -> tuple[Progress, Report]:
        """One generation.

        Raises:
          NonFiniteError: an observation, reward, action or gradient became NaN or infinite.
          UserError: the embedding gave something unusable.
        """
        config, state = self.config, progress.state
        policy = self.policy(state)
        outcome = self._evaluate(state.generation, policy.theta, policy.normalizer)
        all_of_them = outcome.evaluations
        members = 2 * config.population
        returns, embeddings, lengths = all_of_them.returns, all_of_them.embeddings, all_of_them.lengths
        results = strategy.Results(returns[:members], embeddings[:members], embeddings[members:])
        lr = self._schedule(progress.steps)
        after, diagnostics = strategy.tell(state, outcome.xi, results, config, seed=self.seed, lr=lr)
        if config.normalize_observations:
            after = after._replace(moments=state.moments.merge(moments_of(all_of_them)))
        own_return = float(returns[members:].mean())
        diagnostics = {"eprewmean": own_return, "eplenmean": float(lengths[members:].mean()), **diagnostics, "misc/lr": lr}
        report = Report(returns, lengths, outcome.rollouts, diagnostics)
        return Progress(progress.steps + int(lengths.sum()), after, policy, own_return), report


def moments_of(evaluations: Evaluations) -> Moments:
    """Of all observations that were acted on, summed in the order of the rollouts."""
    count = float(evaluations.lengths.sum())
    mean = evaluations.observation_sums.sum(axis=0) / count
    squares = evaluations.observation_squares.sum(axis=0)
    return Moments(count, mean, np.maximum(squares - count * np.square(mean), 0.0))
