"""The constants of the dual, chosen from the scale of the data."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

__all__ = ["DualSettings", "mean_squared_distance", "scaled_settings"]


class DualSettings(NamedTuple):
    """Bandwidth s of the kernel, regularisation γ and step size of the ascent, as `transport_estimate` takes them."""

    bandwidth: tf.Tensor
    gamma: tf.Tensor
    step_size: tf.Tensor


def mean_squared_distance(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The mean of |x_j - y_k|² [] over all pairs and all leading axes, for x [..., K, d] and y [..., K', d]."""
    spread = [tf.reduce_sum(tf.math.reduce_variance(z, axis=-2), axis=-1) for z in (x, y)]
    shift = tf.reduce_mean(x, axis=-2) - tf.reduce_mean(y, axis=-2)
    return tf.reduce_mean(spread[0] + spread[1] + tf.reduce_sum(tf.square(shift), axis=-1))


def scaled_settings(squared_scale: float | tf.Tensor) -> DualSettings:
    """s = √c, γ = 0.3 c and steps of length γ, where c is the mean squared distance between samples of the two sides.

    Found by measuring (tests hold it to this): in 25 steps the estimate for pairs of common noise, and its gradient in
    mean and standard deviation, are then within a tenth of W2² between Gaussians up to a shift of three standard
    deviations. With s = 0.1 and γ = 1, the constants of the code released with the paper, and samples of unit variance
    the gradient is 0.03 at a shift of one, where it should be 2.

    γ is a compromise. Above c the dual hardly bends, and independent samples give E|x - y|²; below 0.1 c the
    exponential is zero for most pairs, and 25 steps do not bring the test functions up to the cost.
    """
    squared_scale = tf.convert_to_tensor(squared_scale)
    gamma = 0.3 * squared_scale
    return DualSettings(tf.sqrt(squared_scale), gamma, gamma)
