"""Distances between policies and their metrics, against TFP, Hessians, and a Laplacian built edge by edge."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from wng_tf.policies.heads import categorical, gaussian, product

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


def assert_metric_is_hessian(found, old) -> None:
    """At distributions [B, params]: the distance's slope is zero, and its Hessian 2 curvature A."""
    rows, params = old.shape
    with tf.GradientTape(persistent=True) as outer:
        new = tf.identity(old)
        outer.watch(new)
        with tf.GradientTape() as inner:
            inner.watch(new)
            distance = found.distance(old, new)
        slopes = inner.gradient(distance, new)
        columns = tf.unstack(slopes, axis=1)
    np.testing.assert_allclose(slopes, np.zeros_like(slopes), atol=1e-12)
    for column, unit in zip(columns, np.eye(params), strict=True):
        expected = outer.gradient(column, new)
        product = 2.0 * found.curvature * found.metric(old, tf.tile(unit[np.newaxis], [rows, 1]))
        np.testing.assert_allclose(product, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("name", "discrete"), CASES)
def test_metric_is_the_hessian_of_the_distance(name, discrete):
    found = find(name, discrete)
    old = flats(10, rows=20, scale=1.5)
    assert_metric_is_hessian(found, old)


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


# ---- products ------------------------------------------------------------------------------------------------------

CHOICES = (2, 3, 3, 2)
PRODUCTS = {
    "choices": (product.geometries_of_choices(CHOICES), sum(CHOICES)),
    "switches": (product.BERNOULLI, 4),
}


@pytest.mark.parametrize("name", ["kl", "wasserstein"])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_metric_of_a_product_is_the_hessian_of_its_distance(kind, name):
    geometries, size = PRODUCTS[kind]
    found, old = geometries[name], flats(20, rows=8, params=size, scale=1.5)
    assert_metric_is_hessian(found, old)


@pytest.mark.parametrize("name", ["kl", "wasserstein"])
def test_a_product_is_the_sum_of_its_parts(name):
    found, part = product.geometries_of_choices(CHOICES)[name], categorical.GEOMETRIES[name]
    old, new, tangent = (flats(seed, params=sum(CHOICES)) for seed in (30, 31, 32))
    cuts = [tf.split(x, CHOICES, axis=1) for x in (old, new, tangent)]
    distances = [part.distance(before, after) for before, after in zip(*cuts[:2], strict=True)]
    np.testing.assert_allclose(found.distance(old, new), sum(distances), rtol=1e-12)
    blocks = [part.metric(before, along) for before, along in zip(cuts[0], cuts[2], strict=True)]
    np.testing.assert_allclose(found.metric(old, tangent), np.concatenate(blocks, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.unit(old), np.mean([part.unit(before) for before in cuts[0]]), rtol=1e-12)


@pytest.mark.parametrize("name", ["kl", "wasserstein"])
def test_switches_are_choices_of_two(name):
    old, new = flats(33), flats(34)
    beside = [tf.reshape(tf.stack([tf.zeros_like(x), x], axis=-1), [3, 8]) for x in (old, new)]
    of_two = product.geometries_of_choices((2,) * 4)[name]
    np.testing.assert_allclose(product.BERNOULLI[name].distance(old, new), of_two.distance(*beside), rtol=1e-12)
    np.testing.assert_allclose(product.BERNOULLI[name].unit(old), of_two.unit(beside[0]), rtol=1e-12)


def test_kl_of_products_is_tfps_and_w2_of_switches_is_that_of_their_probabilities():
    old, new = flats(35), flats(36)
    pair = (tfd.Independent(tfd.Bernoulli(logits=x), 1) for x in (old, new))
    np.testing.assert_allclose(product.BERNOULLI["kl"].distance(old, new), tfd.kl_divergence(*pair), rtol=1e-10)
    moved = tf.sigmoid(new) - tf.sigmoid(old)
    expected = tf.reduce_sum(tf.square(moved), axis=1)
    np.testing.assert_allclose(product.BERNOULLI["wasserstein"].distance(old, new), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", PRODUCTS)
def test_drawn_products_have_the_frequencies_and_scores_of_their_distribution(kind):
    """The kernel estimator's draws: their coordinates, and log-probabilities whose gradient is the score."""
    head = product.MultiCategorical((2, 3)) if kind == "choices" else product.Bernoulli(2)
    logits = flats(37, rows=2, params=head.num_outputs)
    pd = head.pdtype().pdfromflat(logits)
    noise = tf.constant(head.noise(np.random.default_rng(0), (2, 20_000)))
    drawn = head.drawn(pd, noise)
    assert drawn.shape == (2, 20_000, head.num_coordinates)
    if kind == "choices":
        expected = np.concatenate([softmax(logits.numpy()[:, :2]), softmax(logits.numpy()[:, 2:])], axis=1)
        actions = np.stack([np.argmax(drawn[..., :2], -1), np.argmax(drawn[..., 2:], -1)], axis=-1)
    else:
        expected, actions = 1.0 / (1.0 + np.exp(-logits.numpy())), drawn.numpy()
    np.testing.assert_allclose(np.mean(drawn, axis=1), expected, atol=0.015)
    np.testing.assert_array_equal(head.coordinates(actions.astype(int)), drawn)
    few = drawn[:, :7]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        distribution = head.pdtype().pdfromflat(logits)
        total = head.log_prob_of_drawn(distribution, tf.cast(few, tf.float64))
    each = sum(distribution.logp(tf.constant(actions[:, k])) for k in range(7))
    np.testing.assert_allclose(total, each, rtol=1e-5)
    score = tf.reduce_sum(tf.cast(few, tf.float64) - expected[:, np.newaxis], axis=1)
    np.testing.assert_allclose(tape.gradient(total, logits), score, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("head", [product.MultiCategorical((2, 3, 3)), product.Bernoulli(3)], ids=["choices", "switches"])
def test_log_probabilities_in_numpy_are_those_of_the_distribution(head):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(9, head.num_outputs)).astype(np.float32)
    actions = head.acts(outputs, head.draw(np.zeros(0), rng, 9))
    expected = head.pdtype().pdfromflat(tf.constant(outputs)).logp(tf.constant(actions))
    np.testing.assert_allclose(head.log_prob(outputs, np.zeros(0, np.float32), actions), expected, rtol=1e-5, atol=1e-6)
