"""Numbers given as Python floats or as tensors."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["scalar"]


def scalar(value: float | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The value in the type given. `tf.cast` alone would round a Python float to float32 on its way to float64."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)
