"""Basis functions: derivatives of a Gaussian kernel at sampled points (Algorithm 3, line 1)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from wng_tf.natural_gradient.scalars import scalar
from wng_tf.natural_gradient.seeds import Seed, stateless_seed
from wng_tf.natural_gradient.small_linalg import FEW

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
        """Takes the points Y [M, d], `embeddings` at `sample_indices`, and the coordinates [M] as given.

        s² is the mean of |Y_m - X_n|² over m and n times 10^log_bandwidth. Where every embedding coincides that mean
        is zero; s² is then 10^log_bandwidth, and each basis function measures the mean of one coordinate.
        """
        embeddings = tf.stop_gradient(tf.convert_to_tensor(embeddings))
        points = tf.gather(embeddings, sample_indices)
        squared_bandwidth = _squared_bandwidth(_squared_distances(points, embeddings), log_bandwidth)
        return cls(points, tf.cast(coordinate_indices, tf.int32), squared_bandwidth)

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

    @classmethod
    def with_products(
        cls,
        embeddings: tf.Tensor,
        sample_indices: tf.Tensor,
        coordinate_indices: tf.Tensor,
        log_bandwidth: float | tf.Tensor = 0.0,
        *,
        dimension: int | None = None,
        shares: tf.Tensor | None = None,
    ) -> tuple[KernelBasis, tf.Tensor, tf.Tensor]:
        """`from_indices`, with C [M, N, d'] and L [M, M] (float64) at the embeddings [N, d] themselves.

        C is along their first d' coordinates, by default all; with shares [N] the mean over samples in L is weighted by
        them. These are the numbers of `gradients` and `similarity` up to rounding, in a third of the time where the basis
        functions are few. For then, with D_m = Y_m - x and a_m = D_{m, i_m} / s², L comes from

            C_m · C_k = K_m K_k / s⁴ (δ_{i_m, i_k} - a_k D_{k, i_m} - a_m D_{m, i_k} + a_m a_k D_m · D_k).
        """
        x = tf.stop_gradient(tf.convert_to_tensor(embeddings))
        size = x.shape[1] if dimension is None else dimension
        points, coordinates = tf.gather(x, sample_indices), tf.cast(coordinate_indices, tf.int32)
        difference = points[:, tf.newaxis] - x
        # As a product with ones, which XLA does not compute anew wherever it is used.
        squared = tf.reshape(tf.square(difference), [-1, x.shape[1]])
        distances = tf.reshape(tf.linalg.matvec(squared, tf.ones([x.shape[1]], x.dtype)), [-1, x.shape[0]])
        basis = cls(points, coordinates, _squared_bandwidth(distances, log_bandwidth))
        weights = tf.exp(-0.5 * distances / basis.squared_bandwidth) / basis.squared_bandwidth
        own = tf.gather(points, coordinates, axis=1, batch_dims=1)[:, tf.newaxis]
        along = (own - tf.transpose(tf.gather(x, coordinates, axis=1))) / basis.squared_bandwidth
        unit = tf.one_hot(coordinates, size, dtype=x.dtype)[:, tf.newaxis]
        slopes = weights[..., tf.newaxis] * unit - (weights * along)[..., tf.newaxis] * difference[..., :size]
        wide = basis, x, size, tf.cast(weights, tf.float64), tf.cast(along, tf.float64), shares
        if points.shape[0] is None or points.shape[0] > FEW:
            return basis, slopes, _summed_products(*wide)
        return basis, slopes, _mean_products(*wide)

    def _kernel(self, difference: tf.Tensor) -> tf.Tensor:
        return tf.exp(-0.5 * tf.reduce_sum(tf.square(difference), axis=-1) / self.squared_bandwidth)


def _from_first_point(basis: KernelBasis, x: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Samples [N, d'] and points [M, d'] in float64, from the first point as the origin.

    So nothing cancels where all lie close together far from zero.
    """
    origin = basis.points[0]
    return tf.cast((x - origin)[:, :size], tf.float64), tf.cast((basis.points - origin)[:, :size], tf.float64)


def _mean_products(
    basis: KernelBasis, x: tf.Tensor, size: int, weights: tf.Tensor, along: tf.Tensor, shares: tf.Tensor | None
) -> tf.Tensor:
    """The mean of C_m · C_k over the samples [M, M], in float64, from weights K_m / s² and a_m [M, N]: pair by pair."""
    near, points = _from_first_point(basis, x, size)
    across = tf.matmul(points, near, transpose_b=True)
    between = tf.matmul(points, points, transpose_b=True)[:, :, tf.newaxis]
    inner = between - across[:, tf.newaxis] - across + tf.reduce_sum(tf.square(near), axis=1)
    columns = tf.transpose(tf.gather(near, basis.coordinates, axis=1))
    # D_{m, i_k} and D_{k, i_m}, [M (m), M (k), N].
    others = tf.gather(points, basis.coordinates, axis=1)
    forth = others[:, :, tf.newaxis] - columns
    back = tf.transpose(others)[:, :, tf.newaxis] - columns[:, tf.newaxis]
    same = tf.cast(basis.coordinates[:, tf.newaxis] == basis.coordinates, tf.float64)[:, :, tf.newaxis]
    first, second = along[:, tf.newaxis], along
    terms = same - second * back - first * forth + first * second * inner
    products = weights[:, tf.newaxis] * weights * terms
    return tf.reduce_mean(products if shares is None else products * tf.cast(shares, tf.float64), axis=2)


def _summed_products(
    basis: KernelBasis, x: tf.Tensor, size: int, weights: tf.Tensor, along: tf.Tensor, shares: tf.Tensor | None
) -> tf.Tensor:
    """The same with the sums over samples taken first: one product of matrices [5 M, N] and [N, 2 M], in place of M² N terms.

    With w_m = K_m / s², b_m = w_m a_m and D_m = Y_m - x, each term of C_m · C_k is a sum of products of a function of (m, x),
    a function of (k, x), and a number for (m, k).
    """
    near, points = _from_first_point(basis, x, size)
    bent = weights * along
    columns = tf.transpose(tf.gather(near, basis.coordinates, axis=1))  # x_{i_m}
    across = tf.matmul(points, near, transpose_b=True)  # Y_m · x
    left = [weights, bent, weights * columns, bent * across, bent * tf.reduce_sum(tf.square(near), axis=1)]
    means = tf.concat(left, axis=0) / tf.cast(tf.shape(x)[0], tf.float64)
    if shares is not None:
        means *= tf.cast(shares, tf.float64)
    table = tf.matmul(means, tf.concat([weights, bent], axis=0), transpose_b=True)
    count = basis.points.shape[0] or tf.shape(basis.points)[0]
    by_weight, by_bent = (tf.reshape(half, [5, count, count]) for half in (table[:, :count], table[:, count:]))
    same = tf.cast(basis.coordinates[:, tf.newaxis] == basis.coordinates, tf.float64)
    # Σ w_m b_k D_{k, i_m}, which taken the other way round is the third term.
    crossed = tf.transpose(tf.gather(points, basis.coordinates, axis=1)) * by_bent[0] - by_bent[2]
    inner = tf.matmul(points, points, transpose_b=True) * by_bent[1] - by_bent[3] - tf.transpose(by_bent[3]) + by_bent[4]
    return same * by_weight[0] - crossed - tf.transpose(crossed) + inner


def similarity(gradients: tf.Tensor) -> tf.Tensor:
    """L = C Cᵀ / N [M, M], in float64, from C = basis.gradients(x) [M, N, d] (Algorithm 3, line 4).

    In float64 whatever the type of C: sums of squares in float32 lose half its digits, and the small eigenvalues
    of L with them.
    """
    flat = tf.reshape(tf.cast(gradients, tf.float64), [tf.shape(gradients)[0], -1])
    return tf.matmul(flat, flat, transpose_b=True) / tf.cast(tf.shape(gradients)[1], tf.float64)


def _squared_bandwidth(distances: tf.Tensor, log_bandwidth: float | tf.Tensor) -> tf.Tensor:
    mean_distance = tf.reduce_mean(distances)
    mean_distance = tf.where(mean_distance > 0.0, mean_distance, tf.ones_like(mean_distance))
    return mean_distance * tf.pow(tf.constant(10.0, distances.dtype), scalar(log_bandwidth, distances.dtype))


def _squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    # Differences before squares: |a|² + |b|² - 2 a·b cancels when the points lie close together far from zero.
    return tf.reduce_sum(tf.square(a[:, tf.newaxis] - b), axis=-1)
