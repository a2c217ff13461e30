"""Distances between policies at a state, and the metrics that they induce on the distributions' parameters.

A geometry measures how far one distribution of actions is from another, D(p, q), and gives the matrix A(p) of its
second order, D(p, p + dp) = curvature · dpᵀ A dp + o(|dp|²), in the coordinates of `Pd.flat`. Averaged over states and
pulled back through the network, A becomes the metric of the parameters: G = E_s[Jᵀ A J].

| geometry | policy | D | A | curvature |
|---|---|---|---|---|
| Fisher | both | KL(p, q) | Fisher information | 1/2 |
| Wasserstein | Gaussian, flat = (μ, log σ) | |Δμ|² + |Δσ|², which is W2² | diag(1, σ²) | 1 |
| Wasserstein | categorical, flat = logits | energy of the straight line from p to q | F L(p)† F | 1 |

Categorical actions. With the distance of two different actions equal to 1, static transport costs W2² = |Δp|₁ / 2:
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

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

#: Gauss-Legendre nodes and weights on [0, 1].
_NODES = (0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5)
_WEIGHTS = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)


class Geometry(NamedTuple):
    """How far policies are apart. The functions take `Pd.flat` parameters [B, params]."""

    name: str
    """Of the distance: "kl" or "wasserstein"."""
    distance: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """D(p, q) [B] of the parameters of p and q; of squared actions for "wasserstein", of nats for "kl"."""
    metric: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """A(p) dp [B, params] of the parameters of p and a tangent dp of theirs."""
    curvature: float
    """D = curvature · dpᵀ A dp to second order."""
    unit: Callable[[tf.Tensor], tf.Tensor]
    """What a scale-free radius is a multiple of []: the mean action variance for "wasserstein", 1 for "kl"."""


def find(name: str, discrete: bool) -> Geometry:
    """The geometry called "kl" or "wasserstein" of categorical or of diagonal Gaussian policies."""
    return _GEOMETRIES[name, discrete]


# ---- diagonal Gaussians, flat = (mean, log standard deviation) ---------------------------------------------


def gaussian_kl(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """KL(old, new) [B]."""
    (old_mean, old_logstd), (mean, logstd) = _halves(old), _halves(new)
    spread = 2.0 * (old_logstd - logstd)
    # e^x - 1 - x in place of ratio - 1 - log ratio: the same, with less cancellation near 0.
    terms = tf.math.expm1(spread) - spread + tf.square((mean - old_mean) * tf.exp(-logstd))
    return 0.5 * tf.reduce_sum(terms, axis=-1)


def gaussian_fisher(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
    """A = diag(1/σ², 2)."""
    _, logstd = _halves(flat)
    along_mean, along_logstd = _halves(tangent)
    return tf.concat([tf.exp(-2.0 * logstd) * along_mean, 2.0 * along_logstd], axis=-1)


def gaussian_w2(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """W2² [B] = |Δμ|² + |Δσ|²."""
    (old_mean, old_logstd), (mean, logstd) = _halves(old), _halves(new)
    wider = tf.exp(old_logstd) * tf.math.expm1(logstd - old_logstd)
    return tf.reduce_sum(tf.square(mean - old_mean) + tf.square(wider), axis=-1)


def gaussian_wasserstein(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
    """A = diag(1, σ²), as dσ = σ d(log σ)."""
    _, logstd = _halves(flat)
    along_mean, along_logstd = _halves(tangent)
    return tf.concat([along_mean, tf.exp(2.0 * logstd) * along_logstd], axis=-1)


def gaussian_variance(flat: tf.Tensor) -> tf.Tensor:
    """Variance of an action's coordinate, averaged over coordinates and states."""
    return tf.reduce_mean(tf.exp(2.0 * _halves(flat)[1]))


def _halves(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    mean, logstd = tf.split(flat, 2, axis=-1)
    return mean, logstd


# ---- categorical distributions, flat = logits --------------------------------------------------------------


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


_GEOMETRIES = {
    ("kl", False): Geometry("kl", gaussian_kl, gaussian_fisher, 0.5, _one),
    ("kl", True): Geometry("kl", categorical_kl, categorical_fisher, 0.5, _one),
    ("wasserstein", False): Geometry("wasserstein", gaussian_w2, gaussian_wasserstein, 1.0, gaussian_variance),
    ("wasserstein", True): Geometry("wasserstein", categorical_w2, categorical_wasserstein, 1.0, categorical_variance),
}
