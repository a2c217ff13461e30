"""The damped natural gradient from a low-rank metric (Algorithm 3, Eq. 12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from wng_tf.natural_gradient.checks import require_finite
from wng_tf.natural_gradient.jacobian_rows import DenseRows, LayerScores
from wng_tf.natural_gradient.scalars import scalar
from wng_tf.natural_gradient.small_linalg import FEW, apply, damped_inverse, eigh, inverse_root, largest_eigenvalue

__all__ = ["NaturalGradient", "Whitening", "natural_gradient", "whitened_natural_gradient", "whitening"]


class NaturalGradient(NamedTuple):
    """A natural gradient and its diagnostics; all but the direction are scalars.

    Where it was asked not to be diagnosed, `residual` and `condition_number` are zero.
    """

    direction: tf.Tensor
    """g_W [P], in the type of the gradient. Zero where `finite` is false."""
    slope: tf.Tensor
    """gᵀ direction: what a step of length λ along it gains to first order, divided by λ."""
    residual: tf.Tensor
    """|(Ĝ + ε D⁻¹) g_W - g| relative to (|Ĝ| + ε) |g_W| + |g|, before any guard: zero up to rounding."""
    rank: tf.Tensor | None
    """How many directions of the metric were seen: the eigenvalues of L above the threshold. None of an iterative solve."""
    cosine: tf.Tensor
    """Between g and g_W, before any guard."""
    condition_number: tf.Tensor
    """Of Ĝ + ε D⁻¹ relative to D⁻¹: by how much the slowest direction is slowed down against the fastest."""
    guarded: tf.Tensor
    """True where gᵀ g_W ≤ 0, so that the direction is g instead."""
    finite: tf.Tensor
    """False where an input, or the result, is NaN or infinite: the direction is zero then, a step not taken."""
    iterations: tf.Tensor
    """Products with the metric that an iterative solve took, int32; 0 of a direct one."""
    epsilon: tf.Tensor
    """ε, in the unit of the metric."""


def natural_gradient(
    gradient: tf.Tensor,
    jacobian: tf.Tensor,
    similarity: tf.Tensor,
    epsilon: float | tf.Tensor,
    diagonal: bool = False,
    *,
    relative_threshold: float | None = None,
    diagnose: bool | tf.Tensor = True,
) -> NaturalGradient:
    """Solves (Ĝ + ε D⁻¹) g_W = g with Ĝ = Jᵀ L† J and D = I, by Woodbury (Eq. 12).

    gradient g [P], jacobian J [M, P], similarity L [M, M], epsilon ε > 0 in the metric's unit. With `diagonal`,
    D_jj = 1 / sqrt(Ĝ_jj), the diagonal preconditioner of Arbel et al. (2020); parameters that the embeddings do not
    depend on are damped as an average one.

    Only systems of size M are solved, in float64, by symmetric eigendecomposition; products with J are in its own
    type. Eigenvalues of L below `relative_threshold` times the largest are treated as zero; by default 1e-12 in float64, in
    float32 1e-9 with more than eight basis functions and 1e-6 with fewer, which are multiplied without float64.

    `diagnose`, a bool or a boolean scalar tensor, says whether to compute the residual and the condition number, which the
    direction does not need: they take several passes over J.

    NaN or infinity, in the inputs or the result: ValueError when called eagerly; inside `tf.function` the result's
    `finite` is false. An epsilon that is not positive is treated the same.
    """
    gradient, jacobian = tf.convert_to_tensor(gradient), tf.convert_to_tensor(jacobian)
    similarity, epsilon = tf.cast(similarity, tf.float64), scalar(epsilon, tf.float64)
    rows = DenseRows(jacobian)
    check_problem("natural_gradient", gradient, rows, epsilon)
    if not similarity.shape.is_compatible_with([jacobian.shape[0]] * 2):
        raise ValueError(f"natural_gradient: similarity is {similarity.shape}, but J {jacobian.shape}; it must be [M, M].")
    require_finite("natural_gradient", similarity=similarity)
    found = whitening(similarity, jacobian.dtype, relative_threshold)
    return damped_solve(
        "natural_gradient",
        gradient,
        rows,
        found.matrix,
        epsilon,
        diagonal,
        product_type=_product_type(jacobian.shape[0], jacobian.dtype),
        rank=found.rank,
        valid=found.finite,
        diagnose=diagnose,
    )


class Whitening(NamedTuple):
    """What L [M, M] says of the metric, before J is known."""

    matrix: tf.Tensor
    """W [M, M] with WᵀW = L†, float64: Ĝ = TᵀT for T = W J. Rows that stand for no direction are zero."""
    rank: tf.Tensor
    """Of L."""
    finite: tf.Tensor
    """Whether L was."""


def whitening(similarity: tf.Tensor, dtype: tf.DType, relative_threshold: float | None = None) -> Whitening:
    """W from L [M, M], for a Jacobian of the type given; `relative_threshold` as in `natural_gradient`."""
    if relative_threshold is None:
        product_type = _product_type(similarity.shape[0], dtype)
        relative_threshold = max(_rounding(product_type), 1e-12 if dtype == tf.float64 else 1e-9)
    return Whitening(*inverse_root(tf.cast(similarity, tf.float64), relative_threshold))


def whitened_natural_gradient(
    gradient: tf.Tensor,
    rows: tf.Tensor,
    found: Whitening,
    epsilon: tf.Tensor,
    diagonal: bool = False,
    *,
    diagnose: bool | tf.Tensor = True,
) -> NaturalGradient:
    """`natural_gradient` from T = W J [M, P] in place of J and L.

    T costs nothing where J is a product with cotangents, which W can multiply in its place: they are shorter.
    """
    epsilon = scalar(epsilon, tf.float64)
    check_problem("whitened_natural_gradient", gradient, DenseRows(rows), epsilon)
    return damped_solve(
        "whitened_natural_gradient",
        gradient,
        DenseRows(rows),
        tf.ones([], tf.float64),
        epsilon,
        diagonal,
        product_type=_product_type(rows.shape[0], rows.dtype),
        rank=found.rank,
        valid=found.finite,
        diagnose=diagnose,
    )


def _product_type(count: int | None, dtype: tf.DType) -> tf.DType:
    """A few basis functions are the case where speed counts, many the one where the whole metric is wanted."""
    return dtype if (count or 0) <= FEW else tf.float64


def check_problem(name: str, gradient: tf.Tensor, rows: DenseRows | LayerScores, epsilon: tf.Tensor) -> None:
    """Raises ValueError where shapes or types do not fit and, eagerly, where a number is not finite or ε not positive."""
    if gradient.dtype != rows.dtype:
        raise ValueError(
            f"{name}: the gradient is {gradient.dtype.name}, the jacobian or scores {rows.dtype.name}; "
            "they must have one type."
        )
    if rows.shape.rank != 2 or not gradient.shape.is_compatible_with([rows.shape[1]]):
        raise ValueError(
            f"{name}: the gradient is {gradient.shape}, the jacobian or scores {rows.shape}; they must be [P], [M, P]."
        )
    require_finite(name, gradient=gradient, epsilon=epsilon)
    for tensor in rows.tensors():
        require_finite(name, jacobian=tensor)
    if tf.executing_eagerly() and float(epsilon) <= 0.0:
        raise ValueError(f"{name}: epsilon is {float(epsilon)}, but must be positive.")


class _Solution(NamedTuple):
    """Of (Ĝ + ε D⁻¹) g_W = g."""

    scaled: tf.Tensor
    """ε g_W [P], which has the scale of g, whatever ε is."""
    finite: tf.Tensor
    diagnose: Callable[[], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
    """|Ĝ g_W + ε D⁻¹ g_W - g|, and the lowest and the highest eigenvalue of D^½ Ĝ D^½."""


def damped_solve(
    name: str,
    gradient: tf.Tensor,
    rows: DenseRows | LayerScores,
    whitening: tf.Tensor,
    epsilon: tf.Tensor,
    diagonal: bool,
    *,
    product_type: tf.DType,
    rank: tf.Tensor,
    valid: tf.Tensor,
    diagnose: bool | tf.Tensor = True,
) -> NaturalGradient:
    """The result from W [K, M] with Ĝ = (W J)ᵀ(W J), or from a number W that stands for W I; `rows` are J's.

    `product_type` is that of the products J Jᵀ, `rank` goes into the diagnostics, and `valid` says that W is finite;
    `diagnose` as in `natural_gradient`.
    """
    problem = (gradient, rows, whitening, epsilon, diagonal)
    if None not in rows.shape.as_list() and rows.shape[1] <= rows.shape[0]:
        solution = _solve_among_parameters(*problem)
    else:
        solution = _solve_among_basis_functions(*problem, product_type)

    scaled, dtype = solution.scaled, gradient.dtype
    norm = tf.norm(gradient)
    scaled_norm = tf.norm(scaled)
    scaled_slope = _dot(gradient, scaled)

    def diagnosed() -> tuple[tf.Tensor, tf.Tensor]:
        defect, lowest, highest = solution.diagnose()
        # The terms that cancel in the residual have the size of |Ĝ + ε| |g_W| and |g|.
        stretch = tf.cast((highest + epsilon) / epsilon, dtype)
        residual = tf.math.divide_no_nan(tf.cast(defect, dtype), stretch * scaled_norm + norm)
        return residual, tf.cast((highest + epsilon) / (lowest + epsilon), dtype)

    def undiagnosed() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros([], dtype), tf.zeros([], dtype)

    if isinstance(diagnose, bool):
        residual, condition_number = diagnosed() if diagnose else undiagnosed()
    else:
        residual, condition_number = tf.cond(diagnose, diagnosed, undiagnosed)

    guarded = scaled_slope <= 0.0
    inverse_epsilon = tf.cast(1.0 / epsilon, dtype)
    direction = tf.where(guarded, gradient, scaled * inverse_epsilon)
    slope = tf.where(guarded, tf.square(norm), scaled_slope * inverse_epsilon)
    # NaN or infinity anywhere in g or J reaches the norms, so that these scalars stand for all entries.
    finite = (
        valid
        & solution.finite
        & (epsilon > 0.0)
        & tf.math.is_finite(epsilon)
        & tf.math.is_finite(scaled_norm * inverse_epsilon)
        & tf.math.is_finite(slope)
    )
    if tf.executing_eagerly() and not bool(finite):
        raise ValueError(f"{name}: the result overflows {gradient.dtype.name}; scale the loss down or raise epsilon.")
    return NaturalGradient(
        direction=tf.where(finite, direction, tf.zeros_like(direction)),
        slope=tf.where(finite, slope, tf.zeros_like(slope)),
        residual=residual,
        rank=rank,
        cosine=tf.math.divide_no_nan(scaled_slope, norm * scaled_norm),
        condition_number=condition_number,
        guarded=guarded,
        finite=finite,
        iterations=tf.constant(0),
        epsilon=epsilon,
    )


def _solve_among_basis_functions(
    gradient: tf.Tensor,
    rows: DenseRows | LayerScores,
    whitening: tf.Tensor,
    epsilon: tf.Tensor,
    diagonal: bool,
    product_type: tf.DType,
) -> _Solution:
    """With P > M: only [M, M] systems.

    With D the parameters are scaled, so that D is the identity: U = W J D^½, y = D^½ g and
    ε g_W = D^½ (y - Uᵀ (U Uᵀ + ε I)⁻¹ U y).
    """
    root = None
    if diagonal:
        if whitening.shape.rank == 2:
            rows, whitening = rows.combined(tf.cast(whitening, rows.dtype)), tf.ones([], tf.float64)
        # Ĝ = TᵀT for the whitened rows T, so its diagonal is the squared length of T's columns.
        root = tf.sqrt(_inverse_lengths(tf.cast(whitening, rows.dtype) * tf.sqrt(rows.squared_lengths())))
        rows = rows.scaled(root)
    right = gradient if root is None else root * gradient

    # W R g [K] and (W R)ᵀ c [P] for the rows R; W R itself is not needed.
    def project(vector: tf.Tensor) -> tf.Tensor:
        return apply(whitening, tf.cast(rows.project(vector), tf.float64))

    def combine(coefficients: tf.Tensor) -> tf.Tensor:
        return rows.combine(tf.cast(apply(tf.transpose(whitening), coefficients), rows.dtype))

    metric = apply(whitening, tf.transpose(apply(whitening, rows.gram(product_type))))
    solve, _, finite = damped_inverse(metric, epsilon, _rounding(product_type))
    solution = solve(project(right))
    scaled = right - combine(solution)

    def diagnose() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Ĝ g_W + ε D⁻¹ g_W - g = D^-½ Uᵀ (U y' / ε - c), where y' = y - Uᵀ c.
        defect = combine(project(scaled) / epsilon - solution)
        highest = largest_eigenvalue(tf.where(finite, metric, tf.zeros_like(metric)))
        return tf.norm(defect if root is None else defect / root), tf.zeros_like(highest), highest

    return _Solution(scaled if root is None else root * scaled, finite, diagnose)


def _solve_among_parameters(
    gradient: tf.Tensor, rows: DenseRows | LayerScores, whitening: tf.Tensor, epsilon: tf.Tensor, diagonal: bool
) -> _Solution:
    """The same where P ≤ M: Ĝ [P, P] is formed, because Woodbury's difference would cancel where g lies in its range."""
    wide_gradient, wide_jacobian = tf.cast(gradient, tf.float64), tf.cast(rows.dense(), tf.float64)
    whitened = apply(whitening, wide_jacobian)
    scaling = _inverse_lengths(tf.norm(whitened, axis=0)) if diagonal else tf.ones_like(wide_gradient)
    root = tf.sqrt(scaling)
    metric = tf.matmul(whitened, whitened, transpose_a=True)
    eigenvalues, eigenvectors, finite = eigh(root[:, tf.newaxis] * metric * root)
    eigenvalues = tf.nn.relu(eigenvalues)
    rotated = tf.linalg.matvec(eigenvectors, root * wide_gradient, transpose_a=True)
    scaled = root * tf.linalg.matvec(eigenvectors, rotated * (epsilon / (eigenvalues + epsilon)))

    def diagnose() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        defect = tf.linalg.matvec(metric, scaled) / epsilon + scaled / scaling - wide_gradient
        return tf.norm(defect), eigenvalues[0], eigenvalues[-1]

    return _Solution(tf.cast(scaled, gradient.dtype), finite, diagnose)


def _rounding(product_type: tf.DType) -> float:
    """Eigenvalues of a Gram matrix below this part of the largest are rounding."""
    return 1e-6 if product_type == tf.float32 else 1e-12


def _inverse_lengths(lengths: tf.Tensor) -> tf.Tensor:
    """D [P]: one over the length of each column of T, of which `lengths` [P] are; over the average where it is zero."""
    average = tf.sqrt(tf.reduce_mean(tf.square(lengths)))
    lengths = tf.where(lengths > 1e-6 * tf.reduce_max(lengths), lengths, average)
    return tf.where(lengths > 0.0, 1.0 / lengths, 1.0)


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)
