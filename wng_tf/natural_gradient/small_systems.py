"""Linear algebra on the small matrices, [M, M] in float64, and the products that lead to them."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["eigh", "gram", "inverse_root"]


def gram(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """A Bᵀ [M, M] for A, B [M, P], in their type."""
    if a.shape[0] is not None and a.shape[0] <= 8:
        # A few long rows: XLA's matrix product on the CPU takes three times as long as one row at a time.
        return tf.stack([tf.linalg.matvec(a, row) for row in tf.unstack(b)], axis=1)
    return tf.matmul(a, b, transpose_b=True)


def eigh(matrix: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Eigenvalues [M], ascending, eigenvectors [M, M] of a symmetric matrix, and whether it was finite.

    A matrix that is not finite counts as the identity: LAPACK would raise, which compiled code cannot catch.
    """
    finite = tf.reduce_all(tf.math.is_finite(matrix))
    matrix = tf.where(finite, matrix, tf.eye(tf.shape(matrix)[0], dtype=matrix.dtype))
    eigenvalues, eigenvectors = tf.linalg.eigh(matrix)
    if not tf.executing_eagerly():
        eigenvalues, eigenvectors = _refine(matrix, eigenvectors)
    return eigenvalues, eigenvectors, finite


def inverse_root(matrix: tf.Tensor, relative_threshold: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """W [M, M] with WᵀW = A†, the rank of A, and whether A was finite.

    A is symmetric and positive semidefinite up to rounding; eigenvalues below `relative_threshold` times the largest
    count as zero, and so do their rows of W.
    """
    eigenvalues, eigenvectors, finite = eigh(matrix)
    kept = (eigenvalues > relative_threshold * tf.reduce_max(eigenvalues)) & (eigenvalues > 0.0)
    inverse_roots = tf.where(kept, tf.math.rsqrt(tf.where(kept, eigenvalues, 1.0)), 0.0)
    rank = tf.reduce_sum(tf.cast(kept, tf.int32))
    return inverse_roots[:, tf.newaxis] * tf.transpose(eigenvectors), rank, finite


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
