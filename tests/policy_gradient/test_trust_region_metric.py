"""Products with the exact metrics against dense matrices, and the damped solve against NumPy."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import block_diag

from baselines_compat.policies import build_policy
from wng_tf.policies import heads
from wng_tf.policy_gradient.metrics.exact import policy_metric
from wng_tf.policy_gradient.metrics.wasserstein import whiten
from wng_tf.policy_gradient.steps.solve import solve_metric

CASES = [(name, discrete) for name in ("kl", "wasserstein") for discrete in (False, True)]
ROWS = 30


SPACES = {
    "gaussian": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
    "categorical": gym.spaces.Discrete(3),
    "choices": gym.spaces.MultiDiscrete([2, 3]),
    "switches": gym.spaces.MultiBinary(2),
}


@pytest.fixture(scope="module", params=SPACES)
def policy(request):
    """A policy that is not near its initial one, whose logits or means would be nearly 0."""
    actions = SPACES[request.param]
    made = build_policy(gym.spaces.Box(-1.0, 1.0, (3,), np.float32), actions, num_layers=1, num_hidden=5, activation="tanh")
    made.set_flat(made.get_flat() + 0.5 * np.random.default_rng(0).standard_normal(made.size))
    return made


@pytest.fixture(scope="module")
def observations():
    return tf.constant(np.random.default_rng(1).standard_normal((ROWS, 3)), tf.float32)


@pytest.fixture(scope="module")
def jacobian_and_flat(policy, observations):
    """∂flat/∂θ [B, params, P] and flat [B, params], in float64, one entry of flat at a time."""
    weights = policy.unflatten(policy.get_flat())
    weights = [tf.convert_to_tensor(w) for w in weights][: policy.num_policy_weights]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        flat = policy.pd_flat(weights, observations)
    rows = [
        policy.flatten(tape.gradient(flat, weights, output_gradients=unit, unconnected_gradients="zero"))
        for unit in np.eye(flat.shape.num_elements(), dtype=np.float32).reshape(-1, *flat.shape)
    ]
    jacobian = np.stack(rows).reshape(*flat.shape, -1)
    return jacobian.astype(np.float64), flat.numpy().astype(np.float64)


def of_choice(name, row):
    p = np.exp(row - np.log(np.exp(row).sum()))
    fisher = np.diag(p) - np.outer(p, p)
    edges = -(p[:, None] + p[None, :])
    np.fill_diagonal(edges, 0.0)
    laplacian = edges - np.diag(edges.sum(axis=1))
    return fisher if name == "kl" else fisher @ np.linalg.pinv(laplacian) @ fisher


def dense_matrix(name, policy, jacobian, flat):
    """E_s[Jᵀ A J], A written out as a matrix for every state."""
    matrices = []
    for row in flat:
        if not policy.discrete:
            variance = np.exp(2.0 * row[2:])
            diagonal = [*(1.0 / variance), 2.0, 2.0] if name == "kl" else [1.0, 1.0, *variance]
            matrices.append(np.diag(diagonal))
            continue
        if isinstance(policy.action_space, gym.spaces.MultiBinary):
            slope = np.exp(row) / (1.0 + np.exp(row)) ** 2
            matrices.append(np.diag(slope if name == "kl" else slope**2))
            continue
        counts = getattr(policy.action_space, "nvec", [len(row)])
        matrices.append(block_diag(*(of_choice(name, logits) for logits in np.split(row, np.cumsum(counts)[:-1]))))
    return np.einsum("bip,bij,bjq->pq", jacobian, np.array(matrices), jacobian) / len(flat)


@pytest.mark.parametrize("name", ["kl", "wasserstein"])
def test_product_is_that_of_the_dense_matrix(policy, observations, jacobian_and_flat, name):
    matrix = dense_matrix(name, policy, *jacobian_and_flat)
    product = policy_metric(policy, tensors(policy), observations, heads.of_policy(policy).geometries[name])
    for seed in range(3):
        vector = np.random.default_rng(seed).standard_normal(policy.policy_size).astype(np.float32)
        expected = matrix @ vector
        error = np.linalg.norm(product(tf.constant(vector)) - expected) / np.linalg.norm(expected)
        assert error < 1e-6


def tensors(policy):
    return [tf.convert_to_tensor(w) for w in policy.unflatten(policy.get_flat())]


@pytest.mark.parametrize("name", ["kl", "wasserstein"])
def test_product_is_that_of_the_hessian_of_the_mean_distance(policy, observations, name):
    found = heads.of_policy(policy).geometries[name]
    weights = tensors(policy)[: policy.num_policy_weights]
    vector = tf.constant(np.random.default_rng(5).standard_normal(policy.policy_size), tf.float32)
    old = policy.pd_flat(weights, observations)
    with tf.GradientTape() as outer:
        outer.watch(weights)
        with tf.GradientTape() as inner:
            inner.watch(weights)
            distance = tf.reduce_mean(found.distance(old, policy.pd_flat(weights, observations)))
        slope = policy.flatten(inner.gradient(distance, weights, unconnected_gradients="zero"))
        along = tf.tensordot(slope, vector, 1)
    hessian_product = policy.flatten(outer.gradient(along, weights, unconnected_gradients="zero"))
    product = policy_metric(policy, tensors(policy), observations, found)(vector)
    scale = np.abs(hessian_product).max()
    np.testing.assert_allclose(2.0 * found.curvature * product, hessian_product, rtol=1e-4, atol=1e-5 * scale)


# ---- the damped solve ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def system():
    rng = np.random.default_rng(2)
    factor = rng.standard_normal((20, 12))
    return factor @ factor.T / 12, rng.standard_normal(20)


def solved(matrix, gradient, iterations=40, damping=0.05, **kwargs):
    matrix = tf.constant(matrix)
    return solve_metric(tf.constant(gradient), lambda v: tf.linalg.matvec(matrix, v), damping, iterations, **kwargs)


def test_solution_is_numpys(system):
    matrix, gradient = system
    epsilon = 0.05 * gradient @ matrix @ gradient / (gradient @ gradient)
    expected = np.linalg.solve(matrix + epsilon * np.eye(20), gradient)
    found = solved(*system)
    np.testing.assert_allclose(found.direction, expected, rtol=1e-6)
    np.testing.assert_allclose(found.epsilon, epsilon)
    np.testing.assert_allclose(found.slope, gradient @ expected, rtol=1e-6)
    norms = np.linalg.norm(gradient) * np.linalg.norm(expected)
    np.testing.assert_allclose(found.cosine, gradient @ expected / norms, rtol=1e-6)
    assert found.residual < 1e-4 and found.finite


@pytest.mark.parametrize("start", [None, 3.0])
def test_an_absolute_damping_is_epsilon_itself(system, start):
    matrix, gradient = system
    start = None if start is None else tf.constant(np.random.default_rng(3).standard_normal(20))
    found = solved(*system, damping=0.3, start=start, relative=False)
    np.testing.assert_allclose(found.direction, np.linalg.solve(matrix + 0.3 * np.eye(20), gradient), rtol=1e-5)
    np.testing.assert_allclose(found.epsilon, 0.3)
    assert found.residual < 1e-4 and solved(*system, damping=0.0, relative=False).epsilon > 0.0


@pytest.mark.parametrize("start", [None, 3.0])
def test_residual_is_what_is_left(system, start):
    matrix, gradient = system
    start = None if start is None else tf.constant(np.random.default_rng(3).standard_normal(20))
    found = solved(*system, iterations=3, start=start)
    left = (matrix + found.epsilon.numpy() * np.eye(20)) @ found.direction.numpy() - gradient
    np.testing.assert_allclose(found.residual, np.linalg.norm(left) / np.linalg.norm(gradient), rtol=1e-6)
    assert found.residual > 1e-3


def test_a_warm_start_at_the_solution_is_kept_whatever_its_scale(system):
    exact = solved(*system).direction
    again = solved(*system, iterations=2, start=-7.0 * exact)
    np.testing.assert_allclose(again.direction, exact, rtol=1e-4)
    assert again.residual < 1e-5


def test_a_warm_start_never_hurts_the_quadratic(system):
    matrix, gradient = system
    start = tf.constant(np.random.default_rng(4).standard_normal(20))
    found = solved(*system, iterations=1, start=start)
    d = found.direction.numpy()
    assert 0.5 * d @ (matrix + found.epsilon.numpy() * np.eye(20)) @ d - gradient @ d < 0.0
    np.testing.assert_allclose(solved(*system, start=start).direction, solved(*system).direction, rtol=1e-5)
    np.testing.assert_allclose(
        solved(*system, start=tf.zeros(20, tf.float64)).direction, solved(*system).direction, rtol=1e-7
    )


def test_the_direction_does_not_depend_on_the_scale_of_the_metric(system):
    matrix, gradient = system
    np.testing.assert_allclose(
        1e6 * solved(1e6 * matrix, gradient, 5).direction, solved(matrix, gradient, 5).direction, rtol=1e-7
    )


def test_nothing_to_solve_for_a_zero_gradient(system):
    found = solved(system[0], np.zeros(20))
    np.testing.assert_array_equal(found.direction, np.zeros(20))


def test_whitening_inverts_the_similarity():
    rng = np.random.default_rng(6)
    jacobian, root = rng.standard_normal((6, 9)), rng.standard_normal((6, 30))
    similarity = root @ root.T / 30
    rows = whiten(tf.constant(jacobian), tf.constant(similarity), jitter=1e-9).numpy()
    np.testing.assert_allclose(rows.T @ rows, jacobian.T @ np.linalg.solve(similarity, jacobian), rtol=1e-5, atol=1e-6)


def test_whitening_bears_repeated_basis_points():
    """A basis point drawn twice makes L singular; the estimate is then that of the one point."""
    rng = np.random.default_rng(7)
    jacobian, root = rng.standard_normal((3, 9)), rng.standard_normal((3, 30))
    twice = [0, 1, 2, 2]
    expected = jacobian.T @ np.linalg.solve(root @ root.T / 30, jacobian)
    rows = whiten(tf.constant(jacobian[twice]), tf.constant(root[twice] @ root[twice].T / 30)).numpy()
    np.testing.assert_allclose(rows.T @ rows, expected, rtol=1e-4, atol=1e-4)
