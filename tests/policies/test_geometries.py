"""Distances between policies and their metrics, against TFP, Hessians, and a Laplacian built edge by edge."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from wng_tf.policies.heads import categorical, gaussian

tfd = tfp.distributions
CASES = [(name, discrete) for name in ("kl", "wasserstein") for discrete in (False, True)]


def find(name: str, discrete: bool):
    return (categorical if discrete else gaussian).GEOMETRIES[name]


def flats(seed: int, rows: int = 3, params: int = 4, scale: float = 0.7) -> tf.Tensor:
    return tf.constant(scale * np.random.default_rng(seed).standard_normal((rows, params)))


def laplacian(p: np.ndarray) -> np.ndarray:
    """Of the complete graph with weight p_i + p_j on each edge."""
    matrix = np.zeros((len(p), len(p)))
    for i in range(len(p)):
        for j in range(i):
            weight = p[i] + p[j]
            matrix[[i, j], [i, j]] += weight
            matrix[[i, j], [j, i]] -= weight
    return matrix


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - np.log(np.exp(x).sum(-1, keepdims=True)))


@pytest.mark.parametrize("discrete", [False, True])
def test_kl_is_tfps(discrete):
    old, new = flats(0), flats(1)

    def made(flat):
        if discrete:
            return tfd.Categorical(logits=flat)
        return tfd.MultivariateNormalDiag(flat[:, :2], tf.exp(flat[:, 2:]))

    expected = tfd.kl_divergence(made(old), made(new))
    np.testing.assert_allclose(find("kl", discrete).distance(old, new), expected, rtol=1e-10)


def test_w2_of_gaussians_is_bures():
    from wng_tf.transport import squared_w2

    old, new = flats(2), flats(3)
    for p, q, distance in zip(old, new, gaussian.gaussian_w2(old, new), strict=True):
        covariances = [tf.linalg.diag(tf.exp(2.0 * x[2:])) for x in (p, q)]
        expected = squared_w2(p[:2], covariances[0], q[:2], covariances[1])
        np.testing.assert_allclose(distance, expected, rtol=1e-7)


@pytest.mark.parametrize(("name", "discrete"), CASES)
def test_metric_is_the_hessian_of_the_distance(name, discrete):
    found = find(name, discrete)
    old = flats(10, rows=20, scale=1.5)
    with tf.GradientTape(persistent=True) as outer:
        new = tf.identity(old)
        outer.watch(new)
        with tf.GradientTape() as inner:
            inner.watch(new)
            distance = found.distance(old, new)
        slopes = inner.gradient(distance, new)
        columns = tf.unstack(slopes, axis=1)
    np.testing.assert_allclose(slopes, np.zeros_like(slopes), atol=1e-12)
    for column, unit in zip(columns, np.eye(4), strict=True):
        expected = outer.gradient(column, new)
        product = 2.0 * found.curvature * found.metric(old, tf.tile(unit[np.newaxis], [20, 1]))
        np.testing.assert_allclose(product, expected, rtol=1e-8, atol=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_categorical_metric_inverts_the_laplacian(seed, count):
    logits, tangent = (flats(seed + k, rows=1, params=count, scale=2.0) for k in (0, 1))
    p = softmax(logits.numpy()[0])
    derivative = np.diag(p) - np.outer(p, p)
    expected = derivative @ np.linalg.pinv(laplacian(p)) @ derivative @ tangent.numpy()[0]
    np.testing.assert_allclose(categorical.categorical_wasserstein(logits, tangent)[0], expected, rtol=1e-7, atol=1e-12)


def test_categorical_distance_is_the_energy_of_the_straight_line():
    old, new = flats(4, rows=1), flats(5, rows=1)
    start, change = softmax(old.numpy()[0]), softmax(new.numpy()[0]) - softmax(old.numpy()[0])
    times = (np.arange(2000) + 0.5) / 2000
    energy = np.mean([change @ np.linalg.pinv(laplacian(start + t * change)) @ change for t in times])
    np.testing.assert_allclose(categorical.categorical_w2(old, new)[0], energy, rtol=1e-4)


def test_two_actions_are_at_distance_one():
    probabilities = np.array([[0.3, 0.7], [1.0 - 1e-12, 1e-12], [0.9, 0.1]])
    others = np.array([[0.6, 0.4], [1e-12, 1.0 - 1e-12], [0.9, 0.1]])
    distance = categorical.categorical_w2(tf.math.log(probabilities), tf.math.log(others))
    np.testing.assert_allclose(distance, [0.3**2, 1.0, 0.0], atol=1e-9)


def test_wasserstein_stays_finite_where_the_policy_becomes_deterministic():
    """The price of moving a fixed amount of probability, or of the mean: Fisher's explodes, Wasserstein's converges."""
    change = np.array([[-0.5, 0.3, 0.2]])
    prices = {}
    for name in ("kl", "wasserstein"):
        found = find(name, True)
        for tiny in (1e-2, 1e-6):
            p = np.array([1.0 - 2.0 * tiny, tiny, tiny])
            tangent = tf.constant(change / p)  # moves the probabilities by `change`, up to a constant in the logits
            prices[name, tiny] = float(tf.reduce_sum(tangent * found.metric(tf.math.log(p[np.newaxis]), tangent)))
    assert prices["kl", 1e-6] > 1e3 * prices["kl", 1e-2]
    expected = change[0] @ np.linalg.pinv(laplacian(np.array([1.0, 0.0, 0.0]))) @ change[0]
    np.testing.assert_allclose(prices["wasserstein", 1e-6], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["kl", "wasserstein"])
def test_categorical_geometry_knows_neither_the_order_of_actions_nor_a_constant_in_the_logits(name):
    found = find(name, True)
    old, new, order = flats(6), flats(7), [2, 0, 3, 1]
    expected = found.distance(old, new)
    np.testing.assert_allclose(found.distance(old + 3.0, new - 5.0), expected, rtol=1e-10)
    np.testing.assert_allclose(
        found.distance(tf.gather(old, order, axis=1), tf.gather(new, order, axis=1)), expected, rtol=1e-10
    )


@pytest.mark.parametrize(("name", "discrete"), CASES)
def test_small_distances_survive_float32(name, discrete):
    """The line search compares distances down to 1e-6 or so: they must not drown in rounding."""
    found = find(name, discrete)
    old, step = flats(8, scale=0.3), 1e-3 * flats(9)
    exact = found.distance(old, old + step).numpy()
    single = found.distance(*(tf.cast(x, tf.float32) for x in (old, old + step))).numpy()
    assert exact.max() < 1e-5
    np.testing.assert_allclose(single, exact, rtol=2e-3)


def test_units():
    gaussian = tf.constant([[0.3, -2.0, np.log(2.0), np.log(3.0)], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(find("wasserstein", False).unit(gaussian), (4 + 9 + 1 + 1) / 4, rtol=1e-12)
    uniform = tf.zeros([5, 4], tf.float64)
    np.testing.assert_allclose(find("wasserstein", True).unit(uniform), 0.75, rtol=1e-12)
    assert find("kl", True).unit(uniform) == 1.0
