"""Probability distributions of actions, in Baselines' names, over TensorFlow Probability.

`make_pdtype(action_space)` gives a `PdType`; `pdtype.pdfromflat(flat)` gives a `Pd`, whose `flat` parameters are
[mean, logstd] for a diagonal Gaussian (Box actions) and the logits for a categorical one (Discrete actions).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from gymnasium import spaces

tfd = tfp.distributions


def _fitting(x: tf.Tensor, expected: tf.Tensor, what: str) -> tf.Tensor:
    """`x`, which must have the shape of `expected`: arithmetic would broadcast it to another number of rows or columns.

    Raises:
      ValueError: it has another shape.
      tf.errors.InvalidArgumentError: it turns out to have, in a graph whose shapes were not known before.
    """
    if not x.shape.is_compatible_with(expected.shape):
        shapes = x.shape.as_list(), expected.shape.as_list()
        raise ValueError(f"{what} of shape {shapes[0]} do not fit distributions that take {shapes[1]}.")
    if x.shape.is_fully_defined() and expected.shape.is_fully_defined():
        return x
    message = f"{what} do not have the shape of what the distributions take."
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x), tf.shape(expected), message)]):
        return tf.identity(x)


class Pd(abc.ABC):
    """A batch of action distributions. `flat` is [B, params]; results have shape [B] or [B, action]."""

    def __init__(self, flat: tf.Tensor, distribution: Any):
        self.flat = flat
        self.distribution = distribution

    def flatparam(self) -> tf.Tensor:
        return self.flat

    @abc.abstractmethod
    def mode(self) -> tf.Tensor: ...

    @abc.abstractmethod
    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        """One action per row, from a stateless `seed` [2]."""

    def logp(self, x: tf.Tensor) -> tf.Tensor:
        """log q(x) [B]. Gradients do not flow into `x`: the score is that of the parameters.

        Raises:
          ValueError: `x` is not one action for each distribution; nothing is broadcast.
        """
        x = tf.cast(tf.stop_gradient(x), self.flat.dtype)  # NumPy's own numbers are float64
        return self.distribution.log_prob(_fitting(x, self.mode(), "Actions"))

    def neglogp(self, x: tf.Tensor) -> tf.Tensor:
        return -self.logp(x)

    def entropy(self) -> tf.Tensor:
        return self.distribution.entropy()

    def kl(self, other: Pd) -> tf.Tensor:
        """KL(self, other) [B].

        Raises:
          ValueError: not one distribution for each.
        """
        _fitting(other.flat, self.flat, "Parameters")
        return tfd.kl_divergence(self.distribution, other.distribution)


class DiagGaussianPd(Pd):
    """Independent Gaussians with mean and log standard deviation from `flat` [..., 2 * size]."""

    def __init__(self, flat: tf.Tensor):
        self.mean, self.logstd = tf.split(flat, 2, axis=-1)
        self.std = tf.exp(self.logstd)
        super().__init__(flat, tfd.Independent(tfd.Normal(self.mean, self.std), reinterpreted_batch_ndims=1))

    def mode(self) -> tf.Tensor:
        return self.mean

    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        return self.reparameterise(tf.random.stateless_normal(tf.shape(self.mean), seed, dtype=self.mean.dtype))

    def reparameterise(self, noise: tf.Tensor) -> tf.Tensor:
        """mean + std * noise [B, action], differentiable in the parameters.

        Raises:
          ValueError: not one row of noise for each distribution.
        """
        return self.mean + self.std * _fitting(tf.convert_to_tensor(noise), self.mean, "Noise")


class CategoricalPd(Pd):
    """A categorical distribution with logits `flat` [..., ncat]; actions are int32."""

    def __init__(self, flat: tf.Tensor):
        self.logits = flat
        super().__init__(flat, tfd.Categorical(logits=flat))

    def logp(self, x: tf.Tensor) -> tf.Tensor:
        x = _fitting(tf.cast(x, tf.int32), self.logits[..., 0], "Actions")
        return self.distribution.log_prob(x)

    def mode(self) -> tf.Tensor:
        return tf.argmax(self.logits, axis=-1, output_type=tf.int32)

    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        uniform = tf.random.stateless_uniform(
            tf.shape(self.logits), seed, minval=np.finfo(np.float32).tiny, dtype=self.logits.dtype
        )
        return tf.argmax(self.logits - tf.math.log(-tf.math.log(uniform)), axis=-1, output_type=tf.int32)


class PdType(abc.ABC):
    """A family of action distributions."""

    @abc.abstractmethod
    def pdclass(self) -> Callable[[tf.Tensor], Pd]: ...

    @abc.abstractmethod
    def param_shape(self) -> list[int]: ...

    @abc.abstractmethod
    def sample_shape(self) -> list[int]: ...

    @abc.abstractmethod
    def sample_dtype(self) -> tf.DType: ...

    def pdfromflat(self, flat: tf.Tensor) -> Pd:
        return self.pdclass()(flat)


class DiagGaussianPdType(PdType):
    def __init__(self, size: int):
        self.size = size

    def pdclass(self) -> type[Pd]:
        return DiagGaussianPd

    def param_shape(self) -> list[int]:
        return [2 * self.size]

    def sample_shape(self) -> list[int]:
        return [self.size]

    def sample_dtype(self) -> tf.DType:
        return tf.float32


class CategoricalPdType(PdType):
    def __init__(self, ncat: int):
        self.ncat = ncat

    def pdclass(self) -> type[Pd]:
        return CategoricalPd

    def param_shape(self) -> list[int]:
        return [self.ncat]

    def sample_shape(self) -> list[int]:
        return []

    def sample_dtype(self) -> tf.DType:
        return tf.int32


def make_pdtype(ac_space: spaces.Space) -> PdType:
    """The distribution family of an action space.

    Raises:
      ValueError: the space is neither a Box of one dimension nor Discrete.
    """
    if isinstance(ac_space, spaces.Box) and len(ac_space.shape) == 1:
        return DiagGaussianPdType(ac_space.shape[0])
    if isinstance(ac_space, spaces.Discrete):
        return CategoricalPdType(int(ac_space.n))
    raise ValueError(f"Actions must be a Box of one dimension or Discrete, not {ac_space}.")
