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
    Whitening,
    dense_gradient,
    natural_gradient,
    pullback,
    whitened_natural_gradient,
    whitening,
)
from wng_tf.policy_gradient.metrics.base import Metric, Operator, Point
from wng_tf.policy_gradient.setup import Setup


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
    takes_layers = True

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
        if point.layered is None:
            return KernelOperator(*self.jacobian_and_similarity(point)), state
        recorded, rows, similarities = self._cotangents(point)
        network, run, derivatives = point.layered
        sources = [*run.sources, run.values] if self.covers_value else run.sources
        pulled = tf.vectorized_map(lambda row: dense_gradient(point.tape, recorded, sources, row), rows)
        # J is linear in these, so that L's whitening can multiply them in J's place, which is many times as long.
        found = whitening(similarities, recorded.dtype)
        pulled = [_combined(found.matrix, cotangents) for cotangents in pulled]
        # The loss's own derivatives go back through the layers with those of the basis functions.
        stacks = [tf.concat([own[tf.newaxis], rows], axis=0) for own, rows in zip(derivatives, pulled, strict=False)]
        rows = network.policy_rows(run, stacks[: len(run.sources)])
        if self.covers_value:
            rows = tf.concat([rows, network.value_rows(run, stacks[-1])], axis=1)
        return WhitenedOperator(rows[1:], found, rows[0]), state

    def jacobian_and_similarity(self, point: Point) -> tuple[tf.Tensor, tf.Tensor]:
        """J [M, P] and L [M, M], float64, on the point's embeddings, by reverse passes over the tape."""
        recorded, cotangents, similarities = self._cotangents(point)
        name = "embeddings" if recorded is point.recorded[0] else "log_probs"
        return pullback(point.tape, recorded, cotangents, point.weights, name=name), similarities

    def _cotangents(self, point: Point) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What J differentiates, of what was recorded; its cotangents [M, ...] that give J; and L [M, M], float64."""
        embeddings, log_probs = point.recorded
        size, data = embeddings.shape[1], point.data
        points = tf.stop_gradient(embeddings)
        if self.embedding.beside_state:
            points = beside(points, data["observations"])
        coordinates = tf.cast(point.basis_coordinates * size, tf.int32)
        # Means over samples stand for means over trajectories.
        shares = data["weights"] / tf.reduce_mean(data["weights"]) if self.needs_trajectories else None
        basis, slopes, similarities = KernelBasis.with_products(
            points, point.basis_samples, coordinates, self.config.log_bandwidth, dimension=size, shares=shares
        )
        if not self.score:
            return embeddings, slopes / slopes.shape[1], similarities
        values = basis(points)
        centred = values - tf.reduce_mean(values if shares is None else values * shares, axis=1, keepdims=True)
        # A trajectory's score is the sum over its steps.
        steps = data["mean_length"][0] if self.needs_trajectories else 1.0
        return log_probs, centred * (steps / values.shape[1]), similarities


class KernelOperator(Operator):
    """Jᵀ L† J from J [M, P] and L [M, M]."""

    rows: DenseRows
    damps_diagonally = True

    def __init__(self, jacobian: tf.Tensor, similarity: tf.Tensor):
        self.rows = DenseRows(jacobian)
        self.similarity = similarity

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return _products(whiten(self.rows.matrix, self.similarity))

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        return natural_gradient(gradient, self.rows.matrix, self.similarity, epsilon, diagonal, diagnose=self.diagnose)


class WhitenedOperator(Operator):
    """The same as TᵀT, from the rows T = W J [M, P], with the gradient [P] that came with them."""

    rows: DenseRows
    damps_diagonally = True

    def __init__(self, rows: tf.Tensor, found: Whitening, gradient: tf.Tensor):
        self.rows = DenseRows(rows)
        self.gradient = gradient
        self._found = found

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return _products(self.rows.matrix)

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        return whitened_natural_gradient(gradient, self.rows.matrix, self._found, epsilon, diagonal, diagnose=self.diagnose)


def _products(rows: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """v [P] → TᵀT v, for T [M, P]."""
    return lambda vector: tf.linalg.matvec(rows, tf.linalg.matvec(rows, vector), transpose_a=True)


def _combined(matrix: tf.Tensor, cotangents: tf.Tensor) -> tf.Tensor:
    """The matrix [M, M], float64, times cotangents [M, ...]."""
    rows = DenseRows(tf.reshape(cotangents, [cotangents.shape[0], -1]))
    return tf.reshape(rows.combined(tf.cast(matrix, cotangents.dtype)).matrix, cotangents.shape)


def whiten(jacobian: tf.Tensor, similarity: tf.Tensor, jitter: float = 1e-6) -> tf.Tensor:
    """T [M, P] with TᵀT = Jᵀ (L + δ I)⁻¹ J, for J [M, P] and L [M, M]; δ is `jitter` times L's mean diagonal entry.

    L is nearly singular where basis points lie close together; δ decides, in float64, which directions still count.
    """
    similarity = tf.cast(similarity, tf.float64)
    size = similarity.shape[0]
    level = jitter * tf.linalg.trace(similarity) / size
    factor = tf.linalg.cholesky(similarity + level * tf.eye(size, dtype=tf.float64))
    return tf.cast(tf.linalg.triangular_solve(factor, tf.cast(jacobian, tf.float64)), jacobian.dtype)
