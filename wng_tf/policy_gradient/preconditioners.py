"""What turns the gradient of a minibatch into a direction: nothing, Fisher, or the Wasserstein metric, estimated or exact.

A preconditioner first `record`s on the tape what it will differentiate, then is called with the tape. Directions have the
scale of g, so that one clipping of the norm suits both networks: ε g_W or, with diagonal damping, whose D has a unit of its
own, g_W at the length of g. The value network's part of g is left as it is unless the embedding depends on the value.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from baselines_compat.distributions import Pd
from baselines_compat.policies import PolicyWithValue
from wng_tf.embeddings import Embedding
from wng_tf.errors import UserError
from wng_tf.natural_gradient import (
    KernelBasis,
    NaturalGradient,
    conjugate_gradient,
    fisher_natural_gradient,
    natural_gradient,
    pullback,
    reparameterised_jacobian,
    score_jacobian,
    similarity,
)
from wng_tf.policy_gradient import geometry
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.metric import policy_metric
from wng_tf.policy_gradient.scores import layer_scores


class Minibatch(NamedTuple):
    """Tensors [n, ...] by name, and the draws of the basis: positions [M] and uniform coordinates [M] in [0, 1)."""

    data: Mapping[str, tf.Tensor]
    basis_samples: tf.Tensor
    basis_coordinates: tf.Tensor


def drawn_actions(pd: Pd, noise: tf.Tensor) -> tf.Tensor:
    """K actions per state [n, K, act] from noise of that shape: reparameterised, or one-hot for discrete actions."""
    if hasattr(pd, "reparameterise"):
        return pd.mean[:, tf.newaxis] + pd.std[:, tf.newaxis] * noise
    chosen = tf.argmax(pd.logits[:, tf.newaxis] + noise, axis=-1)
    return tf.one_hot(chosen, noise.shape[-1])


def log_prob_of_drawn(pd: Pd, drawn: tf.Tensor) -> tf.Tensor:
    """Σ_k log π(a_k | s) [n] of the actions of `drawn_actions`, which count as constants."""
    drawn = tf.stop_gradient(drawn)
    if hasattr(pd, "reparameterise"):
        mean, std = pd.mean[:, tf.newaxis], pd.std[:, tf.newaxis]
        per_action = -0.5 * tf.square((drawn - mean) / std) - tf.math.log(std)
        return tf.reduce_sum(per_action, axis=[1, 2])
    log_probs = tf.nn.log_softmax(pd.logits)[:, tf.newaxis]
    return tf.reduce_sum(drawn * log_probs, axis=[1, 2])


def basis_and_slopes(
    embeddings: tf.Tensor,
    observations: tf.Tensor | None,
    samples: tf.Tensor,
    coordinates: tf.Tensor,
    log_bandwidth: float,
) -> tuple[KernelBasis, tf.Tensor, tf.Tensor]:
    """The basis, the points [n, ...] where it is taken, and its slopes [M, n, d] along the embeddings [n, d].

    `samples` and `coordinates` [M] choose it, as in `KernelBasis.from_indices`. With `observations` the basis tells states
    apart; nothing can move those, so their slopes are left out.
    """
    points = tf.stop_gradient(embeddings)
    if observations is not None:
        points = beside(points, observations)
    basis = KernelBasis.from_indices(points, samples, coordinates, log_bandwidth)
    return basis, points, basis.gradients(points)[..., : embeddings.shape[1]]


def beside(embeddings: tf.Tensor, observations: tf.Tensor) -> tf.Tensor:
    """Points [n, d + obs]: embeddings [n, d] and observations [n, obs], these scaled to the same total variance."""

    def variance(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.math.reduce_variance(x, axis=0))

    spread = tf.sqrt(tf.math.divide_no_nan(variance(embeddings), variance(observations)))
    return tf.concat([embeddings, spread * observations], axis=1)


class Preconditioner(abc.ABC):
    """Direction and evidence from a gradient."""

    draws_actions = False
    needs_trajectories = False
    covers_value = False

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue):
        self.config = config
        self.policy = policy
        self.diagonal = config.diagonal_damping

    @abc.abstractmethod
    def record(self, pd: Pd, values: tf.Tensor, log_probs: tf.Tensor, data: Mapping[str, tf.Tensor]) -> Any:
        """Compute, under the tape, what will be differentiated."""

    @abc.abstractmethod
    def solve(
        self,
        tape: tf.GradientTape,
        outputs: Any,
        weights: list[tf.Tensor],
        gradient: tf.Tensor,
        minibatch: Minibatch,
        epsilon: tf.Tensor,
    ) -> NaturalGradient:
        """The natural gradient for the covered part of θ."""

    def __call__(
        self,
        tape: tf.GradientTape,
        outputs: Any,
        weights: list[tf.Tensor],
        gradient: tf.Tensor,
        minibatch: Minibatch,
        epsilon: tf.Tensor,
    ) -> tuple[tf.Tensor, NaturalGradient]:
        """The natural gradient at the scale of g for the covered part of θ and g for the rest [P], and the evidence."""
        if self.covers_value:
            result = self.solve(tape, outputs, weights, gradient, minibatch, epsilon)
            return _rescaled(result, gradient, epsilon, self.diagonal), result
        size = self.policy.policy_size
        covered = weights[: self.policy.num_policy_weights]
        result = self.solve(tape, outputs, covered, gradient[:size], minibatch, epsilon)
        covered_direction = _rescaled(result, gradient[:size], epsilon, self.diagonal)
        return tf.concat([covered_direction, gradient[size:]], axis=0), result


def _rescaled(result: NaturalGradient, gradient: tf.Tensor, epsilon: tf.Tensor, diagonal: bool) -> tf.Tensor:
    direction = tf.where(result.guarded, result.direction, epsilon * result.direction)
    if diagonal:
        direction *= tf.math.divide_no_nan(tf.norm(gradient), tf.norm(direction))
    return direction


class Identity(Preconditioner):
    def record(self, pd, values, log_probs, data):
        return None

    def solve(self, tape, outputs, weights, gradient, minibatch, epsilon):
        raise NotImplementedError("the identity has nothing to solve")


class Fisher(Preconditioner):
    """The empirical Fisher matrix of the minibatch's own actions."""

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue):
        super().__init__(config, policy)
        self.spec = policy.actor_spec()

    def record(self, pd, values, log_probs, data):
        return None

    def solve(self, tape, outputs, weights, gradient, minibatch, epsilon):
        data = minibatch.data
        scores = layer_scores(self.policy, self.spec, weights, data["observations"], data["actions"])
        return fisher_natural_gradient(gradient, scores, epsilon, self.diagonal)


class Wasserstein(Preconditioner):
    """The kernel estimator (Algorithm 3) on the minibatch's behavioural embeddings."""

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue, embedding: Embedding):
        super().__init__(config, policy)
        self.embedding = embedding
        action = embedding.kind == "action"
        possible = action and not policy.discrete
        if config.jacobian == "reparameterised" and not possible:
            why = "the action space is discrete" if action else "it passes through the environment"
            raise UserError(
                f"--embedding={embedding.name} cannot be reparameterised, because {why}: use --jacobian=score."
            )
        self.score = config.jacobian == "score" or (config.jacobian == "auto" and not possible)
        if self.score and embedding.uses_value:
            raise UserError(
                f"--embedding={embedding.name} contains the value, which has no score: use --embedding=actions, "
                "or continuous actions with --jacobian=reparameterised."
            )
        self.draws_actions = action
        self.needs_trajectories = not action
        self.covers_value = embedding.uses_value

    def record(self, pd, values, log_probs, data):
        if self.needs_trajectories:
            return data["embeddings"], log_probs
        drawn = drawn_actions(pd, data["noise"])
        embeddings = self.embedding.function(drawn, values)
        return embeddings, log_prob_of_drawn(pd, drawn) if self.score else None

    def solve(self, tape, outputs, weights, gradient, minibatch, epsilon):
        estimate = self.jacobian_and_similarity(tape, outputs, weights, minibatch)
        return natural_gradient(gradient, *estimate, epsilon, self.diagonal)

    def jacobian_and_similarity(
        self, tape: tf.GradientTape, outputs: Any, weights: list[tf.Tensor], minibatch: Minibatch
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """J [M, P] and L [M, M], float64, on the minibatch's embeddings."""
        embeddings, log_probs = outputs
        observations = minibatch.data["observations"] if self.embedding.beside_state else None
        coordinates = tf.cast(minibatch.basis_coordinates * embeddings.shape[1], tf.int32)
        basis, points, slopes = basis_and_slopes(
            embeddings, observations, minibatch.basis_samples, coordinates, self.config.log_bandwidth
        )
        if self.score:
            values = basis(points)
            if self.needs_trajectories:
                # Means over samples stand for means over trajectories; a trajectory's score is the sum over its steps.
                shares = minibatch.data["weights"] / tf.reduce_mean(minibatch.data["weights"])
                slopes = slopes * tf.sqrt(shares)[:, tf.newaxis]
                centred = values - tf.reduce_mean(values * shares, axis=1, keepdims=True)
                steps_per_sample = minibatch.data["mean_length"][0] / values.shape[1]
                jacobian = pullback(tape, log_probs, centred * steps_per_sample, weights)
            else:
                jacobian = score_jacobian(tape, log_probs, values, weights)
        else:
            jacobian = reparameterised_jacobian(tape, embeddings, slopes, weights)
        return jacobian, similarity(slopes)


class WassersteinExact(Preconditioner):
    """The exact Wasserstein metric of the minibatch's action distributions, by conjugate gradients; no diagonal damping."""

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue, embedding: Embedding):
        super().__init__(config, policy)
        require_actions(embedding)
        self.diagonal = False
        self.geometry = geometry.find("wasserstein", policy.discrete)

    def record(self, pd, values, log_probs, data):
        return None

    def solve(self, tape, outputs, weights, gradient, minibatch, epsilon):
        product = policy_metric(self.policy, weights, minibatch.data["observations"], self.geometry)
        return conjugate_gradient(gradient, product, epsilon, self.config.cg_iters)


def require_actions(embedding: Embedding) -> None:
    """The exact metric is that of the actions: raises a UserError for another embedding."""
    if embedding.name != "actions":
        raise UserError(
            f"The exact Wasserstein metric is that of the actions, not of --embedding={embedding.name}: "
            "use --preconditioner=wasserstein for other embeddings."
        )


def make(config: PolicyGradientConfig, policy: PolicyWithValue, embedding: Embedding) -> Preconditioner:
    """The preconditioner that the settings name."""
    if config.preconditioner == "identity":
        return Identity(config, policy)
    if config.preconditioner == "fisher":
        return Fisher(config, policy)
    if config.preconditioner == "wasserstein":
        return Wasserstein(config, policy, embedding)
    return WassersteinExact(config, policy, embedding)
