"""Probability distributions of actions, in Baselines' names, over TensorFlow Probability.

`make_pdtype(action_space)` gives a `PdType`; `pdtype.pdfromflat(flat)` gives a `Pd`, whose `flat` parameters are
[mean, logstd] for a diagonal Gaussian (Box actions), the logits for a categorical one (Discrete), those of each choice one
after another for several (MultiDiscrete), and of being 1 for Bernoulli ones (MultiBinary).
"""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from gymnasium import spaces

from baselines_compat.conform import size_of

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
        return tf.argmax(self.logits + gumbel_noise(self.logits, seed), axis=-1, output_type=tf.int32)


def runs_of(choices: Sequence[int]) -> list[tuple[int, int]]:
    """(how many, n) of neighbours that have equally many choices n: what can be computed as one tensor."""
    return [(len(list(same)), count) for count, same in itertools.groupby(choices)]


def split_runs(flat: tf.Tensor, choices: Sequence[int]) -> list[tf.Tensor]:
    """Tensors [..., r, n], one for each of `runs_of`, from [..., Σ choices]; [..., n] where r is 1, as of a single choice."""
    runs = runs_of(choices)
    pieces = tf.split(flat, [r * n for r, n in runs], axis=-1) if len(runs) > 1 else [flat]
    leading = [-1 if length is None else length for length in flat.shape[:-1]]
    pairs = zip(pieces, runs, strict=True)
    return [piece if run[0] == 1 else tf.reshape(piece, [*leading, *run]) for piece, run in pairs]


def sum_over_runs(terms: Iterable[tf.Tensor], choices: Sequence[int]) -> tf.Tensor:
    """The sum over all choices [...] of terms [..., r] of each run, [...] where r is 1."""
    pairs = zip(terms, runs_of(choices), strict=True)
    summed = [term if count == 1 else tf.reduce_sum(term, axis=-1) for term, (count, _) in pairs]
    return summed[0] if len(summed) == 1 else tf.add_n(summed)


def join_runs(numbers: Iterable[tf.Tensor], choices: Sequence[int]) -> tf.Tensor:
    """The inverse of `split_runs`, for as many numbers of each choice as it has logits."""
    joined = []
    for run, (count, each) in zip(numbers, runs_of(choices), strict=True):
        leading = [-1 if length is None else length for length in run.shape[:-2]]
        joined.append(run if count == 1 else tf.reshape(run, [*leading, count * each]))
    return joined[0] if len(joined) == 1 else tf.concat(joined, axis=-1)


def likeliest(flat: tf.Tensor, choices: Sequence[int], dtype: tf.DType = tf.int32) -> tf.Tensor:
    """The largest logit of each choice, counted from zero [..., parts]."""
    found = [tf.argmax(run, axis=-1, output_type=dtype) for run in split_runs(flat, choices)]
    parts = [one[..., tf.newaxis] if count == 1 else one for one, (count, _) in zip(found, runs_of(choices), strict=True)]
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-1)


class MultiCategoricalPd(Pd):
    """Independent categorical distributions with logits `flat` [..., Σ nvec]; actions [..., len(nvec)] are int32."""

    def __init__(self, nvec: Sequence[int], flat: tf.Tensor):
        self.nvec = tuple(nvec)
        self.runs = [tfd.Categorical(logits=logits) for logits in split_runs(flat, self.nvec)]
        super().__init__(flat, self.runs)

    def logp(self, x: tf.Tensor) -> tf.Tensor:
        x = _fitting(tf.cast(x, tf.int32), self.mode(), "Actions")
        counts = [count for count, _ in runs_of(self.nvec)]
        pieces = tf.split(x, counts, axis=-1) if len(counts) > 1 else [x]
        pieces = [piece[..., 0] if count == 1 else piece for piece, count in zip(pieces, counts, strict=True)]
        return sum_over_runs((run.log_prob(piece) for run, piece in zip(self.runs, pieces, strict=True)), self.nvec)

    def entropy(self) -> tf.Tensor:
        return sum_over_runs((run.entropy() for run in self.runs), self.nvec)

    def kl(self, other: Pd) -> tf.Tensor:
        _fitting(other.flat, self.flat, "Parameters")
        pairs = zip(self.runs, other.distribution, strict=True)
        return sum_over_runs((tfd.kl_divergence(run, its) for run, its in pairs), self.nvec)

    def mode(self) -> tf.Tensor:
        return likeliest(self.flat, self.nvec)

    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        return likeliest(self.flat + gumbel_noise(self.flat, seed), self.nvec)


class BernoulliPd(Pd):
    """Independent switches with logits `flat` [..., size] of being 1; actions [..., size] are int32."""

    def __init__(self, flat: tf.Tensor):
        super().__init__(flat, tfd.Independent(tfd.Bernoulli(logits=flat), reinterpreted_batch_ndims=1))

    def mode(self) -> tf.Tensor:
        return tf.cast(self.flat > 0, tf.int32)

    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        uniform = tf.random.stateless_uniform(tf.shape(self.flat), seed, dtype=self.flat.dtype)
        return tf.cast(uniform < tf.sigmoid(self.flat), tf.int32)

    def logp(self, x: tf.Tensor) -> tf.Tensor:
        x = _fitting(tf.cast(tf.stop_gradient(x), tf.int32), self.flat, "Actions")
        return self.distribution.log_prob(tf.cast(x, self.flat.dtype))


def gumbel_noise(like: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws in the shape of `like`, by a stateless `seed` [2]: the largest of logits with them is a sample."""
    uniform = tf.random.stateless_uniform(tf.shape(like), seed, minval=np.finfo(np.float32).tiny, dtype=like.dtype)
    return -tf.math.log(-tf.math.log(uniform))


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


class MultiCategoricalPdType(PdType):
    def __init__(self, nvec: Sequence[int]):
        self.ncats = tuple(int(count) for count in nvec)

    def pdclass(self) -> Callable[[tf.Tensor], Pd]:
        return functools.partial(MultiCategoricalPd, self.ncats)

    def param_shape(self) -> list[int]:
        return [sum(self.ncats)]

    def sample_shape(self) -> list[int]:
        return [len(self.ncats)]

    def sample_dtype(self) -> tf.DType:
        return tf.int32


class BernoulliPdType(PdType):
    def __init__(self, size: int):
        self.size = size

    def pdclass(self) -> type[Pd]:
        return BernoulliPd

    def param_shape(self) -> list[int]:
        return [self.size]

    def sample_shape(self) -> list[int]:
        return [self.size]

    def sample_dtype(self) -> tf.DType:
        return tf.int32


def make_pdtype(ac_space: spaces.Space) -> PdType:
    """The distribution family of an action space.

    Raises:
      ValueError: the space is none of Box, Discrete, MultiDiscrete and MultiBinary.
    """
    if isinstance(ac_space, spaces.Box):
        return DiagGaussianPdType(size_of(ac_space))
    if isinstance(ac_space, spaces.Discrete):
        return CategoricalPdType(int(ac_space.n))
    if isinstance(ac_space, spaces.MultiDiscrete):
        return MultiCategoricalPdType(np.ravel(ac_space.nvec).tolist())
    if isinstance(ac_space, spaces.MultiBinary):
        return BernoulliPdType(size_of(ac_space))
    raise ValueError(f"Actions must be a Box, Discrete, MultiDiscrete or MultiBinary, not {ac_space}.")
