"""The damped solve: against the dense one, compiled, and where numbers go wrong."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from wng_tf.natural_gradient import natural_gradient


def dense_solution(gradient, jacobian, similarity, epsilon, diagonal=False):
    """(Jᵀ L† J + ε D⁻¹)⁻¹ g with every matrix formed, in extended precision: ε = 1e-8 costs eight digits here."""
    similarity, jacobian = similarity.astype(np.longdouble), jacobian.astype(np.longdouble)
    pseudo_inverse = np.linalg.pinv(similarity.astype(float), rcond=1e-12, hermitian=True).astype(np.longdouble)
    for _ in range(2):  # Newton's iteration, which keeps the range and squares the error
        pseudo_inverse = 2.0 * pseudo_inverse - pseudo_inverse @ similarity @ pseudo_inverse
    metric = jacobian.T @ pseudo_inverse @ jacobian
    damping = np.sqrt(np.diag(metric)) if diagonal else np.ones(len(gradient))
    matrix = metric + epsilon * np.diag(damping)
    solution = np.zeros(len(gradient), np.longdouble)
    for _ in range(4):  # iterative refinement
        defect = gradient - matrix @ solution
        solution += np.linalg.solve(matrix.astype(float), defect.astype(float))
    return solution.astype(float)


def problem(num_basis, num_parameters, num_columns, *, duplicates=0, seed=0):
    """Random g, J and L = C Cᵀ / N; rank of L is at most `num_columns`; some basis functions appear twice."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(num_basis, num_columns))
    if duplicates:
        slopes[-duplicates:] = slopes[:duplicates]
    jacobian = slopes @ rng.normal(size=(num_columns, num_parameters)) / num_columns
    return rng.normal(size=num_parameters), jacobian, slopes @ slopes.T / num_columns


CASES = {
    "typical": dict(num_basis=5, num_parameters=40, num_columns=200),
    "deficient rank": dict(num_basis=8, num_parameters=40, num_columns=3),
    "duplicate points": dict(num_basis=6, num_parameters=40, num_columns=200, duplicates=2),
    "more basis functions than samples": dict(num_basis=12, num_parameters=40, num_columns=7),
    "one basis function": dict(num_basis=1, num_parameters=12, num_columns=30),
    "more basis functions than parameters": dict(num_basis=30, num_parameters=10, num_columns=100),
    "as many, deficient": dict(num_basis=10, num_parameters=10, num_columns=4),
}
EPSILONS = 10.0 ** np.arange(-8, 4)


def relative_error(actual, expected):
    return np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_dense_solve(case, diagonal):
    gradient, jacobian, similarity = problem(**CASES[case])
    rank = np.linalg.matrix_rank(similarity, rtol=1e-10)
    for epsilon in EPSILONS:
        result = natural_gradient(gradient, jacobian, similarity, epsilon, diagonal)
        expected = dense_solution(gradient, jacobian, similarity, epsilon, diagonal)
        assert relative_error(result.direction, expected) < 1e-8, epsilon
        assert result.residual < 1e-13
        assert result.rank == rank
        np.testing.assert_allclose(result.slope, gradient @ expected, rtol=1e-8)
        cosine = gradient @ expected / np.linalg.norm(gradient) / np.linalg.norm(expected)
        np.testing.assert_allclose(result.cosine, cosine, rtol=1e-8)
        assert bool(result.finite) and not bool(result.guarded)


def test_a_jacobian_outside_the_range_of_the_similarity():
    """Sampling errors may put J where L is zero; the pseudo-inverse drops that part."""
    gradient, jacobian, similarity = problem(**CASES["deficient rank"])
    jacobian = jacobian + 0.1 * np.random.default_rng(1).normal(size=jacobian.shape)
    for epsilon in EPSILONS:
        expected = dense_solution(gradient, jacobian, similarity, epsilon)
        assert relative_error(natural_gradient(gradient, jacobian, similarity, epsilon).direction, expected) < 1e-8


def test_condition_number_is_that_of_the_damped_metric():
    for case in ("typical", "more basis functions than parameters"):
        gradient, jacobian, similarity = problem(**CASES[case])
        metric = jacobian.T @ np.linalg.pinv(similarity, rcond=1e-12, hermitian=True) @ jacobian
        expected = np.linalg.cond(metric + 1e-2 * np.eye(len(gradient)))
        result = natural_gradient(gradient, jacobian, similarity, 1e-2)
        np.testing.assert_allclose(result.condition_number, expected, rtol=1e-8)


@pytest.fixture(scope="module")
def compiled():
    """One traced function for each shape and type, shared by the tests below."""
    return tf.function(natural_gradient, jit_compile=True)


@pytest.fixture(scope="module")
def traced():
    return tf.function(natural_gradient)


@pytest.mark.parametrize("diagonal", [False, True])
def test_compiled_equals_eager(compiled, diagonal):
    gradient, jacobian, similarity = map(tf.constant, problem(num_basis=10, num_parameters=60, num_columns=200))
    for epsilon in tf.constant([1e-6, 1e-2], tf.float64):
        eager = natural_gradient(gradient, jacobian, similarity, epsilon, diagonal)
        fast = compiled(gradient, jacobian, similarity, epsilon, diagonal)
        for name, expected, actual in zip(eager._fields, eager, fast, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_float32_follows_float64():
    gradient, jacobian, similarity = problem(num_basis=5, num_parameters=2000, num_columns=300)
    for epsilon in (1e-10, 1e-5, 1e-1):
        exact = natural_gradient(gradient, jacobian, similarity, epsilon)
        rounded = natural_gradient(tf.constant(gradient, tf.float32), tf.constant(jacobian, tf.float32), similarity, epsilon)
        assert rounded.direction.dtype == tf.float32
        assert relative_error(rounded.direction, exact.direction) < 1e-5
        assert rounded.residual < 1e-5


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), log_epsilon=st.floats(-8.0, 3.0), diagonal=st.booleans())
def test_it_is_a_damped_inverse(seed, log_epsilon, diagonal):
    """Linear in g, an ascent direction, and never longer than g / ε without the preconditioner."""
    gradient, jacobian, similarity = problem(**CASES["duplicate points"], seed=seed)
    epsilon = 10.0**log_epsilon
    result = natural_gradient(gradient, jacobian, similarity, epsilon, diagonal)
    assert result.slope > 0.0
    if not diagonal:
        assert np.linalg.norm(result.direction) <= np.linalg.norm(gradient) / epsilon * (1.0 + 1e-12)
        assert result.slope <= gradient @ gradient / epsilon * (1.0 + 1e-12)
    scaled = natural_gradient(-3.0 * gradient, jacobian, similarity, epsilon, diagonal)
    np.testing.assert_allclose(scaled.direction, -3.0 * result.direction, rtol=1e-9)
    # The same functions in other units, or in another order, span the same space.
    units = np.random.default_rng(seed).uniform(0.5, 2.0, len(jacobian))
    order = np.random.default_rng(seed).permutation(len(jacobian))
    mixed = natural_gradient(
        gradient,
        (units[:, np.newaxis] * jacobian)[order],
        (units[:, np.newaxis] * similarity * units)[np.ix_(order, order)],
        epsilon,
        diagonal,
    )
    assert relative_error(mixed.direction, result.direction) < 1e-7


@pytest.mark.parametrize("num_basis", [4, 30])
def test_another_parameterisation_gives_the_same_motion(num_basis):
    """θ = A η: g_η = Aᵀ g and J_η = J A. As ε → 0, on what J captures, A g_W(η) moves θ as g_W(θ) does."""
    rng = np.random.default_rng(2)
    gradient, jacobian, similarity = problem(num_basis=num_basis, num_parameters=6, num_columns=200)
    change = rng.normal(size=(6, 6))
    epsilon = 1e-8
    captured = jacobian.T @ rng.normal(size=num_basis)  # a gradient in the range of Ĝ
    direct = natural_gradient(captured, jacobian, similarity, epsilon).direction
    through = natural_gradient(change.T @ captured, jacobian @ change, similarity, epsilon).direction
    # What differs lies in the null space of J: the behaviour moves by the same amount.
    np.testing.assert_allclose(jacobian @ (change @ through.numpy()), jacobian @ direct.numpy(), rtol=1e-4)


def test_a_metric_of_zero_leaves_the_gradient():
    gradient = np.array([1.0, -2.0, 3.0, 4.0])
    for similarity in (np.zeros((2, 2)), np.eye(2)):
        for diagonal in (False, True):
            result = natural_gradient(gradient, np.zeros((2, 4)), similarity, 0.5, diagonal)
            np.testing.assert_allclose(result.direction, 2.0 * gradient, rtol=1e-12)
            assert bool(result.finite) and result.residual < 1e-15


def test_a_gradient_of_zero_gives_zero():
    _, jacobian, similarity = problem(**CASES["typical"])
    result = natural_gradient(np.zeros(40), jacobian, similarity, 1e-5)
    np.testing.assert_array_equal(result.direction, np.zeros(40))
    assert bool(result.finite) and result.cosine == 0.0


def test_guard_returns_the_gradient():
    """Rounding can turn the direction against g: here g lies in the range of one huge row, in float32."""
    rng = np.random.default_rng(0)
    fired = 0
    for _ in range(40):
        row = rng.normal(size=50).astype(np.float32)
        result = natural_gradient(row, 1e4 * row[np.newaxis], np.eye(1), 1e-10)
        if bool(result.guarded):
            fired += 1
            np.testing.assert_array_equal(result.direction, row)
            np.testing.assert_allclose(result.slope, row @ row, rtol=1e-5)
            assert result.cosine <= 0.0
        assert bool(result.finite) and result.slope > 0.0
    assert fired > 0


BAD = {"nan": np.nan, "inf": np.inf}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("argument", ["gradient", "jacobian", "similarity", "epsilon"])
def test_numbers_that_are_not_finite(compiled, traced, argument, bad):
    gradient, jacobian, similarity = problem(num_basis=10, num_parameters=60, num_columns=200)
    arguments = dict(gradient=gradient, jacobian=jacobian, similarity=similarity, epsilon=np.array(1e-3))
    arguments = {name: tf.constant(value) for name, value in arguments.items()}
    broken = np.array(arguments[argument])
    broken.reshape(-1)[-1] = BAD[bad]
    broken = tf.constant(broken)
    with pytest.raises(ValueError, match=f"1 of the .* `{argument}` are NaN or infinite"):
        natural_gradient(**(arguments | {argument: broken}))
    for function in (compiled, traced):
        # In the same order as above, so that nothing is compiled again.
        result = function(*(arguments | {argument: broken}).values(), False)
        assert not bool(result.finite)
        np.testing.assert_array_equal(result.direction, np.zeros(60))
        assert result.slope == 0.0
    assert bool(compiled(*arguments.values(), False).finite)


def test_overflow_is_not_silent():
    gradient, jacobian = np.full(4, 1e30, np.float32), np.ones((1, 4), np.float32)
    with pytest.raises(ValueError, match="overflows float32"):
        natural_gradient(gradient, jacobian, np.eye(1), 1e-10)


def test_bad_arguments_are_named():
    gradient, jacobian, similarity = problem(**CASES["typical"])
    for epsilon in (0.0, -1.0):
        with pytest.raises(ValueError, match="epsilon is"):
            natural_gradient(gradient, jacobian, similarity, epsilon)
    with pytest.raises(ValueError, match="must be"):
        natural_gradient(gradient[:-1], jacobian, similarity, 1e-5)
    with pytest.raises(ValueError, match="must be"):
        natural_gradient(gradient, jacobian, similarity[:-1], 1e-5)
    with pytest.raises(ValueError, match="float64, the jacobian or scores float32"):
        natural_gradient(gradient, jacobian.astype(np.float32), similarity, 1e-5)
