"""`actions.to_environment` in TensorFlow: actions inside their space and in its dtype, for policies that are exported."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from gymnasium import spaces

from baselines_compat.actions import float_bounds, innermost_floats, is_whole
from baselines_compat.conform import shape_of


def to_environment(action: tf.Tensor, space: spaces.Space[Any]) -> tf.Tensor:
    """What an environment with this action space is sent [B, *shape] for the choices of a policy, `action` [B, size].

    Of Discrete [B] for [B]. To the last bit as in NumPy.

    TensorFlow takes subnormal numbers (below 1e-37) for zero.
    """
    dtype, shape = tf.as_dtype(space.dtype), shape_of(space)
    if not isinstance(space, spaces.Discrete) and len(shape) != 1:
        action = tf.reshape(action, [-1, *shape])
    if not isinstance(space, spaces.Box):
        return tf.cast(action, dtype) + tf.constant(getattr(space, "start", 0), dtype)
    if is_whole(space):
        first, last = innermost_floats(space)
        rounded = tf.round(tf.cast(action, tf.float64))
        inside = (rounded >= first) & (rounded <= last)
        whole = tf.cast(tf.where(inside, rounded, tf.zeros_like(rounded)), dtype)
        outside = tf.where(rounded > last, tf.constant(space.high), tf.constant(space.low))
        return tf.where(inside, whole, outside)
    # In the wider of the two types, where both the number and the bounds are what they are.
    wide = tf.float64 if dtype.size > 4 else tf.float32
    low, high = (tf.constant(bound, wide) for bound in float_bounds(space))
    return tf.cast(tf.minimum(tf.maximum(tf.cast(action, wide), low), high), dtype)
