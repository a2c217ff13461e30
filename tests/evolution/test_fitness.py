"""Scores and the ES gradient, against the printed sums and known gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wng_tf.evolution.fitness import mirrored_gradient, shape
from wng_tf.evolution.population import mirrored, perturbations

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30).map(np.array)


@given(VALUES)
def test_normalized_scores(values):
    scores = shape(values, "normalized")
    assert abs(scores.mean()) < 1e-6
    assert scores.std() == pytest.approx(1.0, abs=1e-6) or (scores == 0).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(scores[order]) >= 0).all()


@given(VALUES, st.floats(0.1, 10), st.floats(-100, 100))
def test_ranks_do_not_see_a_monotone_map(values, factor, shift):
    ranks = shape(values, "centred_ranks")
    assert ranks.min() >= -0.5
    assert ranks.max() <= 0.5
    assert abs(ranks.sum()) < 1e-9
    moved = np.sign(values) * np.abs(values) ** 3
    if len(np.unique(moved)) == len(np.unique(values)):
        np.testing.assert_array_equal(ranks, shape(moved, "centred_ranks"))


def test_ranks_of_a_known_case():
    np.testing.assert_allclose(shape(np.array([3.0, -1.0, 3.0, 10.0]), "centred_ranks"), [0, -0.5, 0, 0.5])


def test_equal_returns_have_no_scores():
    np.testing.assert_array_equal(shape(np.full(8, 0.1 + 0.2), "normalized"), np.zeros(8))


def test_unknown_shaping():
    with pytest.raises(ValueError, match="'rank'"):
        shape(np.zeros(3), "rank")


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.01, 2.0), st.integers(0, 1000))
def test_gradient_against_the_loop_over_eq_13(n, size, sigma, seed):
    """Eq. 13 over all 2n perturbed parameters, with the corrected factor 1/(Nσ²); the baseline F_θ cancels."""
    rng = np.random.default_rng(seed)
    theta, xi, scores = rng.standard_normal(size), rng.standard_normal((n, size)), rng.standard_normal(2 * n)
    perturbed = mirrored(theta, xi, sigma)
    baseline = rng.standard_normal()
    expected = np.zeros(size)
    for score, parameters in zip(scores, perturbed, strict=True):
        expected += (score - baseline) * (parameters - theta)
    expected /= 2 * n * sigma**2
    np.testing.assert_allclose(mirrored_gradient(scores, xi, sigma), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("unit_norm", [False, True])
def test_unbiased_on_a_quadratic(unit_norm):
    """F = -θᵀHθ/2 + bᵀθ has the same gradient b - Hθ after smoothing, whatever σ."""
    rng = np.random.default_rng(0)
    size = 6
    root = rng.standard_normal((size, size))
    hessian, linear, theta = root @ root.T, rng.standard_normal(size), rng.standard_normal(size)
    true = linear - hessian @ theta
    xi = perturbations(0, 0, (60_000, size), unit_norm=unit_norm)
    for sigma in (0.02, 0.5):
        population = mirrored(theta, xi, sigma)
        returns = -0.5 * np.einsum("ni,ij,nj->n", population, hessian, population) + population @ linear
        plus, minus = np.split(returns, 2)
        one_each = (plus - minus)[:, np.newaxis] * xi / (2 * sigma)
        error = one_each.std(axis=0) / np.sqrt(len(xi))
        estimate = mirrored_gradient(returns, xi, sigma)
        np.testing.assert_allclose(estimate, one_each.mean(axis=0), rtol=1e-9)
        assert (np.abs(estimate - true) < 4.5 * error).all()
        assert error.max() < 0.03 * np.abs(true).max() + 0.05


def test_the_earlier_word_for_normalized_scores_still_means_them():
    from wng_tf.evolution.config import EvolutionConfig
    from wng_tf.training import run_flags, settings

    assert settings.build(EvolutionConfig, {"shaping": "normalised"}) == settings.build(EvolutionConfig, {})
    assert run_flags.parse(["--shaping=normalised"]) == {"shaping": "normalized"}
