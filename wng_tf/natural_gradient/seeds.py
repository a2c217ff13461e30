"""Seeds of the counter-based generators."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TypeAlias, cast

import tensorflow as tf

__all__ = ["Seed", "stateless_seed"]

#: An int, or a pair of them.
Seed: TypeAlias = int | Sequence[int] | tf.Tensor


def stateless_seed(seed: Seed) -> tf.Tensor:
    """The pair [2] int32 for the stateless generators, from an int or from a pair (ints or a tensor).

    Raises:
      ValueError: an int that two words cannot hold: below -2**63 or from 2**64.
    """
    try:
        number = operator.index(cast(int, seed))
    except TypeError:
        return tf.reshape(tf.cast(seed, tf.int32), [2])
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"A seed is an integer of at most 64 bits, not {number}.")
    # Ints beyond 32 bits fill the second half, so that none of their bits is lost.
    low, high = number & 0xFFFFFFFF, (number >> 32) & 0xFFFFFFFF
    return tf.constant([low - (low >> 31 << 32), high - (high >> 31 << 32)], tf.int32)
