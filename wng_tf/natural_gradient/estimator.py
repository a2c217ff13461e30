"""The damped natural gradient from a low-rank metric (Algorithm 3, Eq. 12)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from wng_tf.natural_gradient.checks import require_finite
from wng_tf.natural_gradient.scalars import scalar

__all__ = ["NaturalGradient", "natural_gradient"]


class NaturalGradient(NamedTuple):
    """A natural gradient and the evidence for it; all but the direction are scalars."""

    direction: tf.Tensor
    """g_W [P], in the type of the gradient. Zero where `finite` is false."""
    slope: tf.Tensor
    """gᵀ direction: what a step of length λ along it gains to first order, divided by λ."""
    residual: tf.Tensor
    """|(Ĝ + ε D⁻¹) g_W - g| / |g|, of the solution before any guard; rounding alone makes it differ from zero."""
    effective_rank: tf.Tensor
    """How many directions of the metric were seen: the eigenvalues of L above the threshold."""
    cosine: tf.Tensor
    """Between g and g_W, before any guard."""
    condition_number: tf.Tensor
    """Of Ĝ + ε D⁻¹ relative to D⁻¹: by how much the slowest direction is slowed down against the fastest."""
    guarded: tf.Tensor
    """True where gᵀ g_W ≤ 0, so that the direction is g instead."""
    finite: tf.Tensor
    """False where an input, or the result, is NaN or infinite: the direction is zero then, a step not taken."""


def natural_gradient(
    gradient: tf.Tensor,
    jacobian: tf.Tensor,
    similarity: tf.Tensor,
    epsilon: float | tf.Tensor,
    diagonal: bool = False,
    *,
    relative_threshold: float | None = None,
) -> NaturalGradient:
    """Solves (Ĝ + ε D⁻¹) g_W = g with Ĝ = Jᵀ L† J and D = I, by Woodbury (Eq. 12).

    gradient g [P], jacobian J [M, P], similarity L [M, M], epsilon ε > 0 in the metric's unit. With `diagonal`,
    D_jj = 1 / sqrt(Ĝ_jj), the diagonal preconditioner of Arbel et al. (2020); parameters that the embeddings do not
    depend on are damped as an average one.

    Only systems of size M are solved, in float64, by symmetric eigendecomposition; products with J are in its own
    type. Eigenvalues of L below `relative_threshold` times the largest count as zero; by default 1e-6 in float32 and
    1e-12 in float64.

    NaN or infinity, in the inputs or the result: ValueError when called eagerly; inside `tf.function` the result's
    `finite` is false. An epsilon that is not positive is treated the same.
    """
    gradient, jacobian = tf.convert_to_tensor(gradient), tf.convert_to_tensor(jacobian)
    similarity = tf.cast(similarity, tf.float64)
    epsilon = scalar(epsilon, tf.float64)
    _check_shapes(gradient, jacobian, similarity)
    require_finite(
        "natural_gradient", gradient=gradient, jacobian=jacobian, similarity=similarity, epsilon=epsilon
    )
    if tf.executing_eagerly() and float(epsilon) <= 0.0:
        raise ValueError(f"natural_gradient: epsilon is {float(epsilon)}, but must be positive.")
    if relative_threshold is None:
        relative_threshold = 1e-12 if jacobian.dtype == tf.float64 else 1e-6

    whitening, rank, similarity_finite = _inverse_root(similarity, relative_threshold)
    if diagonal:
        # Whitened rows T, so that Ĝ = TᵀT and its diagonal is the squared length of T's columns.
        rows = tf.matmul(tf.cast(whitening, jacobian.dtype), jacobian)
        scaling = _inverse_lengths(rows)
        scaled_rows = rows * scaling
        whitening = tf.eye(tf.shape(rows)[0], dtype=tf.float64)
    else:
        rows, scaled_rows, scaling = jacobian, jacobian, None

    # The two products below are all that the small system needs: A = J D Jᵀ and b = J D g.
    gram = tf.cast(tf.matmul(scaled_rows, rows, transpose_b=True), tf.float64)
    projection = tf.cast(tf.linalg.matvec(scaled_rows, gradient), tf.float64)
    metric = tf.matmul(whitening, tf.matmul(gram, whitening, transpose_b=True))
    metric_finite = tf.reduce_all(tf.math.is_finite(metric)) & tf.reduce_all(tf.math.is_finite(projection))
    eigenvalues, eigenvectors = tf.linalg.eigh(_or_identity(metric, metric_finite))
    eigenvalues = tf.nn.relu(eigenvalues)
    to_small = tf.matmul(eigenvectors, whitening, transpose_a=True)
    coefficients = tf.linalg.matvec(
        to_small, tf.linalg.matvec(to_small, projection) / (eigenvalues + epsilon), transpose_a=True
    )

    # u = ε g_W, which has the scale of g whatever ε is.
    scaled = gradient - tf.linalg.matvec(rows, tf.cast(coefficients, jacobian.dtype), transpose_a=True)
    if scaling is not None:
        scaled = scaled * scaling
    squared_norm = _dot(gradient, gradient)
    scaled_slope = _dot(gradient, scaled)
    cosine = tf.math.divide_no_nan(scaled_slope, tf.sqrt(squared_norm * _dot(scaled, scaled)))

    # (Ĝ + ε D⁻¹) g_W - g = Ĝ u / ε + D⁻¹ u - g, of which D⁻¹ u - g = -Jᵀ coefficients by construction.
    image = tf.linalg.matvec(
        to_small,
        tf.linalg.matvec(to_small, tf.cast(tf.linalg.matvec(rows, scaled), tf.float64)),
        transpose_a=True,
    )
    defect = tf.linalg.matvec(rows, tf.cast(image / epsilon - coefficients, jacobian.dtype), transpose_a=True)
    residual = tf.math.divide_no_nan(tf.sqrt(_dot(defect, defect)), tf.sqrt(squared_norm))

    guarded = scaled_slope <= 0.0
    inverse_epsilon = tf.cast(1.0 / epsilon, gradient.dtype)
    direction = tf.where(guarded, gradient, scaled * inverse_epsilon)
    slope = tf.where(guarded, squared_norm, scaled_slope * inverse_epsilon)
    finite = (
        similarity_finite
        & metric_finite
        & (epsilon > 0.0)
        & tf.math.is_finite(slope)
        & tf.math.is_finite(squared_norm)
    )
    if tf.executing_eagerly() and not bool(finite):
        raise ValueError(
            "natural_gradient: the result is not finite; the inputs are too large for their type."
        )
    smallest = tf.where(tf.shape(gradient)[0] > tf.shape(jacobian)[0], tf.zeros_like(epsilon), eigenvalues[0])
    zero = tf.zeros_like(slope)
    return NaturalGradient(
        direction=tf.where(finite, direction, tf.zeros_like(direction)),
        slope=tf.where(finite, slope, zero),
        residual=residual,
        effective_rank=rank,
        cosine=cosine,
        condition_number=tf.cast((eigenvalues[-1] + epsilon) / (smallest + epsilon), gradient.dtype),
        guarded=guarded,
        finite=finite,
    )


def _inverse_root(similarity: tf.Tensor, relative_threshold: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """W [M, M] with WᵀW = L†, the rank of L, and whether L was finite. Rows of the null space are zero."""
    finite = tf.reduce_all(tf.math.is_finite(similarity))
    eigenvalues, eigenvectors = tf.linalg.eigh(_or_identity(similarity, finite))
    kept = eigenvalues > relative_threshold * eigenvalues[-1]
    inverse_roots = tf.where(kept, tf.math.rsqrt(tf.where(kept, eigenvalues, 1.0)), 0.0)
    return (
        inverse_roots[:, tf.newaxis] * tf.transpose(eigenvectors),
        tf.reduce_sum(tf.cast(kept, tf.int32)),
        finite,
    )


def _or_identity(matrix: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """The matrix where the condition holds; eigh raises or does not end on NaN."""
    return tf.where(condition, matrix, tf.eye(tf.shape(matrix)[0], dtype=matrix.dtype))


def _inverse_lengths(rows: tf.Tensor) -> tf.Tensor:
    """D [P]: one over the length of each column of T [M, P]."""
    lengths = tf.sqrt(tf.reduce_sum(tf.square(rows), axis=0))
    average = tf.sqrt(tf.reduce_mean(tf.square(lengths)))
    seen = lengths > 1e-6 * tf.reduce_max(lengths)
    lengths = tf.where(seen, lengths, average)
    return tf.math.divide_no_nan(tf.ones_like(lengths), lengths)


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)


def _check_shapes(gradient: tf.Tensor, jacobian: tf.Tensor, similarity: tf.Tensor) -> None:
    num_basis, num_parameters = jacobian.shape
    if not gradient.shape.is_compatible_with([num_parameters]) or not similarity.shape.is_compatible_with(
        [num_basis, num_basis]
    ):
        raise ValueError(
            f"natural_gradient: gradient {gradient.shape}, jacobian {jacobian.shape} and similarity "
            f"{similarity.shape} do not fit together; they must be [P], [M, P] and [M, M]."
        )
