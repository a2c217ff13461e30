"""The Wasserstein metric of behavioural embeddings, estimated with kernels (Algorithm 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from baselines_compat.distributions import Pd
from wng_tf.embeddings import embed_actions
from wng_tf.errors import UserError
from wng_tf.natural_gradient import (
    DenseRows,
    KernelBasis,
    NaturalGradient,
    natural_gradient,
    pullback,
    reparameterised_jacobian,
    score_jacobian,
    similarity,
)
from wng_tf.policy_gradient.metrics.base import Metric, Operator, Point
from wng_tf.policy_gradient.setup import Setup


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


class WassersteinKernel(Metric):
    """The estimate Ĝ = Jᵀ L† J (Algorithm 3) on the behavioural embeddings of a (mini)batch: M reverse passes."""

    distance = "wasserstein"
    direct = True
    records = True
    uses_basis = True

    def __init__(self, setup: Setup):
        super().__init__(setup)
        config, embedding = setup.config, setup.embedding
        self.embedding = embedding
        action = embedding.kind == "action"
        possible = action and self.head.reparameterised
        if config.jacobian == "reparameterised" and not possible:
            why = "the action space is discrete" if action else "it passes through the environment"
            raise UserError(f"--embedding={embedding.name} cannot be reparameterised, because {why}: use --jacobian=score.")
        self.score = config.jacobian == "score" or (config.jacobian == "auto" and not possible)
        if self.score and embedding.uses_value:
            raise UserError(
                f"--embedding={embedding.name} contains the value, which has no score: use --embedding=actions, "
                "or continuous actions with --jacobian=reparameterised."
            )
        self.draws_actions = action
        self.needs_trajectories = not action
        self.covers_value = embedding.uses_value

    def record(self, pd: Pd, values: tf.Tensor, log_probs: tf.Tensor, data: Mapping[str, tf.Tensor]) -> Any:
        if self.needs_trajectories:
            return data["embeddings"], log_probs
        drawn = self.head.drawn(pd, data["noise"])
        embeddings = embed_actions(self.embedding, drawn, values)
        return embeddings, self.head.log_prob_of_drawn(pd, drawn) if self.score else None

    def operator(self, point: Point, state: Any) -> tuple[Operator, Any]:
        return KernelOperator(*self.jacobian_and_similarity(point)), state

    def jacobian_and_similarity(self, point: Point) -> tuple[tf.Tensor, tf.Tensor]:
        """J [M, P] and L [M, M], float64, on the point's embeddings."""
        embeddings, log_probs = point.recorded
        tape, weights = point.tape, point.weights
        observations = point.data["observations"] if self.embedding.beside_state else None
        coordinates = tf.cast(point.basis_coordinates * embeddings.shape[1], tf.int32)
        basis, points, slopes = basis_and_slopes(
            embeddings, observations, point.basis_samples, coordinates, self.config.log_bandwidth
        )
        if self.score:
            values = basis(points)
            if self.needs_trajectories:
                # Means over samples stand for means over trajectories; a trajectory's score is the sum over its steps.
                shares = point.data["weights"] / tf.reduce_mean(point.data["weights"])
                slopes = slopes * tf.sqrt(shares)[:, tf.newaxis]
                centred = values - tf.reduce_mean(values * shares, axis=1, keepdims=True)
                steps_per_sample = point.data["mean_length"][0] / values.shape[1]
                jacobian = pullback(tape, log_probs, centred * steps_per_sample, weights)
            else:
                jacobian = score_jacobian(tape, log_probs, values, weights)
        else:
            jacobian = reparameterised_jacobian(tape, embeddings, slopes, weights)
        return jacobian, similarity(slopes)


class KernelOperator(Operator):
    """Jᵀ L† J from J [M, P] and L [M, M]."""

    rows: DenseRows
    damps_diagonally = True

    def __init__(self, jacobian: tf.Tensor, similarity: tf.Tensor):
        self.rows = DenseRows(jacobian)
        self.similarity = similarity

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        rows = whiten(self.rows.matrix, self.similarity)
        return lambda vector: tf.linalg.matvec(rows, tf.linalg.matvec(rows, vector), transpose_a=True)

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        return natural_gradient(gradient, self.rows.matrix, self.similarity, epsilon, diagonal)


def whiten(jacobian: tf.Tensor, similarity: tf.Tensor, jitter: float = 1e-6) -> tf.Tensor:
    """T [M, P] with TᵀT = Jᵀ (L + δ I)⁻¹ J, for J [M, P] and L [M, M]; δ is `jitter` times L's mean diagonal entry.

    L is nearly singular where basis points lie close together; δ decides, in float64, which directions still count.
    """
    similarity = tf.cast(similarity, tf.float64)
    size = similarity.shape[0]
    level = jitter * tf.linalg.trace(similarity) / size
    factor = tf.linalg.cholesky(similarity + level * tf.eye(size, dtype=tf.float64))
    return tf.cast(tf.linalg.triangular_solve(factor, tf.cast(jacobian, tf.float64)), jacobian.dtype)
