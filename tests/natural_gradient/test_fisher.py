"""The Fisher side: scores, the solve, products with the metric and conjugate gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from wng_tf.natural_gradient import (
    LayerScores,
    conjugate_gradient,
    fisher_natural_gradient,
    fisher_vector_product,
    flatten,
    metric_vector_product,
    per_sample_scores,
    sketched_scores,
)

RNG = np.random.default_rng(0)
NUM_SAMPLES, NUM_PARAMETERS = 12, 3 * 2 + 2 + 2
STATES, ACTIONS = (
    tf.constant(RNG.normal(size=(NUM_SAMPLES, 3))),
    tf.constant(RNG.normal(size=(NUM_SAMPLES, 2))),
)
VARIABLES = [
    tf.Variable(RNG.normal(size=(3, 2))),
    tf.Variable(RNG.normal(size=2)),
    tf.Variable(0.3 * RNG.normal(size=2)),
]
GRADIENT = RNG.normal(size=NUM_PARAMETERS)


def mean_and_std(states):
    mean = tf.tanh(states @ VARIABLES[0] + VARIABLES[1])
    return mean, tf.exp(VARIABLES[2]) + tf.zeros_like(mean)


def log_probs(states, actions):
    mean, std = mean_and_std(states)
    return tf.reduce_sum(-0.5 * tf.square((actions - mean) / std) - tf.math.log(std), axis=-1)


def scores_by_loop():
    rows = []
    for n in range(NUM_SAMPLES):
        with tf.GradientTape() as tape:
            value = log_probs(STATES[n : n + 1], ACTIONS[n : n + 1])
        rows.append(flatten(tape.gradient(value, VARIABLES)).numpy())
    return np.array(rows)


SCORES = scores_by_loop()
FISHER = SCORES.T @ SCORES / NUM_SAMPLES


def test_per_sample_scores():
    scores = per_sample_scores(lambda s, a: log_probs(s[tf.newaxis], a[tf.newaxis]), (STATES, ACTIONS), VARIABLES)
    np.testing.assert_allclose(scores, SCORES, atol=1e-14)


def test_keras_variables():
    """Keras 3 variables are no tf.Variables; tapes and accumulators take only those."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2, activation="tanh", dtype="float64")])
    variables = model.trainable_variables

    def log_prob(state, action):
        return -tf.reduce_sum(tf.square(model(state[tf.newaxis]) - action))

    scores = per_sample_scores(log_prob, (STATES, ACTIONS), variables)
    with tf.GradientTape() as tape:
        values = -tf.reduce_sum(tf.square(model(STATES) - ACTIONS), axis=1)
    blocks = tape.jacobian(values, variables)
    expected = np.hstack([np.reshape(block, [NUM_SAMPLES, -1]) for block in blocks])
    np.testing.assert_allclose(scores, expected, atol=1e-13)
    vector = RNG.normal(size=8)
    product = fisher_vector_product(lambda: -tf.reduce_sum(tf.square(model(STATES) - ACTIONS), axis=1), variables)
    np.testing.assert_allclose(product(tf.constant(vector)), expected.T @ (expected @ vector) / NUM_SAMPLES, atol=1e-13)


def layer_scores():
    """SCORES once more: of z = s W + b, a = N(tanh z, σ), with δ by hand."""
    mean, std = (np.asarray(x) for x in mean_and_std(STATES))
    standardised = (np.asarray(ACTIONS) - mean) / std
    return LayerScores([(STATES, standardised / std * (1 - mean**2)), (None, standardised**2 - 1)])


def test_layer_scores_stand_for_the_matrix():
    factored, rng = layer_scores(), np.random.default_rng(1)
    assert factored.shape == SCORES.shape and factored.dtype == tf.float64
    np.testing.assert_allclose(factored.dense(), SCORES, atol=1e-13)
    vector, coefficients = rng.normal(size=NUM_PARAMETERS), rng.normal(size=NUM_SAMPLES)
    np.testing.assert_allclose(factored.project(tf.constant(vector)), SCORES @ vector, atol=1e-12)
    np.testing.assert_allclose(factored.combine(tf.constant(coefficients)), SCORES.T @ coefficients, atol=1e-12)
    np.testing.assert_allclose(factored.gram(tf.float64), SCORES @ SCORES.T, atol=1e-12)
    scaling = np.exp(vector)
    np.testing.assert_allclose(factored.gram(tf.float64, tf.constant(scaling)), SCORES * scaling @ SCORES.T, atol=1e-12)
    np.testing.assert_allclose(factored.squared_lengths(), np.diag(SCORES.T @ SCORES), atol=1e-12)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("samples", [6, NUM_SAMPLES])
def test_layer_scores_solve_the_same_system(samples, diagonal):
    """With fewer samples than parameters, where no matrix is formed, and with more."""
    factored = LayerScores([(None if x is None else x[:samples], delta[:samples]) for x, delta in layer_scores().layers])
    found = fisher_natural_gradient(GRADIENT, factored, 0.1, diagonal)
    expected = fisher_natural_gradient(GRADIENT, SCORES[:samples], 0.1, diagonal)
    for name, value in expected._asdict().items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-9, atol=1e-13, err_msg=name)


def test_layer_scores_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="rank 2"):
        LayerScores([])
    with pytest.raises(ValueError, match="rank 2"):
        LayerScores([(None, tf.zeros([3]))])
    with pytest.raises(ValueError, match="one number of samples"):
        LayerScores([(tf.zeros([4, 2]), tf.zeros([3, 2]))])
    with pytest.raises(ValueError, match="NaN"):
        fisher_natural_gradient(np.ones(2, np.float32), LayerScores([(None, tf.fill([3, 2], np.nan))]), 0.1)


def test_sketched_scores_have_the_same_second_moment():
    with tf.GradientTape(persistent=True) as tape:
        values = log_probs(STATES, ACTIONS)
    sketch = sketched_scores(tape, values, 4000, VARIABLES, seed=0).numpy()
    np.testing.assert_allclose(sketch.T @ sketch / 4000, FISHER, atol=0.1 * np.abs(FISHER).max())
    # Each row is one signed combination of all scores.
    signs = np.linalg.lstsq(SCORES.T, sketch[:1].T, rcond=None)[0]
    np.testing.assert_allclose(SCORES.T @ signs, sketch[:1].T, atol=1e-12)


@pytest.mark.parametrize("diagonal", [False, True])
def test_fisher_natural_gradient_equals_the_dense_solve(diagonal):
    for epsilon in (1e-4, 1e-1, 10.0):
        damping = np.sqrt(np.diag(FISHER)) if diagonal else np.ones(NUM_PARAMETERS)
        expected = np.linalg.solve(FISHER + epsilon * np.diag(damping), GRADIENT)
        result = fisher_natural_gradient(GRADIENT, SCORES, epsilon, diagonal)
        np.testing.assert_allclose(result.direction, expected, rtol=1e-9)
        assert result.residual < 1e-13


def test_many_scores_compiled():
    """More than a few rows take another path in compiled code."""
    rng = np.random.default_rng(3)
    scores, gradient = rng.normal(size=(40, 60)), rng.normal(size=60)
    compiled = tf.function(fisher_natural_gradient, jit_compile=True)
    for epsilon in (1e-6, 1e-1):
        expected = np.linalg.solve(scores.T @ scores / 40 + epsilon * np.eye(60), gradient)
        result = compiled(tf.constant(gradient), tf.constant(scores), tf.constant(epsilon, tf.float64))
        np.testing.assert_allclose(result.direction, expected, rtol=1e-6)
        highest = np.linalg.norm(scores, 2) ** 2 / 40
        np.testing.assert_allclose(result.condition_number, (highest + epsilon) / epsilon, rtol=1e-3)
        assert result.residual < 1e-9 and result.rank == 40
    assert not bool(compiled(tf.constant(gradient), tf.constant(scores * np.nan), tf.constant(1.0, tf.float64)).finite)


def test_fisher_vector_product():
    vector = RNG.normal(size=NUM_PARAMETERS)
    product = fisher_vector_product(lambda: log_probs(STATES, ACTIONS), VARIABLES)
    np.testing.assert_allclose(product(tf.constant(vector)), FISHER @ vector, atol=1e-13)


@pytest.mark.parametrize("metric", ["wasserstein", "fisher"])
def test_exact_metrics_of_a_gaussian_policy(metric):
    """Jᵀ A J / N with J by finite differences of (mean, std), and A the closed-form metric of a Gaussian."""
    maps = {
        "wasserstein": lambda tangents: tangents,
        "fisher": lambda tangents: [
            tangents[0] / mean_and_std(STATES)[1] ** 2,
            2 * tangents[1] / mean_and_std(STATES)[1] ** 2,
        ],
    }
    product = metric_vector_product(lambda: mean_and_std(STATES), VARIABLES, maps[metric])

    columns, step = [], 1e-6
    for variable in VARIABLES:
        start = variable.numpy()
        for index in np.ndindex(*start.shape):
            sides = []
            for sign in (1.0, -1.0):
                moved = start.copy()
                moved[index] += sign * step
                variable.assign(moved)
                sides.append(np.concatenate([np.ravel(output) for output in mean_and_std(STATES)]))
            variable.assign(start)
            columns.append((sides[0] - sides[1]) / (2.0 * step))
    jacobian = np.array(columns).T
    std = np.ravel(mean_and_std(STATES)[1])
    weights = np.ones(2 * len(std)) if metric == "wasserstein" else np.concatenate([1 / std**2, 2 / std**2])
    expected = jacobian.T @ (weights[:, np.newaxis] * jacobian) / NUM_SAMPLES
    actual = np.array([product(tf.constant(unit)) for unit in np.eye(NUM_PARAMETERS)])
    np.testing.assert_allclose(actual, expected, atol=1e-8)


def test_conjugate_gradient_reaches_the_solution():
    product = lambda vector: tf.linalg.matvec(tf.constant(FISHER), vector)  # noqa: E731
    epsilon = 1e-2
    exact = np.linalg.solve(FISHER + epsilon * np.eye(NUM_PARAMETERS), GRADIENT)
    result = conjugate_gradient(GRADIENT, product, epsilon, iterations=40, tolerance=1e-28)
    np.testing.assert_allclose(result.direction, exact, rtol=1e-8)
    assert result.iterations < 40 and bool(result.finite) and not bool(result.guarded)
    np.testing.assert_allclose(result.slope, GRADIENT @ exact, rtol=1e-8)
    # Fewer steps come as close as the residual says.
    early = conjugate_gradient(GRADIENT, product, epsilon, iterations=3)
    defect = (FISHER + epsilon * np.eye(NUM_PARAMETERS)) @ np.asarray(early.direction) - GRADIENT
    np.testing.assert_allclose(early.residual, np.linalg.norm(defect) / np.linalg.norm(GRADIENT), rtol=1e-8)
    assert early.iterations == 3 and early.residual > result.residual
    assert 1.0 <= early.condition_number <= np.linalg.cond(FISHER + epsilon * np.eye(NUM_PARAMETERS))


@pytest.mark.parametrize("iterations", [1, 2, 5, 40])
def test_conjugate_gradient_with_half_a_product_at_the_end(iterations):
    calls = []

    def product(vector):
        calls.append("product")
        return tf.linalg.matvec(tf.constant(FISHER), vector)

    def quadratic(vector):
        return tf.reduce_sum(vector * tf.linalg.matvec(tf.constant(FISHER), vector))

    settings = {"epsilon": 1e-2, "iterations": iterations, "tolerance": 1e-28}
    expected = conjugate_gradient(GRADIENT, product, **settings)
    calls.clear()
    result = conjugate_gradient(GRADIENT, product, **settings, quadratic=quadratic)
    for field in ("direction", "slope", "cosine", "condition_number", "iterations"):
        np.testing.assert_allclose(getattr(result, field), getattr(expected, field), rtol=1e-9, err_msg=field)
    np.testing.assert_allclose(result.residual, expected.residual, rtol=1e-6, atol=1e-12)
    calls.clear()
    brief = conjugate_gradient(GRADIENT, product, **settings, quadratic=quadratic, diagnose=False)
    np.testing.assert_array_equal(brief.direction, result.direction)
    assert len(calls) == min(int(brief.iterations), iterations - 1) and float(brief.residual) == 0.0
    with pytest.raises(ValueError, match="NaN or infinity"):
        few = {**settings, "iterations": min(iterations, 5)}  # the last of many is not reached
        conjugate_gradient(GRADIENT, product, **few, quadratic=lambda vector: np.nan * quadratic(vector))


def test_conjugate_gradient_compiled_with_products():
    @tf.function(jit_compile=True)
    def compiled(gradient):
        product = fisher_vector_product(lambda: log_probs(STATES, ACTIONS), VARIABLES)
        return conjugate_gradient(gradient, product, 1e-2, iterations=30, tolerance=1e-26)

    exact = np.linalg.solve(FISHER + 1e-2 * np.eye(NUM_PARAMETERS), GRADIENT)
    np.testing.assert_allclose(compiled(tf.constant(GRADIENT)).direction, exact, rtol=1e-8)
    broken = compiled(tf.constant(GRADIENT * np.nan))
    assert not bool(broken.finite)
    np.testing.assert_array_equal(broken.direction, np.zeros(NUM_PARAMETERS))


def test_conjugate_gradient_where_numbers_go_wrong():
    with pytest.raises(ValueError, match="`gradient` are NaN"):
        conjugate_gradient(GRADIENT * np.nan, lambda vector: vector, 1.0)
    with pytest.raises(ValueError, match="NaN or infinity"):
        conjugate_gradient(GRADIENT, lambda vector: vector * np.nan, 1.0)
    zero = conjugate_gradient(0.0 * GRADIENT, lambda vector: vector, 1.0)
    np.testing.assert_array_equal(zero.direction, np.zeros(NUM_PARAMETERS))
    assert bool(zero.finite)
