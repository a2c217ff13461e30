"""The kernel basis against its definition, and how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from wng_tf.natural_gradient import KernelBasis, similarity

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(7, 3)) + 5.0
SAMPLES, COORDINATES = [1, 4, 4, 6], [0, 2, 1, 2]


def kernel(y, x, squared_bandwidth):
    return np.exp(-np.sum((y - x) ** 2) / (2.0 * squared_bandwidth))


def basis():
    return KernelBasis.from_indices(EMBEDDINGS, SAMPLES, COORDINATES)


def test_bandwidth_is_the_mean_squared_distance():
    distances = [np.sum((EMBEDDINGS[m] - x) ** 2) for m in SAMPLES for x in EMBEDDINGS]
    np.testing.assert_allclose(basis().squared_bandwidth, np.mean(distances), rtol=1e-12)
    wide = KernelBasis.from_indices(EMBEDDINGS, SAMPLES, COORDINATES, log_bandwidth=2.0)
    np.testing.assert_allclose(wide.squared_bandwidth, 100.0 * np.mean(distances), rtol=1e-12)


def test_values_are_derivatives_of_the_kernel():
    functions, step = basis(), 1e-5
    values = functions(EMBEDDINGS)
    for m, (sample, coordinate) in enumerate(zip(SAMPLES, COORDINATES, strict=True)):
        for n, x in enumerate(EMBEDDINGS):
            y, shift = EMBEDDINGS[sample], step * np.eye(3)[coordinate]
            s2 = float(functions.squared_bandwidth)
            slope = (kernel(y + shift, x, s2) - kernel(y - shift, x, s2)) / (2.0 * step)
            np.testing.assert_allclose(values[m, n], slope, atol=1e-9)


def test_gradients_are_derivatives_of_the_values():
    functions, x = basis(), tf.constant(EMBEDDINGS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = functions(x)
    expected = tf.einsum("mnnd->mnd", tape.jacobian(values, x))
    np.testing.assert_allclose(functions.gradients(x), expected, atol=1e-14)


def test_similarity_is_the_mean_inner_product_of_gradients():
    slopes = RNG.normal(size=(4, 7, 3))
    expected = [[sum(a[n] @ b[n] for n in range(7)) / 7 for b in slopes] for a in slopes]
    np.testing.assert_allclose(similarity(slopes), expected, rtol=1e-12)
    assert similarity(slopes.astype(np.float32)).dtype == tf.float64


def test_the_basis_is_a_constant():
    x = tf.Variable(EMBEDDINGS)
    with tf.GradientTape() as tape:
        functions = KernelBasis.sample(x, 3, seed=0)
        total = tf.reduce_sum(functions.points) + functions.squared_bandwidth
    assert tape.gradient(total, x) is None


@settings(deadline=None, max_examples=30)
@given(
    num_samples=st.integers(1, 12),
    dimension=st.integers(1, 4),
    num_basis=st.integers(1, 30),
    seed=st.integers(-(2**31), 2**63),
)
def test_points_are_drawn_evenly_from_the_embeddings(num_samples, dimension, num_basis, seed):
    embeddings = np.arange(num_samples * dimension, dtype=np.float32).reshape(num_samples, dimension)
    functions = KernelBasis.sample(embeddings, num_basis, seed=seed)
    drawn = np.round(functions.points[:, 0] / dimension).astype(int)
    np.testing.assert_array_equal(functions.points, embeddings[drawn])
    counts = np.bincount(drawn, minlength=num_samples)
    assert counts.max() - counts.min() <= 1
    assert np.all((functions.coordinates >= 0) & (functions.coordinates < dimension))
    again = KernelBasis.sample(embeddings, num_basis, seed=seed)
    np.testing.assert_array_equal(functions.points, again.points)


def test_seeds_decide_the_draw_and_compilation_does_not():
    embeddings = tf.constant(RNG.normal(size=(64, 3)), tf.float32)

    @tf.function(jit_compile=True)
    def compiled(seed):
        return KernelBasis.sample(embeddings, 80, seed=seed)

    draws = []
    for seed in ([0, 1], [1, 0], [7, -3]):
        eager, fast = KernelBasis.sample(embeddings, 80, seed=seed), compiled(tf.constant(seed))
        np.testing.assert_array_equal(eager.points, fast.points)
        np.testing.assert_array_equal(eager.coordinates, fast.coordinates)
        draws.append(eager.points.numpy().tobytes())
    assert len(set(draws)) == 3


def test_every_point_and_coordinate_is_drawn_equally_often():
    embeddings = np.repeat(np.arange(5.0)[:, np.newaxis], 3, axis=1)
    draw = tf.function(lambda seed: KernelBasis.sample(embeddings, 2, seed=seed))
    draws = [draw(tf.constant([seed, 0])) for seed in range(300)]
    points = np.bincount(np.concatenate([draw.points[:, 0] for draw in draws]).astype(int), minlength=5)
    coordinates = np.bincount(np.concatenate([draw.coordinates for draw in draws]), minlength=3)
    # 600 draws; the standard deviations are about 10 and 12.
    assert np.all(np.abs(points - 120) < 45) and np.all(np.abs(coordinates - 200) < 55)


def test_unknown_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float64)])
    def draw(embeddings):
        return KernelBasis.sample(embeddings, 10, seed=3).points

    np.testing.assert_array_equal(draw(EMBEDDINGS), KernelBasis.sample(EMBEDDINGS, 10, seed=3).points)


def test_embeddings_that_all_coincide():
    same = np.ones((6, 2))
    functions = KernelBasis.from_indices(same, [0, 3], [0, 1])
    # Each function then measures the mean of its coordinate.
    np.testing.assert_allclose(functions.gradients(same), np.eye(2)[:, np.newaxis].repeat(6, axis=1))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_basis is 0"):
        KernelBasis.sample(EMBEDDINGS, 0, seed=0)
    with pytest.raises(ValueError, match="must be"):
        KernelBasis.sample(np.zeros((0, 3)), 2, seed=0)
    with pytest.raises(ValueError, match="must be"):
        KernelBasis.sample(np.zeros(3), 2, seed=0)


@pytest.mark.parametrize("num_basis", [1, 5, 12])
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("dimension", [None, 2])
def test_products_at_once_are_those_one_by_one(num_basis, offset, dimension):
    """Also far from the origin, where |x|² + |y|² - 2 x·y cancels, with repeated points, and with weighted samples."""
    rng = np.random.default_rng(0)
    x = (offset + rng.normal(size=(9, 4))).astype(np.float32)
    indices, coordinates = rng.integers(0, 9, num_basis), rng.integers(0, dimension or 4, num_basis)
    shares = rng.uniform(0.5, 1.5, 9).astype(np.float32)
    expected = KernelBasis.from_indices(x, indices, coordinates, 0.3)
    slopes = expected.gradients(tf.constant(x))[..., :dimension]
    for weights in (None, shares):
        basis, found, products = KernelBasis.with_products(x, indices, coordinates, 0.3, dimension=dimension, shares=weights)
        for one, two in zip(basis, expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5)
        np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-6)
        weighted = slopes if weights is None else slopes * np.sqrt(weights)[:, np.newaxis]
        np.testing.assert_allclose(products, similarity(weighted), rtol=1e-5, atol=1e-6)
        assert products.dtype == tf.float64
