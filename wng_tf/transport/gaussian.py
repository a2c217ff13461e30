"""Closed-form W2 and KL between Gaussians, the ground truth of everything estimated here."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["kl_diagonal", "squared_w2", "squared_w2_diagonal"]


def squared_w2_diagonal(mean_p: tf.Tensor, std_p: tf.Tensor, mean_q: tf.Tensor, std_q: tf.Tensor) -> tf.Tensor:
    """W2² between N(mean, diag(std²)), over the last axis:  |Δμ|² + Σ_i (σ_i - σ'_i)². Shapes [..., d] → [...]."""
    return tf.reduce_sum(tf.square(mean_p - mean_q) + tf.square(std_p - std_q), axis=-1)


def squared_w2(mean_p: tf.Tensor, cov_p: tf.Tensor, mean_q: tf.Tensor, cov_q: tf.Tensor) -> tf.Tensor:
    """W2² between N(mean [d], cov [d, d]):  |Δμ|² + tr(Σ + Σ' - 2 (Σ^½ Σ' Σ^½)^½)  (Bures).

    Covariances may be singular. The result has their type; use float64 where covariances nearly agree.
    """
    root_p = _square_root(cov_p)
    cross = _square_root(tf.matmul(root_p, tf.matmul(cov_q, root_p)))
    spread = tf.linalg.trace(cov_p) + tf.linalg.trace(cov_q) - 2.0 * tf.linalg.trace(cross)
    return tf.reduce_sum(tf.square(mean_p - mean_q), axis=-1) + tf.nn.relu(spread)


def kl_diagonal(mean_p: tf.Tensor, std_p: tf.Tensor, mean_q: tf.Tensor, std_q: tf.Tensor) -> tf.Tensor:
    """KL(p ‖ q) between N(mean, diag(std²)), over the last axis. Shapes [..., d] → [...]."""
    ratio = tf.square(std_p / std_q)
    shift = tf.square((mean_p - mean_q) / std_q)
    return 0.5 * tf.reduce_sum(ratio + shift - 1.0 - tf.math.log(ratio), axis=-1)


def _square_root(matrix: tf.Tensor) -> tf.Tensor:
    eigenvalues, eigenvectors = tf.linalg.eigh(0.5 * (matrix + tf.linalg.matrix_transpose(matrix)))
    return tf.matmul(eigenvectors * tf.sqrt(tf.nn.relu(eigenvalues))[..., tf.newaxis, :], eigenvectors, transpose_b=True)
