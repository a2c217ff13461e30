"""One of several choices, drawn from a categorical distribution whose logits are `Pd.flat`.

Its Wasserstein geometry. With the distance of two different actions equal to 1, static transport costs W2² = |Δp|₁ / 2:
of first order, so no metric comes of it. Dynamic transport has one (Maas 2011; Li and Montúfar 2018, "Natural gradient
via optimal transport"): probability flows along the edges of a graph of the actions, as mass does in the formula of
Benamou and Brenier, and moving dp costs dpᵀ L(p)† dp, where L(p) is the graph's Laplacian with weight p_i + p_j on the
edge (i, j). On the complete graph L(p) = n diag(p) + I - p 1ᵀ - 1 pᵀ, whose inverse on {dp : Σ dp = 0} is known:

    φ_i = (dp_i + c) / (n p_i + 1),   c such that Σ φ_i = 0,   dpᵀ L(p)† dp = Σ_i dp_i φ_i.

Where there are two actions only, they are at distance exactly 1. With F = diag(p) - p pᵀ, dp = F d(logits). Like the
Gaussian one and unlike Fisher's, this metric stays finite where the policy becomes deterministic. Its geodesics have no
closed form; the straight line's energy ∫₀¹ dpᵀ L(p + t dp)† dp dt bounds W2² from above, agrees with it to second
order, and is W2² itself for two actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actor import CategoricalHead
from wng_tf.policies.geometry import Geometry
from wng_tf.policies.heads.base import StochasticHead
from wng_tf.policies.lazy import Lazy

if TYPE_CHECKING:
    import tensorflow as tf

else:
    tf = Lazy("tensorflow")

#: Gauss-Legendre nodes and weights on [0, 1].
_NODES = (0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5)
_WEIGHTS = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)


class Categorical(CategoricalHead, StochasticHead):
    """Softmax of the logits."""

    reparameterised = False

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.Discrete)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Categorical:
        assert isinstance(space, spaces.Discrete)
        return cls(int(space.n), **settings)

    @property
    def geometries(self) -> Mapping[str, Geometry]:
        return GEOMETRIES

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        one_hot: NDArray[np.float32] = np.eye(self.choices, dtype=np.float32)[actions]
        return one_hot

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Gumbel's, which makes an argmax of a sample."""
        return rng.gumbel(size=(*shape, self.choices))

    def drawn(self, pd: Any, noise: tf.Tensor) -> tf.Tensor:
        chosen = tf.argmax(pd.logits[:, tf.newaxis] + noise, axis=-1)
        return tf.one_hot(chosen, noise.shape[-1])

    def log_prob_of_drawn(self, pd: Any, drawn: tf.Tensor) -> tf.Tensor:
        drawn = tf.stop_gradient(drawn)
        log_probs = tf.nn.log_softmax(pd.logits)[:, tf.newaxis]
        return tf.reduce_sum(drawn * log_probs, axis=[1, 2])

    def log_prob(self, outputs: NDArray[np.float32], free: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[Any]:
        del free
        shifted = outputs - outputs.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(shifted, np.asarray(actions, np.int64)[..., np.newaxis], axis=-1)[..., 0]
        log_prob: NDArray[Any] = chosen - np.log(np.exp(shifted).sum(axis=-1))
        return log_prob.astype(np.float32)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.argmax(outputs, axis=-1)

    def sample_tensor(self, outputs: tf.Tensor, free: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        del free
        uniform = tf.random.stateless_uniform(tf.shape(outputs), seed, minval=np.finfo(np.float32).tiny)
        return tf.argmax(outputs - tf.math.log(-tf.math.log(uniform)), axis=-1)


# ---- geometries --------------------------------------------------------------------------------------------


def categorical_kl(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """KL(old, new) [B]."""
    change = tf.nn.log_softmax(new) - tf.nn.log_softmax(old)
    # Σ p (e^r - 1) is 0, and with it every term is positive.
    return tf.reduce_sum(tf.nn.softmax(old) * (tf.math.expm1(change) - change), axis=-1)


def categorical_fisher(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
    """A = F = diag(p) - p pᵀ, which is also the derivative of the probabilities by the logits."""
    return _centred_product(tf.nn.softmax(flat), tangent)


def categorical_w2(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Energy of the straight line from old to new [B], on the complete graph of the actions (see above)."""
    start, end = tf.nn.softmax(old), tf.nn.softmax(new)
    change = end - start
    energies = [
        weight * tf.reduce_sum(change * _potential(start + node * change, change), axis=-1)
        for node, weight in zip(_NODES, _WEIGHTS, strict=True)
    ]
    return tf.add_n(energies)


def categorical_wasserstein(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
    """A = F L(p)† F."""
    probabilities = tf.nn.softmax(flat)
    change = _centred_product(probabilities, tangent)
    return _centred_product(probabilities, _potential(probabilities, change))


def categorical_variance(flat: tf.Tensor) -> tf.Tensor:
    """Variance of the one-hot action, 1 - Σ p², averaged over states."""
    return tf.reduce_mean(1.0 - tf.reduce_sum(tf.square(tf.nn.softmax(flat)), axis=-1))


def _centred_product(probabilities: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_sum(probabilities * vector, axis=-1, keepdims=True)
    return probabilities * (vector - mean)


def _potential(probabilities: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
    """φ = L(p)† dp [B, n] on the complete graph."""
    inverse = 1.0 / (probabilities.shape[-1] * probabilities + 1.0)
    shift = -tf.reduce_sum(inverse * change, axis=-1, keepdims=True) / tf.reduce_sum(inverse, axis=-1, keepdims=True)
    return inverse * (change + shift)


def _one(flat: tf.Tensor) -> tf.Tensor:
    return tf.ones([], flat.dtype)


GEOMETRIES: Mapping[str, Geometry] = {
    "kl": Geometry("kl", categorical_kl, categorical_fisher, 0.5, _one),
    "wasserstein": Geometry("wasserstein", categorical_w2, categorical_wasserstein, 1.0, categorical_variance),
}
