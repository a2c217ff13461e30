"""Closed forms between Gaussians against POT, TFP and each other."""

from __future__ import annotations

import os

os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")

import numpy as np
import ot
import tensorflow as tf
import tensorflow_probability as tfp

from wng_tf.transport import kl_diagonal, squared_w2, squared_w2_diagonal

RNG = np.random.default_rng(0)
MEANS = RNG.normal(size=(2, 4, 3))
STDS = np.exp(0.5 * RNG.normal(size=(2, 4, 3)))


def test_diagonal_w2_is_the_full_one_and_pots():
    expected = [
        ot.gaussian.bures_wasserstein_distance(MEANS[0, n], MEANS[1, n], np.diag(STDS[0, n] ** 2), np.diag(STDS[1, n] ** 2))
        ** 2
        for n in range(4)
    ]
    np.testing.assert_allclose(squared_w2_diagonal(MEANS[0], STDS[0], MEANS[1], STDS[1]), expected, rtol=1e-9)
    for n in range(4):
        covariances = [np.diag(std[n] ** 2) for std in STDS]
        full = squared_w2(MEANS[0, n], covariances[0], MEANS[1, n], covariances[1])
        np.testing.assert_allclose(full, expected[n], rtol=1e-9)


def test_full_w2_against_pot():
    roots = RNG.normal(size=(2, 3, 3))
    covariances = roots @ np.swapaxes(roots, 1, 2)
    expected = ot.gaussian.bures_wasserstein_distance(MEANS[0, 0], MEANS[1, 0], *covariances) ** 2
    np.testing.assert_allclose(squared_w2(MEANS[0, 0], covariances[0], MEANS[1, 0], covariances[1]), expected, rtol=1e-9)


def test_w2_of_degenerate_and_of_equal_gaussians():
    zero, point = np.zeros((3, 3)), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(squared_w2(point, zero, 0.0 * point, zero), 14.0, rtol=1e-12)
    covariance = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
    np.testing.assert_allclose(squared_w2(point, covariance, point, covariance), 0.0, atol=1e-12)


def test_kl_against_tfp():
    normal = tfp.distributions.MultivariateNormalDiag
    expected = tfp.distributions.kl_divergence(normal(MEANS[0], STDS[0]), normal(MEANS[1], STDS[1]))
    np.testing.assert_allclose(kl_diagonal(MEANS[0], STDS[0], MEANS[1], STDS[1]), expected, rtol=1e-12)


def test_both_vanish_only_where_the_distributions_agree():
    for function in (kl_diagonal, squared_w2_diagonal):
        np.testing.assert_allclose(function(MEANS[0], STDS[0], MEANS[0], STDS[0]), np.zeros(4), atol=1e-15)
        assert np.all(function(MEANS[0], STDS[0], MEANS[1], STDS[1]) > 0.0)


def test_second_order_expansion_is_the_metric():
    """W2² ≈ uᵀ G u with G = I in (μ, σ); KL ≈ ½ uᵀ F u with F = diag(1/σ², 2/σ²): what the natural gradients rest on."""
    mean, std, step = tf.constant(MEANS[0, 0]), tf.constant(STDS[0, 0]), 1e-4
    for direction in RNG.normal(size=(3, 6)):
        moved = mean + step * direction[:3], std + step * direction[3:]
        np.testing.assert_allclose(squared_w2_diagonal(mean, std, *moved), step**2 * direction @ direction, rtol=1e-6)
        fisher = np.concatenate([1.0 / std**2, 2.0 / std**2])
        np.testing.assert_allclose(
            kl_diagonal(mean, std, *moved), 0.5 * step**2 * direction @ (fisher * direction), rtol=1e-3
        )
