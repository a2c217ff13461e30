"""Basis functions: derivatives of a Gaussian kernel at sampled points (Algorithm 3, line 1)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from wng_tf.natural_gradient.scalars import scalar
from wng_tf.natural_gradient.seeds import Seed, stateless_seed

__all__ = ["KernelBasis", "similarity"]


class KernelBasis(NamedTuple):
    """M functions h_m(x) = ∂_{i_m} K(Y_m, x) of the Gaussian kernel K(y, x) = exp(-|y - x|² / (2 s²)).

    A named tuple of tensors, so it passes through `tf.function`, `tf.while_loop` and `tf.nest` as it is. All three
    are constants: no gradient flows through them.
    """

    points: tf.Tensor
    """Y [M, d]."""
    coordinates: tf.Tensor
    """i [M], int32: the coordinate along which each kernel is differentiated."""
    squared_bandwidth: tf.Tensor
    """s² [], in the square of the embedding's unit."""

    @classmethod
    def sample(cls, embeddings: tf.Tensor, num_basis: int, *, seed: Seed, log_bandwidth: float = 0.0) -> KernelBasis:
        """Draws the points among the embeddings [N, d] and a coordinate for each, uniformly.

        Points are drawn without replacement as long as there are enough (M ≤ N); beyond that every embedding is
        taken once before any is taken again. `seed` is an int or a pair of int32 (a tensor will do inside a
        compiled loop); the same seed gives the same basis eagerly and compiled. `log_bandwidth` is the power of
        ten that multiplies the mean squared distance (see `from_indices`).
        """
        if num_basis < 1:
            raise ValueError(f"KernelBasis.sample: num_basis is {num_basis}, but must be at least 1.")
        embeddings = tf.convert_to_tensor(embeddings)
        static = embeddings.shape
        if static.rank != 2 or 0 in static.as_list():
            raise ValueError(f"KernelBasis.sample: embeddings must be [N, d] and not empty, but are {static}.")
        # Numbers where the shape is known: XLA needs them.
        num_samples, dimension = (
            size if size is not None else tf.shape(embeddings)[axis] for axis, size in enumerate(static)
        )
        point_seed, coordinate_seed = tf.unstack(tf.random.split(stateless_seed(seed), num=2, alg="philox"))
        # Enough shuffles for the case M > N. Keys are integers: uniform floats differ between eager and compiled code.
        shuffles = -(-num_basis // num_samples)
        keys = tf.random.stateless_uniform(
            [shuffles, num_samples], point_seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
        )
        indices = tf.reshape(tf.argsort(keys, axis=1), [-1])[:num_basis]
        coordinates = tf.random.stateless_uniform(
            [num_basis], coordinate_seed, minval=0, maxval=dimension, dtype=tf.int32, alg="philox"
        )
        return cls.from_indices(embeddings, indices, coordinates, log_bandwidth=log_bandwidth)

    @classmethod
    def from_indices(
        cls,
        embeddings: tf.Tensor,
        sample_indices: tf.Tensor,
        coordinate_indices: tf.Tensor,
        log_bandwidth: float | tf.Tensor = 0.0,
    ) -> KernelBasis:
        """Takes the points Y = embeddings[sample_indices] [M, d] and the coordinates [M] as given.

        s² is the mean of |Y_m - X_n|² over m and n times 10^log_bandwidth. Where every embedding coincides that mean
        is zero; s² is then 10^log_bandwidth, and each basis function measures the mean of one coordinate.
        """
        embeddings = tf.stop_gradient(tf.convert_to_tensor(embeddings))
        points = tf.gather(embeddings, sample_indices)
        mean_distance = tf.reduce_mean(_squared_distances(points, embeddings))
        mean_distance = tf.where(mean_distance > 0.0, mean_distance, tf.ones_like(mean_distance))
        scale = tf.pow(tf.constant(10.0, embeddings.dtype), scalar(log_bandwidth, embeddings.dtype))
        return cls(points, tf.cast(coordinate_indices, tf.int32), mean_distance * scale)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """h [M, N] at x [N, d], differentiable in x:  h_m(x) = -K (Y_m - x)_{i_m} / s²."""
        difference = self.points[:, tf.newaxis] - x
        along = tf.gather(difference, self.coordinates, axis=2, batch_dims=1)
        return -self._kernel(difference) * along / self.squared_bandwidth

    def gradients(self, x: tf.Tensor) -> tf.Tensor:
        """C [M, N, d] at x [N, d]:  ∂_i h_m(x) = K (δ_{i, i_m} / s² - D_{i_m} D_i / s⁴) with D = Y_m - x."""
        difference = self.points[:, tf.newaxis] - x
        along = tf.gather(difference, self.coordinates, axis=2, batch_dims=1) / self.squared_bandwidth
        unit = tf.one_hot(self.coordinates, tf.shape(x)[1], dtype=x.dtype)[:, tf.newaxis]
        weights = (self._kernel(difference) / self.squared_bandwidth)[..., tf.newaxis]
        return weights * (unit - along[..., tf.newaxis] * difference)

    def _kernel(self, difference: tf.Tensor) -> tf.Tensor:
        return tf.exp(-0.5 * tf.reduce_sum(tf.square(difference), axis=-1) / self.squared_bandwidth)


def similarity(gradients: tf.Tensor) -> tf.Tensor:
    """L = C Cᵀ / N [M, M], in float64, from C = basis.gradients(x) [M, N, d] (Algorithm 3, line 4).

    In float64 whatever the type of C: sums of squares in float32 lose half its digits, and the small eigenvalues
    of L with them.
    """
    flat = tf.reshape(tf.cast(gradients, tf.float64), [tf.shape(gradients)[0], -1])
    return tf.matmul(flat, flat, transpose_b=True) / tf.cast(tf.shape(gradients)[1], tf.float64)


def _squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    # Differences before squares: |a|² + |b|² - 2 a·b cancels when the points lie close together far from zero.
    return tf.reduce_sum(tf.square(a[:, tf.newaxis] - b), axis=-1)
