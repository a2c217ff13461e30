"""Seeds of the counter-based generators."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["stateless_seed"]


def stateless_seed(seed) -> tf.Tensor:
    """The pair [2] int32 for the stateless generators, from an int or from a pair (ints or a tensor)."""
    if isinstance(seed, int):
        # Ints beyond 32 bits fill the second half, so that none of their bits is lost.
        low, high = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
        return tf.constant([low - (low >> 31 << 32), high - (high >> 31 << 32)], tf.int32)
    return tf.reshape(tf.cast(seed, tf.int32), [2])
