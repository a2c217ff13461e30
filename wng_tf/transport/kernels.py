"""The space of test functions: random Fourier features, and the Gaussian kernel that they approach."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wng_tf.natural_gradient.scalars import scalar

__all__ = ["GaussianKernel", "RandomFeatures"]

#: From weights [K, B] to λ = Σ_k w_k K(y_k, ·) on the points y [K, B], differentiable in where it is taken alone: neither
#: in the points that it is expanded around nor in the weights, which the caller holds constant.
Expansion = Callable[[tf.Tensor], tf.Tensor]

# cos(2π t) for |t| ≤ 1/2 as a polynomial in t², by Chebyshev's points: off by 1.1e-8 at most.
COSINE = (
    0.9999999891,
    -19.7392044995,
    64.9391174599,
    -85.4501395309,
    60.1676309510,
    -25.9675992484,
    6.5286581610,
)


def _cosine(angles: tf.Tensor) -> tf.Tensor:
    """cos, differentiable; in float32 a third as long as XLA's on the CPU, which calls a function for every number."""
    if angles.dtype != tf.float32:
        return tf.cos(angles)
    turns = angles * (0.5 / np.pi)
    square = tf.square(turns - tf.floor(turns + 0.5))
    result = COSINE[-1] * square + COSINE[-2]
    for coefficient in COSINE[-3::-1]:
        result = result * square + coefficient
    return result


class GaussianKernel(NamedTuple):
    """K(x, y) = exp(-|x - y|² / (2 s²)): random features without end, and cheaper than a hundred of them."""

    bandwidth: tf.Tensor | float
    """s, in the unit of the points."""

    def gram(self, x: tf.Tensor) -> tf.Tensor:
        """K(x_j, x_k) [..., K, K] within the points x [..., K, d]."""
        return self.cross(x, x)

    def cross(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """K(x_j, y_k) [..., K, K'], differentiable, for x [..., K, d] and y [..., K', d]."""
        distances = tf.reduce_sum(tf.square(x[..., :, tf.newaxis, :] - y[..., tf.newaxis, :, :]), axis=-1)
        return tf.exp(-0.5 * distances / tf.square(scalar(self.bandwidth, x.dtype)))

    def held_gram(self, y: tf.Tensor) -> tf.Tensor:
        """K(y_j, y_k) [..., K, K] with y_j held constant: differentiable in the second argument alone."""
        return self.cross(tf.stop_gradient(y), y)

    def held(self, y: tf.Tensor) -> tuple[tf.Tensor, Expansion]:
        """The Gram matrices [K, K, B] of points y [B, K, d], held constant, and λ on those points.

        By coordinates, which takes half the time of transposing afterwards.
        """
        along = tf.unstack(tf.transpose(y, [2, 1, 0]))
        distances = tf.add_n([tf.square(tf.stop_gradient(a)[:, tf.newaxis] - a) for a in along])
        gram = tf.exp(-0.5 * distances / tf.square(scalar(self.bandwidth, y.dtype)))
        return tf.stop_gradient(gram), lambda weights: tf.reduce_sum(gram * weights[:, tf.newaxis], axis=0)


class RandomFeatures(NamedTuple):
    """φ(x) = √(2/R) cos(Ω x + b) with Ω ~ N(0, 1/s²), b ~ U[0, 2π): φ(x)·φ(y) approaches the Gaussian kernel."""

    omega: tf.Tensor
    """Ω [R, d], in one over the unit of the points."""
    phase: tf.Tensor
    """b [R]."""

    @classmethod
    def sample(cls, dimension: int, num_features: int, bandwidth: float, seed: int) -> RandomFeatures:
        """R features of a kernel of bandwidth s; the same seed gives the same features, scaled by 1/s."""
        if num_features < 1 or bandwidth <= 0.0:
            raise ValueError(
                f"RandomFeatures.sample: num_features is {num_features} and bandwidth {bandwidth}; both must be "
                "positive. For the exact kernel use GaussianKernel(bandwidth)."
            )
        rng = np.random.default_rng(seed)
        omega = rng.standard_normal((num_features, dimension)) / bandwidth
        phase = rng.uniform(0.0, 2.0 * np.pi, num_features)
        return cls(tf.constant(omega, tf.float32), tf.constant(phase, tf.float32))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """φ(x) [..., R], differentiable, for x [..., d]."""
        omega, phase = tf.cast(self.omega, x.dtype), tf.cast(self.phase, x.dtype)
        angles = tf.matmul(tf.reshape(x, [-1, omega.shape[1]]), omega, transpose_b=True) + phase
        features = _cosine(angles) * (2.0 / omega.shape[0]) ** 0.5
        return tf.reshape(features, tf.concat([tf.shape(x)[:-1], [omega.shape[0]]], axis=0))

    def gram(self, x: tf.Tensor) -> tf.Tensor:
        """φ(x_j)·φ(x_k) [..., K, K] within the points x [..., K, d]."""
        features = self(x)
        return tf.matmul(features, features, transpose_b=True)

    def cross(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """φ(x_j)·φ(y_k) [..., K, K'], differentiable, for x [..., K, d] and y [..., K', d]."""
        return tf.matmul(self(x), self(y), transpose_b=True)

    def held_gram(self, y: tf.Tensor) -> tf.Tensor:
        """φ(y_j)·φ(y_k) [..., K, K] with y_j held constant; the features are computed once."""
        features = self(y)
        return tf.matmul(tf.stop_gradient(features), features, transpose_b=True)

    def held(self, y: tf.Tensor) -> tuple[tf.Tensor, Expansion]:
        """The Gram matrices [K, K, B] of points y [B, K, d], held constant, and λ on those points.

        λ = φ · Σ_k w_k φ(y_k) goes through the features: its derivative through the Gram matrices would cost as much as they.
        """
        features = self(y)
        fixed = tf.stop_gradient(features)

        def expansion(weights: tf.Tensor) -> tf.Tensor:
            coefficients = tf.matmul(tf.transpose(weights)[:, tf.newaxis], fixed)
            return tf.transpose(tf.matmul(features, coefficients, transpose_b=True)[..., 0])

        return tf.transpose(tf.matmul(fixed, fixed, transpose_b=True), [1, 2, 0]), expansion
