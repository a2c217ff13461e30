"""The terms of the loss against NumPy, and the directions of their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.policy_gradient import objectives

RNG = np.random.default_rng(0)
LOG_PROBS, OLD, ADVANTAGES, VALUES, RETURNS, OLD_VALUES = RNG.normal(scale=0.5, size=(6, 200)).astype(np.float32)
RATIO = np.exp(LOG_PROBS - OLD)


def gradient(function, x: np.ndarray) -> np.ndarray:
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = function(x)
    return tape.gradient(y, x).numpy()


def test_importance_ratio_and_surrogate():
    np.testing.assert_allclose(objectives.importance_ratio(LOG_PROBS, OLD), RATIO, rtol=1e-6)
    np.testing.assert_array_equal(objectives.importance_ratio(OLD, OLD), 1.0)
    np.testing.assert_allclose(objectives.importance_surrogate(RATIO, ADVANTAGES), -(RATIO * ADVANTAGES).mean(), rtol=1e-5)


def test_the_surrogates_gradient_is_minus_advantage_times_score():
    def loss(log_probs):
        return objectives.importance_surrogate(objectives.importance_ratio(log_probs, tf.constant(OLD)), ADVANTAGES)

    np.testing.assert_allclose(gradient(loss, OLD), -ADVANTAGES / 200, rtol=1e-5)
    np.testing.assert_allclose(gradient(loss, LOG_PROBS), -RATIO * ADVANTAGES / 200, rtol=1e-5)


def test_clipped_surrogate():
    expected = -np.minimum(RATIO * ADVANTAGES, np.clip(RATIO, 0.8, 1.2) * ADVANTAGES).mean()
    np.testing.assert_allclose(objectives.clipped_surrogate(RATIO, ADVANTAGES, 0.2), expected, rtol=1e-5)
    slopes = gradient(lambda ratio: objectives.clipped_surrogate(ratio, ADVANTAGES, 0.2), RATIO)
    stopped = ((RATIO > 1.2) & (ADVANTAGES > 0)) | ((RATIO < 0.8) & (ADVANTAGES < 0))
    assert 20 < stopped.sum() < 180
    np.testing.assert_array_equal(slopes[stopped], 0.0)
    np.testing.assert_allclose(slopes[~stopped], -ADVANTAGES[~stopped] / 200, rtol=1e-5)


def test_value_loss():
    squared = (VALUES - RETURNS) ** 2
    np.testing.assert_allclose(objectives.value_loss(VALUES, RETURNS, OLD_VALUES), 0.5 * squared.mean(), rtol=1e-5)
    clipped = OLD_VALUES + np.clip(VALUES - OLD_VALUES, -0.2, 0.2)
    expected = 0.5 * np.maximum(squared, (clipped - RETURNS) ** 2).mean()
    np.testing.assert_allclose(objectives.value_loss(VALUES, RETURNS, OLD_VALUES, 0.2), expected, rtol=1e-5)
    assert expected > 0.5 * squared.mean()


def test_diagnostics():
    expected = 0.5 * ((LOG_PROBS - OLD) ** 2).mean()
    np.testing.assert_allclose(objectives.approximate_kl(LOG_PROBS, OLD), expected, rtol=1e-5)
    outside = (RATIO < 0.8) | (RATIO > 1.2)
    np.testing.assert_allclose(objectives.clip_fraction(RATIO, 0.2), outside.mean(), rtol=1e-5)


def test_normalized_advantages():
    normalized = objectives.normalized(tf.constant(ADVANTAGES)).numpy()
    expected = (ADVANTAGES - ADVANTAGES.mean()) / (ADVANTAGES.std() + 1e-8)
    np.testing.assert_allclose(normalized, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(objectives.normalized(tf.fill([5], 3.0)), 0.0)


@pytest.mark.parametrize(
    ("coefficient", "kl", "expected"),
    [
        (1.0, 0.01, 1.0),
        (1.0, 0.0067, 1.0),
        (1.0, 0.0066, 0.5),
        (1.0, 0.0149, 1.0),
        (1.0, 0.0151, 2.0),
        (0.5, 1.0, 1.0),
        (1e-6, 0.0, 1e-6),
        (1e6, 1.0, 1e6),
    ],
)
def test_the_rule_for_the_kl_coefficient(coefficient, kl, expected):
    """Schulman et al. 2017, Section 4, at a target of 0.01."""
    assert objectives.adapted_kl_coef(coefficient, kl, 0.01) == expected
