"""The space of test functions: random Fourier features, and the Gaussian kernel that they approach."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wng_tf.natural_gradient.scalars import scalar
from wng_tf.transport.sums import weighted_sums

__all__ = ["GaussianKernel", "RandomFeatures"]

#: From weights [K, B] to λ = Σ_k w_k K(y_k, ·) on the points y [K, B], differentiable in where it is taken alone: neither
#: in the points that it is expanded around nor in the weights, which the caller holds constant. A second argument, values
#: [K, B] that are known, or λ with a constant added, is what comes out in its place, with λ's derivative.
Expansion = Callable[..., tf.Tensor]

#: From weights [K, B] and what comes from above [K, B] to the derivative of λ on the points by these, [B, K, d].
_Pull = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

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


# Its derivative by t² times 2 t / 2π is that of cos by the angle.
COSINE_SLOPE = tuple(power * coefficient / np.pi for power, coefficient in enumerate(COSINE) if power)


def _cosine(angles: tf.Tensor) -> tf.Tensor:
    """cos, differentiable; in float32 a third as long as XLA's on the CPU, which calls a function for every number."""
    if angles.dtype != tf.float32:
        return tf.cos(angles)
    return _polynomial(COSINE, tf.square(_turns(angles)))


def _cosine_slope(angles: tf.Tensor) -> tf.Tensor:
    """-sin, the derivative of `_cosine`."""
    if angles.dtype != tf.float32:
        return -tf.sin(angles)
    turns = _turns(angles)
    return turns * _polynomial(COSINE_SLOPE, tf.square(turns))


def _turns(angles: tf.Tensor) -> tf.Tensor:
    """Angles in turns, without whole ones: in [-1/2, 1/2]."""
    turns = angles * (0.5 / np.pi)
    return turns - tf.floor(turns + 0.5)


def _polynomial(coefficients: Sequence[float], x: tf.Tensor) -> tf.Tensor:
    """Σ_i coefficients[i] x^i."""
    result = coefficients[-1] * x + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        result = result * x + coefficient
    return result


def _expansion(y: tf.Tensor, gram: tf.Tensor, pull: _Pull) -> Expansion:
    """λ on the points y [B, K, d] from their Gram matrices, with the derivative that `pull` knows a short way to."""

    def expansion(weights: tf.Tensor, values: tf.Tensor | None = None) -> tf.Tensor:
        def at(points: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            del points
            known = weighted_sums(gram, weights) if values is None else tf.identity(values)
            return known, functools.partial(pull, weights)

        return tf.custom_gradient(at)(y)

    return expansion


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

        The derivative Σ_k w_k K(y_k, y_j) (y_k - y_j) / s² is taken as sums over the Gram matrices again: differentiating
        these number by number takes as long as all else.
        """
        along = _coordinates(tf.stop_gradient(y))
        squared_bandwidth = tf.square(scalar(self.bandwidth, y.dtype))
        distances = tf.add_n([tf.square(a[:, tf.newaxis] - a) for a in along])
        gram = tf.exp(-0.5 * distances / squared_bandwidth)

        def pull(weights: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
            values = weighted_sums(gram, weights)
            slopes = [weighted_sums(gram, weights * a) - values * a for a in along]
            identity = tf.eye(tf.shape(gram)[0], dtype=y.dtype)
            turned = [tf.matmul(upstream * slope, identity, transpose_a=True) for slope in slopes]
            return tf.stack(turned, axis=2) / squared_bandwidth

        return gram, _expansion(y, gram, pull)


def _coordinates(y: tf.Tensor) -> list[tf.Tensor]:
    """Each coordinate [K, B] of points y [B, K, d], from the mean of their state.

    As a product, which gives them with the states last. XLA would take a transpose number by number wherever it is used.
    """
    size = y.shape[1] or tf.shape(y)[1]
    centring = tf.eye(size, dtype=y.dtype) - 1.0 / tf.cast(size, y.dtype)
    return [tf.matmul(centring, a, transpose_b=True) for a in tf.unstack(y, axis=2)]


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

    def _angles(self, x: tf.Tensor) -> tf.Tensor:
        """Ω x + b [n, R], for x [..., d] with n points in all."""
        # Ωᵀ beforehand, if it is known: a product with a transposed matrix XLA would take number by number.
        known = tf.get_static_value(self.omega)
        columns = tf.transpose(self.omega) if known is None else tf.constant(np.ascontiguousarray(known.T))
        return tf.matmul(tf.reshape(x, [-1, columns.shape[0]]), tf.cast(columns, x.dtype)) + tf.cast(self.phase, x.dtype)

    @property
    def _amplitude(self) -> float:
        return float(np.sqrt(2.0 / self.omega.shape[0]))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """φ(x) [..., R], differentiable, for x [..., d]."""
        features = _cosine(self._angles(x)) * self._amplitude
        return tf.reshape(features, tf.concat([tf.shape(x)[:-1], [self.omega.shape[0]]], axis=0))

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

        The derivative of λ = φ · Σ_k w_k φ(y_k) goes through the features: through the Gram matrices it would take as long as
        these.
        """
        angles = tf.stop_gradient(self._angles(y))
        shape = tf.concat([tf.shape(y)[:2], [self.omega.shape[0]]], axis=0)
        features = tf.reshape(_cosine(angles) * self._amplitude, shape)
        gram = tf.transpose(tf.matmul(features, features, transpose_b=True), [1, 2, 0])

        def pull(weights: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
            coefficients = tf.matmul(tf.transpose(weights)[:, tf.newaxis], features)
            slopes = tf.reshape(_cosine_slope(angles) * self._amplitude, shape) * coefficients
            by_points = tf.matmul(tf.reshape(slopes, tf.shape(angles)), tf.cast(self.omega, y.dtype))
            return tf.transpose(upstream)[..., tf.newaxis] * tf.reshape(by_points, tf.shape(y))

        return gram, _expansion(y, gram, pull)
