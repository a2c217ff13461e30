"""Sums over samples, for many states at once."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["weighted_sums"]

# Sums over so many samples are written out term by term; fewer are as fast either way, and more make a large program.
WRITTEN_OUT = range(17, 65)


def weighted_sums(gram: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Σ_k gram[j, k] weights[k], for [K, K] and [K], or for [K, K, B] and [K, B]."""
    if gram.shape.rank == 2:
        return tf.linalg.matvec(gram, weights)
    # With the states last XLA on the CPU works on whole vectors of them: five times as fast as states in front.
    if gram.shape[1] not in WRITTEN_OUT:
        return tf.reduce_sum(gram * weights, axis=1)
    # A sum that is written out is one loop over vectors; a reduction goes from number to number, a row of states apart.
    columns = zip(tf.unstack(gram, axis=1), tf.unstack(weights), strict=True)
    return tf.add_n([column * weight for column, weight in columns])
