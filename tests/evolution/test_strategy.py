"""The update against naive loops, closed forms and its own limits."""

from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from baselines_compat.vec_env.slot import NonFiniteError
from wng_tf.algorithms import EVOLUTION_STRATEGIES
from wng_tf.envs import tasks
from wng_tf.evolution import population, strategy
from wng_tf.evolution.config import EvolutionConfig, resolve
from wng_tf.natural_gradient import KernelBasis, evolution_jacobian, similarity


def config(alg="wnes", **given):
    return resolve(EVOLUTION_STRATEGIES[alg], tasks.resolve("Point"), given)


def results(returns, embeddings, own=None):
    own = np.zeros((1, embeddings.shape[1])) if own is None else own
    return strategy.Results(np.asarray(returns, float), np.asarray(embeddings, float), own)


def tell(settings, theta, xi, outcome, state=None, lr=0.1, seed=0):
    state = state or strategy.initial(np.asarray(theta, float), settings, 3)
    return strategy.tell(state, xi, outcome, settings, seed=seed, lr=lr)


def linear_embeddings(rng, n, size, dimension, sigma, theta):
    matrix = rng.standard_normal((dimension, size))
    xi = population.perturbations(0, 0, (n, size))
    return matrix, xi, population.mirrored(theta, xi, sigma) @ matrix.T


@hypothesis.given(st.integers(0, 10_000))
@hypothesis.settings(max_examples=15, deadline=None)
def test_jacobian_against_the_loop_over_eq_14(seed):
    """Eq. 14 over all 2n perturbed parameters, factor 1/(Nσ²), basis functions centred on their mean."""
    rng = np.random.default_rng(seed)
    n, size, dimension, num_basis, sigma = 4, 3, 2, 3, 0.3
    theta, xi = rng.standard_normal(size), rng.standard_normal((n, size))
    x = rng.standard_normal((2 * n, dimension))
    basis = KernelBasis.sample(tf.constant(x), num_basis, seed=seed)
    values = basis(tf.constant(x)).numpy()
    expected = np.zeros((num_basis, size))
    for m in range(num_basis):
        for k, parameters in enumerate(population.mirrored(theta, xi, sigma)):
            expected[m] += (values[m, k] - values[m].mean()) * (parameters - theta) / (2 * n * sigma**2)
    jacobian = evolution_jacobian(tf.constant(xi), tf.constant(values), sigma, mirrored=True)
    np.testing.assert_allclose(jacobian.numpy(), expected, atol=1e-10)


def test_natural_gradient_of_a_linear_embedding_is_that_of_its_gram_matrix():
    """X = A θ̃ moves every sample by A Δθ, so W2² = |A Δθ|² and the information matrix is AᵀA."""
    rng = np.random.default_rng(3)
    size, dimension, sigma = 4, 2, 0.3
    theta = rng.standard_normal(size)
    matrix, xi, x = linear_embeddings(rng, 20_000, size, dimension, sigma, theta)
    gradient = rng.standard_normal(size)
    settings = config(num_basis=60, epsilon=1.0, epsilon_unit="absolute", log_bandwidth=1.0)
    solved, used = strategy.precondition(gradient, xi, x, sigma, 1.0, 5, settings)
    exact = np.linalg.solve(matrix.T @ matrix + np.eye(size), gradient)
    direction = solved.direction.numpy()
    assert float(used) == 1.0
    cosine = direction @ exact / np.linalg.norm(direction) / np.linalg.norm(exact)
    assert cosine > 0.99
    np.testing.assert_allclose(direction, exact, atol=0.1 * np.linalg.norm(exact))


def test_relative_epsilon_counts_in_mean_eigenvalues():
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(5)
    _, xi, x = linear_embeddings(rng, 40, 5, 3, 0.2, theta)
    settings = config(num_basis=4)
    _, used = strategy.precondition(rng.standard_normal(5), xi, x, 0.2, 0.3, 1, settings)
    seed = strategy.stateless_seed(1)
    basis = KernelBasis.sample(tf.constant(x), 4, seed=seed)
    jacobian = evolution_jacobian(tf.constant(xi), basis(tf.constant(x)), 0.2, mirrored=True).numpy()
    likeness = similarity(basis.gradients(tf.constant(x))).numpy()
    eigenvalues = np.linalg.eigvalsh(jacobian.T @ np.linalg.pinv(likeness) @ jacobian)
    assert float(used) == pytest.approx(0.3 * eigenvalues[-4:].mean(), rel=1e-6)


def test_relative_epsilon_makes_the_step_independent_of_the_embeddings_unit():
    rng = np.random.default_rng(1)
    theta = rng.standard_normal(6)
    _, xi, x = linear_embeddings(rng, 30, 6, 2, 0.1, theta)
    returns = rng.standard_normal(60)
    settings = config(delta=-1.3)
    metres, _ = tell(settings, theta, xi, results(returns, x))
    millimetres, _ = tell(settings, theta, xi, results(returns, 1000 * x))
    np.testing.assert_allclose(metres.theta, millimetres.theta, rtol=1e-6)


def test_delta_zero_is_plain_es_and_large_epsilon_too():
    rng = np.random.default_rng(2)
    theta = rng.standard_normal(6)
    _, xi, x = linear_embeddings(rng, 30, 6, 2, 0.1, theta)
    outcome = results(rng.standard_normal(60), x)
    plain, _ = tell(config("es"), theta, xi, outcome)
    for settings in (config(delta=0.0), config(delta=1.0, epsilon=1e5), config(delta=-3.0, epsilon=1e5)):
        np.testing.assert_allclose(tell(settings, theta, xi, outcome)[0].theta, plain.theta, rtol=1e-4)
    assert (tell(config(delta=1.0), theta, xi, outcome)[0].theta != plain.theta).any()


def test_interpolation_is_eq_15():
    gradient, natural = np.array([3.0, 4.0]), np.array([10.0, 0.0])
    at = {scale: config(delta=-0.5, natural_scale=scale) for scale in ("epsilon", "norm")}
    np.testing.assert_allclose(strategy.interpolate(gradient, natural, 0.2, at["epsilon"]), [4.5 - 1.0, 6.0])
    np.testing.assert_allclose(strategy.interpolate(gradient, natural, 0.2, at["norm"]), [4.5 - 2.5, 6.0])
    np.testing.assert_array_equal(strategy.interpolate(gradient, 0 * natural, 0.2, at["norm"]), 1.5 * gradient)


def test_small_epsilon_removes_captured_directions_and_negative_delta_doubles_them():
    """With a small ε, ε g_W is g without its captured part P g, so δ = -1 steps along g + P g.

    Not with an ε below the noise of J, though: that would capture directions in which behaviour does not change at all.
    """
    rng = np.random.default_rng(4)
    size, sigma = 3, 0.2
    xi = population.perturbations(0, 0, (4000, size))
    theta = np.zeros(size)
    x = population.mirrored(theta, xi, sigma)[:, :1]  # behaviour is the first parameter
    gradient = rng.standard_normal(size)
    for delta, first in ((1.0, 0.0), (-1.0, 2.0)):
        settings = config(delta=delta, num_basis=5)
        solved, used = strategy.precondition(gradient, xi, x, sigma, 0.03, 0, settings)
        direction = strategy.interpolate(gradient, solved.direction.numpy(), float(used), settings)
        np.testing.assert_allclose(direction, gradient * [first, 1.0, 1.0], atol=0.2 * np.linalg.norm(gradient))


def test_clipping():
    np.testing.assert_allclose(strategy.clip_norm(np.array([3.0, 4.0]), 1.0), [0.6, 0.8])
    for limit in (0.0, 5.0, 9.0):
        np.testing.assert_array_equal(strategy.clip_norm(np.array([3.0, 4.0]), limit), [3.0, 4.0])


def test_repulsion_pushes_away_from_the_past():
    """Equal returns leave only repulsion: the step leads away from where the last policies ended."""
    theta = np.zeros(2)
    xi = population.perturbations(0, 0, (200, 2))
    x = population.mirrored(theta, xi, 0.1)
    for alg in ("bges", "nsr_es", "bg_wnes"):
        settings = config(alg, optimizer="sgd", delta=-1.0)
        state, first = tell(settings, theta, xi, results(np.zeros(400), x, own=np.array([[-1.0, -1.0]])))
        assert first["es/distance_mean"] == 0
        np.testing.assert_array_equal(state.theta, theta)
        state, second = tell(settings, theta, xi, results(np.zeros(400), x), state=state)
        assert (state.theta > 0).all()
        assert second["es/distance_mean"] > 0.5


def test_scores_mix_normalized_returns_and_distances():
    settings = config("bges", repulsion_coef=0.25)
    returns, distances = np.array([0.0, 10.0]), np.array([5.0, 1.0])
    np.testing.assert_allclose(strategy.combine(returns, distances, settings), [-0.75 + 0.25, 0.75 - 0.25])
    np.testing.assert_allclose(strategy.combine(returns, None, settings), [-1.0, 1.0])


def test_the_past_is_as_long_as_asked_for():
    xi, x = population.perturbations(0, 0, (3, 4)), np.random.default_rng(0).standard_normal((6, 2))
    for alg, given, length in (("bges", {"num_previous": 2}, 2), ("nsr_es", {"archive_size": 3}, 3), ("es", {}, 2)):
        state = None
        for number in range(5):
            own = np.full((1, 2), float(number))
            state, _ = tell(config(alg, **given), np.zeros(4), xi, results(np.arange(6.0), x, own=own), state=state)
        np.testing.assert_array_equal(state.past[:, 0], np.arange(5.0)[-length:])


def test_fitted_test_functions_can_take_the_place_of_the_closed_form():
    rng = np.random.default_rng(0)
    xi, x = population.perturbations(0, 0, (30, 4)), rng.standard_normal((60, 2))
    thetas = {}
    for distance in ("w2_squared", "test_functions"):
        settings, state = config("bges", distance=distance, optimizer="sgd", shaping="centred_ranks"), None
        for _ in range(2):
            state, _ = tell(settings, np.zeros(4), xi, results(x[:, 0], x, own=x[:1]), state=state)
        thetas[distance] = state.theta
    a, b = thetas.values()
    assert (a != b).any()
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.95


def test_adaptive_damping_follows_the_gain():
    """Gains as predicted (ratio 1 of the quadratic model is half the linear gain) shrink ε, losses raise it."""
    rng = np.random.default_rng(0)
    xi = population.perturbations(0, 0, (50, 3))
    x = population.mirrored(np.zeros(3), xi, 0.1)
    base = rng.standard_normal(100)
    for sign, direction in ((+1.0, -1), (-1.0, +1)):
        settings = config(damping="adaptive", epsilon=0.5, optimizer="sgd")
        state, diagnostics = tell(settings, np.zeros(3), xi, results(base, x))
        assert math.isnan(diagnostics["wng/reduction_ratio"])
        for _ in range(5):
            gain = sign * abs(state.expected_gain)
            state, diagnostics = tell(
                settings, np.zeros(3), xi, results(base - base.mean() + state.last_return + gain, x), state
            )
        assert np.sign(float(state.damping.epsilon) - 0.5) == direction
    fixed, diagnostics = tell(config(epsilon=0.5), np.zeros(3), xi, results(base, x))
    assert float(fixed.damping.epsilon) == 0.5


def test_equal_embeddings_leave_the_gradient():
    xi, theta = population.perturbations(0, 0, (10, 3)), np.zeros(3)
    outcome = results(np.random.default_rng(0).standard_normal(20), np.ones((20, 2)))
    plain, _ = tell(config("es"), theta, xi, outcome)
    natural, diagnostics = tell(config("wnes", delta=1.0), theta, xi, outcome)
    np.testing.assert_allclose(natural.theta, plain.theta, rtol=1e-6)
    assert diagnostics["wng/guarded"] == 0


def test_not_a_number_stops_the_update():
    xi, x = population.perturbations(0, 0, (5, 3)), np.random.default_rng(0).standard_normal((10, 2))
    returns = np.arange(10.0)
    with pytest.raises(NonFiniteError):
        tell(config("es"), np.zeros(3), xi, results(np.where(returns == 3, np.nan, returns), x))
    with pytest.raises(NonFiniteError):
        tell(config("wnes"), np.zeros(3), xi, results(returns, np.where(x == x[3], np.inf, x)))


@pytest.mark.parametrize("alg", sorted(EVOLUTION_STRATEGIES))
def test_the_update_does_not_touch_its_arguments_and_the_state_survives_a_tree(alg):
    rng = np.random.default_rng(0)
    xi, x = population.perturbations(0, 0, (6, 4)), rng.standard_normal((12, 3))
    outcome = results(rng.standard_normal(12), x, own=x[:1])
    settings = config(alg, damping="adaptive", max_grad_norm=0.5)
    state, _ = tell(settings, rng.standard_normal(4), xi, outcome)
    copy = strategy.from_tree(strategy.to_tree(state))
    one, diagnostics = tell(settings, None, xi, outcome, state=state)
    two, again = tell(settings, None, xi, outcome, state=copy)
    np.testing.assert_array_equal(one.theta, two.theta)
    assert {k: v for k, v in diagnostics.items() if v == v} == {k: v for k, v in again.items() if v == v}
    assert (one.theta != state.theta).any()


def test_unit_perturbations_set_their_own_sigma():
    assert strategy.spread(EvolutionConfig(perturbation="unit", sigma=7.0), 25) == 0.2
    assert strategy.spread(EvolutionConfig(sigma=7.0), 25) == 7.0
