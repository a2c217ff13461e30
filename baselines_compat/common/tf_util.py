"""What of Baselines' `tf_util` means something without sessions and placeholders: reductions, and weights as one vector."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Axis = int | Sequence[int] | None

clip = tf.clip_by_value


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    """Sum over an axis, or over all."""
    return tf.reduce_sum(x, axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    """Mean over an axis, or over all."""
    return tf.reduce_mean(x, axis=axis, keepdims=keepdims)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    """Variance (of the population) over an axis, or over all."""
    return tf.math.reduce_variance(x, axis=axis, keepdims=keepdims)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    """Standard deviation (of the population) over an axis, or over all."""
    return tf.math.reduce_std(x, axis=axis, keepdims=keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    """Largest element over an axis, or of all."""
    return tf.reduce_max(x, axis=axis, keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    """Smallest element over an axis, or of all."""
    return tf.reduce_min(x, axis=axis, keepdims=keepdims)


def argmax(x: Any, axis: int | None = None) -> tf.Tensor:
    """Place of the largest element along an axis; the first axis if none is named."""
    return tf.argmax(x, axis=axis)


def concatenate(arrs: Sequence[Any], axis: int = 0) -> tf.Tensor:
    """The tensors one after another along an axis."""
    return tf.concat(arrs, axis=axis)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> tf.Tensor:
    """One of two tensors of one shape, by a scalar condition."""
    return tf.cond(tf.cast(condition, tf.bool), lambda: then_expression, lambda: else_expression)


def huber_loss(x: Any, delta: float = 1.0) -> tf.Tensor:
    """x² / 2 for |x| below delta, and delta (|x| - delta / 2) beyond, element by element."""
    size = tf.abs(x)
    return tf.where(size < delta, 0.5 * tf.square(x), delta * (size - 0.5 * delta))


def lrelu(x: Any, leak: float = 0.2) -> tf.Tensor:
    """x above 0 and `leak` times x below."""
    return tf.nn.leaky_relu(x, alpha=leak)


def normc_initializer(std: float = 1.0, axis: int = 0, seed: int | None = None) -> Any:
    """A Keras initializer: normal columns that are scaled to the length `std`. `axis`: along which the length is taken."""
    generator = np.random.default_rng(seed)

    def initializer(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        out = generator.standard_normal(tuple(shape))
        out *= std / np.sqrt(np.square(out).sum(axis=axis, keepdims=True))
        return tf.constant(out, dtype or tf.float32)

    return initializer


def var_shape(x: Any) -> list[int]:
    """The shape of a tensor or variable. ValueError if a dimension is not known."""
    shape = tf.TensorShape(x.shape).as_list()
    if any(size is None for size in shape):
        raise ValueError(f"a dimension of {shape} is not known.")
    return shape


def numel(x: Any) -> int:
    """How many elements a tensor or variable has."""
    return intprod(var_shape(x))


def intprod(x: Sequence[int]) -> int:
    """The product, as an int."""
    return int(math.prod(x))


class GetFlat:
    """Called, the variables' elements, in order, as one NumPy vector."""

    def __init__(self, var_list: Sequence[Any]):
        self.variables = list(var_list)

    def __call__(self) -> np.ndarray:
        return np.concatenate([np.ravel(tf.convert_to_tensor(variable).numpy()) for variable in self.variables])


class SetFromFlat:
    """Called with a vector, assigns its elements, in order, to the variables. ValueError on another length."""

    def __init__(self, var_list: Sequence[Any]):
        self.variables = list(var_list)

    def __call__(self, theta: Any) -> None:
        theta, sizes = np.ravel(theta), [numel(variable) for variable in self.variables]
        if len(theta) != builtins.sum(sizes):
            raise ValueError(f"{len(theta)} elements for variables that have {builtins.sum(sizes)}.")
        parts = np.split(theta, np.cumsum(sizes)[:-1]) if sizes else []
        for variable, part in zip(self.variables, parts, strict=True):
            variable.assign(part.reshape(var_shape(variable)))
