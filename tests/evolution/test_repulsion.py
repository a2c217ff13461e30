"""Distances to earlier behaviour against POT and plain loops."""

from __future__ import annotations

import os

os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")

import numpy as np
import ot
from scipy.stats import spearmanr

from wng_tf.evolution.repulsion import fitted_transport, kernel_distance, novelty, point_transport

RNG = np.random.default_rng(0)


def test_point_transport_is_pots_transport_from_one_point():
    x, y = RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3))
    expected = [ot.emd2(np.ones(1), np.full(4, 0.25), ot.dist(point[np.newaxis], y)) for point in x]
    np.testing.assert_allclose(point_transport(x, y), expected, rtol=1e-10)


def test_novelty_against_a_loop():
    x, archive = RNG.standard_normal((6, 2)), RNG.standard_normal((9, 2))
    for k in (1, 3, 50):
        expected = []
        for point in x:
            distances = sorted(float(np.linalg.norm(point - old)) for old in archive)[:k]
            expected.append(sum(distances) / len(distances))
        np.testing.assert_allclose(novelty(x, archive, k), expected)


def test_novelty_is_zero_at_the_archive():
    archive = RNG.standard_normal((5, 2))
    np.testing.assert_array_equal(novelty(archive, archive, 1), np.zeros(5))


def test_fitted_test_functions_order_perturbations_as_w2_does():
    """What BGES uses is the order of the population, not the value; fitted test functions must keep it."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((100, 6)) * [3, 3, 1, 1, 1, 0.3] + rng.standard_normal(6)
        y = rng.standard_normal((2, 6)) * 0.5
        exact = point_transport(x, y)
        for features in (0, 1000):
            fitted = fitted_transport(x, y, num_features=features, seed=seed)
            assert spearmanr(exact, fitted).statistic > 0.95


def test_released_constants_leave_a_bounded_distance():
    """s = 0.1 and γ = 1, in metres: what is fitted grows for two metres and then stops, as the kernel distance does."""
    y = 0.3 * RNG.standard_normal((2, 6))
    near = y[0] + np.linspace(0, 2, 9)[:, np.newaxis] / np.sqrt(6)
    far = 20 * RNG.standard_normal((60, 6)) + 40
    constants = {"bandwidth": 0.1, "gamma": 1.0, "step_size": 0.05, "steps": 25}
    for measure in (
        lambda x: fitted_transport(x, y, num_features=1000, seed=0, **constants),
        lambda x: kernel_distance(x, y, bandwidth=0.7),
    ):
        distances = measure(np.concatenate([near, far]))
        assert (np.diff(distances[:6]) > 0).all()
        assert np.ptp(distances[9:]) < 0.03 * np.ptp(distances)
        assert distances[9:].min() > 0.95 * distances[8]
    assert np.ptp(point_transport(far, y)) > 100 * np.ptp(point_transport(near, y))


def test_kernel_distance_against_a_loop():
    x, y = RNG.standard_normal((5, 2)), RNG.standard_normal((3, 2))
    expected = [1 - np.mean([np.exp(-np.sum((a - b) ** 2) / (2 * 0.7**2)) for b in y]) for a in x]
    np.testing.assert_allclose(kernel_distance(x, y, 0.7), expected)
    np.testing.assert_allclose(kernel_distance(9 * x, 9 * y), kernel_distance(x, y))


def test_fitted_distances_have_the_unit_of_the_embeddings():
    x, y = RNG.standard_normal((40, 3)), RNG.standard_normal((2, 3))
    small = fitted_transport(x, y, num_features=0, seed=1)
    np.testing.assert_allclose(fitted_transport(1000 * x, 1000 * y, num_features=0, seed=1), 1e6 * small, rtol=1e-6)


def test_coinciding_embeddings_are_at_distance_zero():
    x = np.ones((4, 2))
    np.testing.assert_allclose(fitted_transport(x, x[:1], num_features=0, seed=0), 0.0, atol=1e-6)
    np.testing.assert_array_equal(point_transport(x, x[:1]), np.zeros(4))
