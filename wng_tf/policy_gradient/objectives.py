"""The terms of the loss, as pure functions of tensors [n]. All are minimised.

A surrogate is a function of the importance ratio [n], the advantages [n] and the clip range, `wng_tf.parts.SURROGATES`.
"""

from __future__ import annotations

import tensorflow as tf


def importance_ratio(log_probs: tf.Tensor, old_log_probs: tf.Tensor) -> tf.Tensor:
    """π_θ(a|s) / π_old(a|s) [n]."""
    return tf.exp(log_probs - old_log_probs)


def importance_surrogate(ratio: tf.Tensor, advantages: tf.Tensor, cliprange: float | None = None) -> tf.Tensor:
    """-E[ratio A] (Eq. 1, right); nothing is clipped."""
    del cliprange
    return -tf.reduce_mean(ratio * advantages)


def clipped_surrogate(ratio: tf.Tensor, advantages: tf.Tensor, cliprange: tf.Tensor | float) -> tf.Tensor:
    """-E[min(ratio A, clip(ratio) A)] (Schulman et al. 2017, Eq. 7)."""
    clipped = tf.clip_by_value(ratio, 1.0 - cliprange, 1.0 + cliprange)
    return -tf.reduce_mean(tf.minimum(ratio * advantages, clipped * advantages))


def value_loss(values: tf.Tensor, returns: tf.Tensor, old_values: tf.Tensor, cliprange: float = 0.0) -> tf.Tensor:
    """½ E[(V - R)²]; with `cliprange` > 0 the larger of that and the loss of the clipped change, as in Baselines."""
    loss = tf.square(values - returns)
    if cliprange > 0.0:
        clipped = old_values + tf.clip_by_value(values - old_values, -cliprange, cliprange)
        loss = tf.maximum(loss, tf.square(clipped - returns))
    return 0.5 * tf.reduce_mean(loss)


def approximate_kl(log_probs: tf.Tensor, old_log_probs: tf.Tensor) -> tf.Tensor:
    """½ E[(log π - log π_old)²], Baselines' `approxkl`."""
    return 0.5 * tf.reduce_mean(tf.square(log_probs - old_log_probs))


def clip_fraction(ratio: tf.Tensor, cliprange: float) -> tf.Tensor:
    """Share of samples whose ratio is outside the clip range."""
    return tf.reduce_mean(tf.cast(tf.abs(ratio - 1.0) > cliprange, tf.float32))


def normalized(advantages: tf.Tensor) -> tf.Tensor:
    """Advantages of a minibatch at mean 0 and deviation 1, as in Baselines' ppo2."""
    centred = advantages - tf.reduce_mean(advantages)
    return centred / (tf.sqrt(tf.reduce_mean(tf.square(centred))) + 1e-8)


def adapted_kl_coef(coefficient: float, kl: float, target: float) -> float:
    """The rule for β of Schulman et al. (2017), Section 4: halve below target / 1.5, double above 1.5 target."""
    if kl < target / 1.5:
        coefficient /= 2.0
    elif kl > target * 1.5:
        coefficient *= 2.0
    return min(max(coefficient, 1e-6), 1e6)
