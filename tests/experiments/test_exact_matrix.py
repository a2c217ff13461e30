"""Rows of metrics against products and explicit Jacobians; their comparison against dense matrices."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from baselines_compat.policies import build_policy
from wng_tf.experiments import exact_matrix, metric_rows
from wng_tf.policies.heads import gaussian
from wng_tf.policy_gradient.metrics.exact import policy_metric

STATES = 12


@pytest.fixture(scope="module")
def policy():
    spaces = (gym.spaces.Box(-1.0, 1.0, (size,), np.float32) for size in (3, 2))
    return build_policy(*spaces, num_layers=1, num_hidden=4, activation="tanh")


@pytest.fixture(scope="module")
def theta(policy):
    return (policy.get_flat() + 0.4 * np.random.default_rng(0).standard_normal(policy.size)).astype(np.float32)


@pytest.fixture(scope="module")
def observations():
    return np.random.default_rng(1).standard_normal((STATES, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def exact(policy, theta, observations):
    return metric_rows.exact_rows(policy, theta, observations, chunk=5)


def test_exact_rows_are_those_of_the_exact_product(policy, theta, observations, exact):
    weights = [tf.convert_to_tensor(w) for w in policy.unflatten(theta)]
    product = policy_metric(policy, weights, tf.constant(observations), gaussian.GEOMETRIES["wasserstein"])
    vector = np.random.default_rng(2).standard_normal(policy.policy_size).astype(np.float32)
    np.testing.assert_allclose(exact.T @ (exact @ vector), product(tf.constant(vector)), rtol=1e-4, atol=1e-5)
    assert exact.shape == (4 * STATES, policy.policy_size)


def sample_rows(policy, theta, observations, noise):
    """∂a/∂θ of the drawn actions a = μ + σ z, over √N, from the rows of μ and σ."""
    rows = metric_rows.exact_rows(policy, theta, observations, chunk=STATES).reshape(STATES, 2, 2, -1)
    return (rows[:, 0] + noise[:, :, None] * rows[:, 1]).reshape(2 * STATES, -1)


@pytest.mark.parametrize("embedding", metric_rows.EMBEDDINGS)
def test_with_all_basis_functions_the_estimate_is_that_of_the_samples(policy, theta, observations, embedding):
    """As many basis functions as sample coordinates span them all: Ĝ = (1/N) Σ_n (∂a_n/∂θ)ᵀ ∂a_n/∂θ."""
    count = 2 * STATES
    rows = metric_rows.KernelRows(policy, theta, observations, embedding=embedding, log_bandwidth=-1.5)(count, seed=3)
    noise = np.random.default_rng(3).standard_normal((STATES, 1, 2)).astype(np.float32)[:, 0]
    expected = sample_rows(policy, theta, observations, noise)
    estimate, truth = rows.T @ rows, expected.T @ expected
    assert np.linalg.norm(estimate - truth) < 0.02 * np.linalg.norm(truth)


@pytest.mark.parametrize("score", [False, True])
def test_few_basis_functions_see_a_part(policy, theta, observations, exact, score):
    gradient = np.random.default_rng(4).standard_normal(policy.policy_size)
    estimate = metric_rows.KernelRows(policy, theta, observations, num_actions=4, score=score)
    compare = metric_rows.Comparison(exact, gradient)
    found = [compare(estimate(count, seed=0)) for count in (1, 60)]
    assert found[0].rank == 1 and found[1].rank > 5
    assert found[0].trace < found[1].trace
    if not score:  # the score's noise adds to the trace
        assert found[1].trace < 1.2 and found[1].error < found[0].error and found[1].cosine > found[0].cosine


def test_comparison_is_that_of_the_dense_matrices(exact):
    rng = np.random.default_rng(5)
    estimate, gradient = rng.standard_normal((7, exact.shape[1])), rng.standard_normal(exact.shape[1])
    found = metric_rows.Comparison(exact, gradient, 0.05)(estimate)
    g, e = exact.T.astype(float) @ exact, estimate.T @ estimate
    directions = []
    for matrix in (g, e):
        epsilon = 0.05 * gradient @ matrix @ gradient / (gradient @ gradient)
        directions.append(np.linalg.solve(matrix + epsilon * np.eye(len(gradient)), gradient))
    a, b = directions
    np.testing.assert_allclose(found.trace, np.trace(e) / np.trace(g), rtol=1e-6)
    np.testing.assert_allclose(found.error, np.linalg.norm(e - g) / np.linalg.norm(g), rtol=1e-5)
    np.testing.assert_allclose(found.cosine, a @ b / np.linalg.norm(a) / np.linalg.norm(b), rtol=1e-5)
    assert found.rank == 7


def test_the_exact_matrix_agrees_with_itself(exact):
    gradient = np.random.default_rng(6).standard_normal(exact.shape[1])
    found = metric_rows.Comparison(exact, gradient)(exact)
    np.testing.assert_allclose([found.trace, found.cosine], 1.0, rtol=1e-9)
    assert found.error < 1e-6


def test_everything_is_written(tmp_path):
    agreement = metric_rows.Agreement(0.5, 0.25, 0.75, 3)
    run = ("Hopper-v5", "wtrpo", 0)
    rows = [exact_matrix.Row(run, kind.name, m, 0, agreement) for kind in exact_matrix.KINDS for m in (5, 10)]
    paths = exact_matrix.write(rows, {run: 0.4}, tmp_path, 64, 0.01)
    assert {p.name for p in paths} == {"exact_matrix.png", "exact_matrix.svg", "exact_matrix.csv", "README.md"}
    assert "| 1 action of a state | 10 | 0.500 | 0.250 | 0.750 | 3 |" in (tmp_path / "README.md").read_text()
    assert len((tmp_path / "exact_matrix.csv").read_text().splitlines()) == 1 + len(rows)
