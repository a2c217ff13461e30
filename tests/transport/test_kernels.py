"""Random features and the kernel they approach."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.transport import GaussianKernel, RandomFeatures

POINTS = np.random.default_rng(0).normal(size=(2, 6, 3))


def test_gaussian_kernel():
    kernel = GaussianKernel(0.7)
    cross = kernel.cross(tf.constant(POINTS), tf.constant(POINTS[:, :4]))
    for b in range(2):
        for j in range(6):
            for k in range(4):
                squared = np.sum((POINTS[b, j] - POINTS[b, k]) ** 2)
                np.testing.assert_allclose(cross[b, j, k], np.exp(-squared / (2 * 0.49)), rtol=1e-12)
    np.testing.assert_allclose(kernel.gram(tf.constant(POINTS))[..., :4], cross)


def test_features_are_the_printed_ones():
    features = RandomFeatures.sample(3, 50, 0.7, seed=1)
    expected = np.sqrt(2 / 50) * np.cos(POINTS @ features.omega.numpy().T.astype(float) + features.phase.numpy())
    np.testing.assert_allclose(features(tf.constant(POINTS)), expected, atol=1e-12)
    np.testing.assert_allclose(
        features.cross(tf.constant(POINTS), tf.constant(POINTS[:, :4])),
        np.einsum("bjr,bkr->bjk", expected, expected[:, :4]),
        atol=1e-12,
    )


@pytest.mark.parametrize("spread", [0.1, 1.0, 20.0])
def test_single_precision_features_and_slopes(spread):
    """The polynomial that stands for the cosine in float32, against NumPy's in float64."""
    points = (spread * POINTS).astype(np.float32)
    features = RandomFeatures.sample(3, 50, 0.7, seed=1)
    x = tf.constant(points)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(features(x))
    omega, phase = (a.numpy().astype(float) for a in features)
    angles = points.astype(float) @ omega.T + phase
    rounding = 1e-6 + 2e-6 * spread  # of the angles themselves, which reach some hundreds
    np.testing.assert_allclose(features(x) / np.sqrt(2 / 50), np.cos(angles), atol=rounding)
    slopes = -np.sqrt(2 / 50) * np.sin(angles) @ omega
    np.testing.assert_allclose(tape.gradient(total, x), slopes, atol=50 * rounding)


@pytest.mark.parametrize("kernel", [GaussianKernel(0.7), RandomFeatures.sample(3, 50, 0.7, seed=1)])
def test_test_functions_on_held_points(kernel):
    """Values and slopes are those through the Gram matrices, differentiated in their second argument alone."""
    y, weights = tf.constant(POINTS), np.random.default_rng(1).normal(size=(6, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y)
        gram, expansion = kernel.held(y)
        values = expansion(tf.constant(weights))
        expected = tf.einsum("jb,bjk->kb", weights, kernel.cross(tf.constant(POINTS), y))
    np.testing.assert_allclose(gram, tf.transpose(kernel.gram(y), [1, 2, 0]), atol=1e-12)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    np.testing.assert_allclose(tape.gradient(values, y), tape.gradient(expected, y), atol=1e-12)
    assert tape.gradient(gram, y) is None


def test_features_approach_the_kernel():
    exact = GaussianKernel(0.7).gram(tf.constant(POINTS))
    errors = [
        np.abs(RandomFeatures.sample(3, count, 0.7, seed=1).gram(tf.constant(POINTS)) - exact).max()
        for count in (100, 40_000)
    ]
    assert errors[1] < 0.03 < errors[0]


def test_bandwidth_scales_the_same_draw():
    a, b = (RandomFeatures.sample(3, 20, bandwidth, seed=4) for bandwidth in (1.0, 0.5))
    np.testing.assert_allclose(a(2.0 * tf.constant(POINTS)), b(tf.constant(POINTS)), atol=1e-5)
    other = RandomFeatures.sample(3, 20, 1.0, seed=5)
    assert not np.allclose(a.omega, other.omega)
    phase = RandomFeatures.sample(3, 20_000, 1.0, seed=0).phase.numpy()
    # Uniform on [0, 2π), as in Rahimi and Recht; the released code drew them from a normal distribution.
    assert phase.min() >= 0.0 and phase.max() < 2 * np.pi and abs(phase.mean() - np.pi) < 0.1


def test_bad_arguments_are_named():
    for count, bandwidth in ((0, 1.0), (10, 0.0)):
        with pytest.raises(ValueError, match="must be positive"):
            RandomFeatures.sample(3, count, bandwidth, seed=0)
