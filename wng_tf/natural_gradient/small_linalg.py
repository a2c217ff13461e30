"""Linear algebra on the small matrices, [M, M] in float64, and the products that lead to them."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

__all__ = [
    "FEW",
    "apply",
    "damped_inverse",
    "eigh",
    "gram",
    "inverse_root",
    "largest_eigenvalue",
    "semidefinite_inverse",
    "triangular_whitening",
]

# So many rows are multiplied one by one.
FEW = 8
# Up to this size a matrix is inverted by sweeps; larger ones are split.
LEAF = 16
# Up to this size elimination, written out, is tried before sweeps; its program grows with the size.
ELIMINATED = 64


def gram(a: tf.Tensor, b: tf.Tensor, dtype: tf.DType = tf.float64) -> tf.Tensor:
    """A Bᵀ [M, M] in float64 for A, B [M, P], from products in the type given."""
    own = a is b
    a = tf.cast(a, dtype)
    b = a if own else tf.cast(b, dtype)
    if a.shape[0] is not None and a.shape[0] <= FEW:
        # A few long rows: XLA's matrix product on the CPU takes three times as long as one row at a time.
        product = tf.stack([tf.linalg.matvec(a, row) for row in tf.unstack(b)], axis=1)
    elif own and a.shape[0] is not None:
        product = _own_products(a)
    else:
        product = tf.matmul(a, b, transpose_b=True)
    return tf.cast(product, tf.float64)


def _own_products(a: tf.Tensor) -> tf.Tensor:
    """A Aᵀ by halves, of whose products with each other only one is taken."""
    half = a.shape[0] // 2
    first, second = a[:half], a[half:]
    across = tf.matmul(first, second, transpose_b=True)
    upper = tf.concat([tf.matmul(first, first, transpose_b=True), across], axis=1)
    lower = tf.concat([tf.transpose(across), tf.matmul(second, second, transpose_b=True)], axis=1)
    return tf.concat([upper, lower], axis=0)


def apply(matrix: tf.Tensor, to: tf.Tensor) -> tf.Tensor:
    """The product of a matrix [K, M], or of a number that stands for that multiple of the identity, with [M] or [M, P]."""
    if matrix.shape.rank == 0:
        return matrix * to
    return tf.linalg.matvec(matrix, to) if to.shape.rank == 1 else tf.matmul(matrix, to)


def eigh(matrix: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Eigenvalues [M], ascending, eigenvectors [M, M] of a symmetric matrix, and whether it was finite.

    A matrix that is not finite counts as the identity: LAPACK would raise, which compiled code cannot catch.
    """
    matrix, finite = _finite_or_identity(matrix)
    eigenvalues, eigenvectors = tf.linalg.eigh(matrix)
    if not tf.executing_eagerly():
        eigenvalues, eigenvectors = _refine(matrix, eigenvectors)
    return eigenvalues, eigenvectors, finite


def inverse_root(matrix: tf.Tensor, relative_threshold: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """W [M, M] with WᵀW = A†, the rank of A, and whether A was finite.

    A is symmetric and positive semidefinite up to rounding. Eigenvalues below `relative_threshold` times the largest are
    treated as zero, and their rows of W are zero. Compiled code computes the eigenvalues only where elimination leaves open
    whether one of them is that small.
    """
    if tf.executing_eagerly():
        return _inverse_root_by_eigenvalues(matrix, relative_threshold)
    matrix, finite = _finite_or_identity(matrix)
    whitening = triangular_whitening(matrix)
    whitening, rank = tf.cond(
        _all_above(matrix, whitening, relative_threshold),
        lambda: (whitening, tf.constant(matrix.shape[0], tf.int32)),
        lambda: _inverse_root_by_eigenvalues(matrix, relative_threshold)[:2],
    )
    return whitening, rank, finite


def _inverse_root_by_eigenvalues(matrix: tf.Tensor, relative_threshold: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    eigenvalues, eigenvectors, finite = eigh(matrix)
    kept = (eigenvalues > relative_threshold * tf.reduce_max(eigenvalues)) & (eigenvalues > 0.0)
    inverse_roots = tf.where(kept, tf.math.rsqrt(tf.where(kept, eigenvalues, 1.0)), 0.0)
    rank = tf.reduce_sum(tf.cast(kept, tf.int32))
    return inverse_roots[:, tf.newaxis] * tf.transpose(eigenvectors), rank, finite


def triangular_whitening(matrix: tf.Tensor) -> tf.Tensor:
    """The lower triangular W [M, M] with W A Wᵀ = I, by elimination; A is symmetric and positive definite, else NaN.

    Written out for compiled code: of A's Cholesky factor W is the inverse, which XLA takes ten times as long for.
    """
    size = matrix.shape[0]
    if size > FEW:
        half = size // 2
        first = triangular_whitening(matrix[:half, :half])
        reach = tf.matmul(matrix[half:, :half], first, transpose_b=True)
        second = triangular_whitening(matrix[half:, half:] - tf.matmul(reach, reach, transpose_b=True))
        below = -tf.matmul(second, tf.matmul(reach, first))
        above = tf.zeros([half, size - half], matrix.dtype)
        return tf.concat([tf.concat([first, above], axis=1), tf.concat([below, second], axis=1)], axis=0)
    left = tf.concat([matrix, tf.eye(size, dtype=matrix.dtype)], axis=1)
    rows = []
    for step in range(size):
        row, left = left[0], left[1:]
        pivot = row[step]
        rows.append(row[size:] * tf.math.rsqrt(pivot))
        left -= left[:, step : step + 1] / pivot * row
    return tf.stack(rows)


def _all_above(matrix: tf.Tensor, whitening: tf.Tensor, relative_threshold: float) -> tf.Tensor:
    """Whether all eigenvalues of A surely lie above that part of the largest, from W with W A Wᵀ = I.

    The largest is at most the trace of A, the smallest at least one over the trace of A⁻¹ = WᵀW. False says nothing.
    """
    bound = tf.linalg.trace(matrix) * tf.reduce_sum(tf.square(whitening))
    return bound * max(relative_threshold, 1e-10) < 1.0


def damped_inverse(
    matrix: tf.Tensor, epsilon: tf.Tensor, relative_threshold: float
) -> tuple[Callable[[tf.Tensor], tf.Tensor], tf.Tensor, tf.Tensor]:
    """The function b [M] → (A + ε I)⁻¹ b, the largest eigenvalue of A, and whether A was finite.

    A is symmetric and positive semidefinite up to rounding. Eigenvalues below `relative_threshold` times the largest are
    treated as zero, and the solution has no component along their eigenvectors: it would be rounding divided by ε.
    """
    matrix, finite = _finite_or_identity(matrix)

    def split() -> tuple[tf.Tensor, tf.Tensor]:
        eigenvalues, eigenvectors, _ = eigh(matrix)
        known = eigenvalues > relative_threshold * tf.nn.relu(eigenvalues[-1])
        return tf.where(known, 1.0 / (tf.where(known, eigenvalues, 1.0) + epsilon), 0.0), eigenvectors

    if tf.executing_eagerly():
        factors, vectors = split()

        def solve(right: tf.Tensor) -> tf.Tensor:
            return tf.linalg.matvec(vectors, factors * tf.linalg.matvec(vectors, right, transpose_a=True))

        return solve, largest_eigenvalue(matrix), finite

    def by_eigenvalues() -> tf.Tensor:
        factors, vectors = split()
        return tf.matmul(vectors * factors, vectors, transpose_b=True)

    damped = matrix + epsilon * tf.eye(matrix.shape[0], dtype=matrix.dtype)
    if matrix.shape[0] <= LEAF:
        whitening = triangular_whitening(damped)
        inverse = tf.cond(
            _all_above(matrix, triangular_whitening(matrix), relative_threshold),
            lambda: tf.matmul(whitening, whitening, transpose_a=True),
            by_eigenvalues,
        )
    elif matrix.shape[0] <= ELIMINATED:
        # No pivot is passed over where all eigenvalues lie above what a pivot must reach.
        whitening = triangular_whitening(damped)
        inverse = tf.cond(
            _all_above(damped, whitening, relative_threshold),
            lambda: tf.matmul(whitening, whitening, transpose_a=True),
            lambda: semidefinite_inverse(damped, relative_threshold),
        )
    else:
        inverse = semidefinite_inverse(damped, relative_threshold)
    return lambda right: tf.linalg.matvec(inverse, right), largest_eigenvalue(matrix), finite


def semidefinite_inverse(matrix: tf.Tensor, relative_threshold: float) -> tf.Tensor:
    """The inverse [M, M] of a symmetric positive definite matrix, by blocks and by sweeps of Gauss and Jordan in the last.

    For compiled code and M of some dozens; at M = 64 XLA's Cholesky takes thirty times as long. A pivot below
    `relative_threshold` times the largest diagonal element is passed over, its row and column zero in the result.
    """
    return _inverse_by_blocks(matrix, relative_threshold * tf.reduce_max(tf.linalg.diag_part(matrix)))


def _inverse_by_blocks(matrix: tf.Tensor, smallest: tf.Tensor) -> tf.Tensor:
    """Half by half: the inverse of the first and of its Schur complement. Zero rows of the one stay zero in all."""
    size = matrix.shape[0]
    if size <= LEAF:
        return _inverse_by_sweeps(matrix, smallest)
    half = size // 2
    across = matrix[:half, half:]
    first = _inverse_by_blocks(matrix[:half, :half], smallest)
    reach = tf.matmul(first, across)
    second = _inverse_by_blocks(matrix[half:, half:] - tf.matmul(across, reach, transpose_a=True), smallest)
    joint = tf.matmul(reach, second)
    upper = tf.concat([first + tf.matmul(joint, reach, transpose_b=True), -joint], axis=1)
    return tf.concat([upper, tf.concat([-tf.transpose(joint), second], axis=1)], axis=0)


def _inverse_by_sweeps(matrix: tf.Tensor, smallest: tf.Tensor) -> tf.Tensor:
    size = matrix.shape[0]

    def sweep(step: tf.Tensor, swept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        row = swept[step]
        pivot = row[step]
        unit = tf.one_hot(step, size, dtype=matrix.dtype)
        usable = pivot > smallest
        scaled = tf.where(usable, row / tf.where(usable, pivot, 1.0), 0.0)
        others = 1.0 - unit
        rest = (swept - row[:, tf.newaxis] * scaled) * others[:, tf.newaxis] * others
        edge = scaled * others
        corner = tf.where(usable, -1.0 / tf.where(usable, pivot, 1.0), 0.0)
        edges = unit[:, tf.newaxis] * edge + edge[:, tf.newaxis] * unit
        return step + 1, rest + edges + corner * unit[:, tf.newaxis] * unit

    return -tf.while_loop(lambda step, _: step < size, sweep, (0, matrix))[1]


def _finite_or_identity(matrix: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    finite = tf.reduce_all(tf.math.is_finite(matrix))
    return tf.where(finite, matrix, tf.eye(tf.shape(matrix)[0], dtype=matrix.dtype)), finite


def largest_eigenvalue(matrix: tf.Tensor) -> tf.Tensor:
    """The largest eigenvalue [] of a symmetric positive semidefinite matrix [M, M].

    Compiled: by eight squarings, 256 steps of the power iteration, from the column with the largest diagonal element. The
    squarings are in float32; the quotient, whose error is the square of the vector's, in the matrix's type.
    """
    if tf.executing_eagerly():
        return tf.nn.relu(tf.linalg.eigvalsh(matrix)[-1])
    power = tf.cast(tf.math.divide_no_nan(matrix, tf.reduce_max(tf.abs(matrix))), tf.float32)
    for _ in range(8):
        power = tf.matmul(power, power)
        power = tf.math.divide_no_nan(power, tf.reduce_max(tf.abs(power)))
    # Not power[:, k]: XLA would take what k depends on for constants, and compile anew for each of their values.
    vector = tf.cast(tf.gather(power, tf.argmax(tf.linalg.diag_part(power)), axis=1), matrix.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(vector * tf.linalg.matvec(matrix, vector)), tf.reduce_sum(tf.square(vector)))


def _refine(matrix: tf.Tensor, vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Refined eigenvectors and their Rayleigh quotients, by two steps after Ogita and Aishima (2018).

    XLA's eigh stops at a relative tolerance of 1e-6, which has no setting in TensorFlow; each step squares the error
    that is left. Eigenvalues closer together than what couples them stay as they are.
    """
    for _ in range(2):
        image = tf.matmul(vectors, tf.matmul(matrix, vectors), transpose_a=True)
        values = tf.linalg.diag_part(image)
        gaps = values - values[:, tf.newaxis]
        far = tf.abs(gaps) > tf.maximum(20.0 * tf.abs(image), 1e-10 * tf.reduce_max(tf.abs(values)))
        vectors += tf.matmul(vectors, tf.where(far, image / tf.where(far, gaps, 1.0), 0.0))
        # Newton's step towards orthonormal columns.
        vectors += 0.5 * (vectors - tf.matmul(vectors, tf.matmul(vectors, vectors, transpose_a=True)))
    return tf.reduce_sum(vectors * tf.matmul(matrix, vectors), axis=0), vectors
