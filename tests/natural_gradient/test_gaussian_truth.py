"""The bottom rung of the ladder: the estimator against the closed form of a Gaussian (Appendix D.3 of the paper)."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.natural_gradient import (
    KernelBasis,
    evolution_jacobian,
    natural_gradient,
    reparameterised_jacobian,
    score_jacobian,
    similarity,
)

EPSILON = 1e-3
SIZES = {1: (5_000, 50), 2: (5_000, 50), 5: (20_000, 200)}
SEEDS = {1: 4, 2: 4, 5: 1}


def cosine_and_error(direction, gradient, information):
    """Against (G + ε I)⁻¹ g with the exact information matrix G, given as a diagonal or in full."""
    information = np.diag(information) if np.ndim(information) == 1 else information
    expected = np.linalg.solve(information + EPSILON * np.eye(len(gradient)), gradient)
    direction = np.asarray(direction)
    cosine = direction @ expected / np.linalg.norm(direction) / np.linalg.norm(expected)
    return cosine, np.linalg.norm(direction - expected) / np.linalg.norm(expected)


def gaussian_estimate(dimension, form, seed, dtype=tf.float64):
    """q = N(μ, diag(exp(2v))): cosine and relative error of one estimate for a random gradient."""
    rng = np.random.default_rng(seed)
    num_samples, num_basis = SIZES[dimension]
    draws = rng.normal(size=dimension), 0.3 * rng.normal(size=dimension), rng.normal(size=(num_samples, dimension))
    mean, log_std, noise = (tf.constant(draw, dtype) for draw in draws)
    gradient = rng.normal(size=2 * dimension)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([mean, log_std])
        embeddings = mean + tf.exp(log_std) * noise
        held = tf.stop_gradient(embeddings)
        log_probs = tf.reduce_sum(-0.5 * tf.square((held - mean) * tf.exp(-log_std)) - log_std, axis=1)
    basis = KernelBasis.sample(held, num_basis, seed=seed)
    slopes = basis.gradients(held)
    if form == "score":
        jacobian = score_jacobian(tape, log_probs, basis(held), [mean, log_std])
    else:
        jacobian = reparameterised_jacobian(tape, embeddings, slopes, [mean, log_std])
    result = natural_gradient(tf.constant(gradient, dtype), jacobian, similarity(slopes), EPSILON)
    # W2² = |Δμ|² + |Δσ|², so that G is the identity in μ and exp(2v) in v.
    information = np.concatenate([np.ones(dimension), np.exp(2.0 * log_std.numpy())])
    return cosine_and_error(result.direction, gradient, information)


@pytest.mark.parametrize("dimension", SIZES)
def test_reparameterised(dimension):
    cosines, errors = np.transpose(
        [gaussian_estimate(dimension, "reparameterised", seed) for seed in range(SEEDS[dimension])]
    )
    assert np.all(cosines > 0.999)
    assert np.all(errors < 0.03)


def test_float32_is_as_good():
    for dimension in (1, 2):
        cosine, error = gaussian_estimate(dimension, "reparameterised", 0, tf.float32)
        assert cosine > 0.999 and error < 0.03


@pytest.mark.parametrize("dimension", SIZES)
def test_score(dimension):
    cosines, errors = np.transpose([gaussian_estimate(dimension, "score", seed) for seed in range(SEEDS[dimension])])
    assert np.all(cosines > 0.99)
    assert np.mean(errors) < 0.12


@pytest.mark.parametrize("mirrored", [False, True])
def test_evolution_of_a_linear_behaviour(mirrored):
    """X = A θ̃ + b: the metric of the perturbed behaviours is AᵀA in the mean θ."""
    rng = np.random.default_rng(0)
    weights, offset, theta = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=4)
    gradient = rng.normal(size=4)
    num_samples, num_basis, sigma = 20_000, 60, 0.3
    perturbations = rng.normal(size=(num_samples, 4))
    population = np.concatenate([perturbations, -perturbations]) if mirrored else perturbations
    embeddings = (theta + sigma * population) @ weights.T + offset
    basis = KernelBasis.sample(embeddings, num_basis, seed=0)
    jacobian = evolution_jacobian(perturbations, basis(embeddings), sigma, mirrored=mirrored)
    result = natural_gradient(gradient, jacobian, similarity(basis.gradients(embeddings)), EPSILON)
    # In the null space of A the answer is g / ε, which would hide the rest: compare without it.
    projector = np.linalg.pinv(weights) @ weights
    expected = np.linalg.solve(weights.T @ weights + EPSILON * np.eye(4), projector @ gradient)
    seen = projector @ np.asarray(result.direction)
    cosine = seen @ expected / np.linalg.norm(seen) / np.linalg.norm(expected)
    assert cosine > 0.99
    assert np.linalg.norm(seen - expected) / np.linalg.norm(expected) < 0.15
    assert result.cosine < 0.99  # the metric did something


def test_five_basis_functions_see_five_directions():
    """With the paper's M = 5 the other directions keep 1/ε: by design, and worth knowing."""
    rng = np.random.default_rng(0)
    mean, noise = tf.constant(rng.normal(size=30)), tf.constant(rng.normal(size=(500, 30)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(mean)
        embeddings = mean + noise
    basis = KernelBasis.sample(embeddings, 5, seed=0)
    slopes = basis.gradients(embeddings)
    jacobian = reparameterised_jacobian(tape, embeddings, slopes, [mean])
    metric = jacobian.numpy().T @ np.linalg.pinv(similarity(slopes), hermitian=True) @ jacobian.numpy()
    eigenvalues = np.linalg.eigvalsh(metric)
    np.testing.assert_allclose(eigenvalues[:25], 0.0, atol=1e-12)
    # The true metric is the identity, of which a few functions catch a part, never more than there is.
    assert np.all(eigenvalues[25:] > 0.1) and np.all(eigenvalues[25:] < 1.02)
