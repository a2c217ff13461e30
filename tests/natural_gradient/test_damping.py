"""The damping rule, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.natural_gradient import damping

NAN, INF = float("nan"), float("inf")


def run(ratios, epsilon=1.0, **options):
    """ε after each ratio."""
    state, trace = damping.initial(epsilon), []
    for ratio in ratios:
        state = damping.update(state, tf.constant(ratio), **options)
        trace.append(float(state.epsilon))
    return trace


def test_looks_every_fifth_step_at_the_best_ratio():
    np.testing.assert_allclose(run([0.1, 0.2, -3.0, 0.0, 0.1]), [1, 1, 1, 1, 1 / 0.85], rtol=1e-6)
    np.testing.assert_allclose(run([0.1, 0.9, -3.0, 0.0, 0.1]), [1, 1, 1, 1, 0.85], rtol=1e-6)
    np.testing.assert_allclose(run([0.1, 0.5, -3.0, 0.0, 0.1]), [1, 1, 1, 1, 1], rtol=1e-6)


def test_each_period_is_judged_by_itself():
    trace = run([0.9] * 5 + [0.1] * 5 + [0.9] * 4)
    np.testing.assert_allclose(trace[4:], [0.85] * 5 + [1.0] * 5, rtol=1e-6)


def test_limits():
    assert run([0.0] * 3, epsilon=1e5, period=1)[-1] == pytest.approx(1e5)
    assert run([1.0] * 3, epsilon=1e-10, period=1)[-1] == pytest.approx(1e-10)


def test_a_ratio_that_says_nothing_is_passed_over():
    np.testing.assert_allclose(run([0.9, NAN, 0.9, NAN, 0.9, 0.9, 0.9])[-2:], [1.0, 0.85], rtol=1e-6)


def test_a_failed_step_raises_the_damping():
    np.testing.assert_allclose(run([-INF], period=1), [1 / 0.85], rtol=1e-6)
    # ... but not against a good step of the same period.
    np.testing.assert_allclose(run([-INF, 0.9], period=2)[-1], 0.85, rtol=1e-6)


def test_released_code_can_only_shrink():
    np.testing.assert_allclose(run([0.0, 0.9, 0.0], period=1, only_shrink=True), [1.0, 0.85, 0.85], rtol=1e-6)


def test_reduction_ratio_is_one_for_a_quadratic():
    """𝓛 = ½ θᵀ H θ with the Newton step: predicted is twice the actual reduction."""
    hessian, theta = np.diag([1.0, 4.0]), np.array([3.0, -2.0])
    gradient, direction = hessian @ theta, theta
    loss = lambda point: 0.5 * point @ hessian @ point  # noqa: E731
    ratio = damping.reduction_ratio(loss(theta), loss(theta - direction), tf.constant(gradient @ direction))
    np.testing.assert_allclose(ratio, 1.0)


def test_reduction_ratio_of_losses_that_are_not_finite():
    predicted = tf.constant(1.0)
    for loss_new in (NAN, INF):
        assert damping.reduction_ratio(1.0, loss_new, predicted) == -INF
    assert np.isnan(damping.reduction_ratio(1.0, 1.0, tf.constant(0.0)))


def test_compiled_in_a_loop():
    @tf.function(jit_compile=True)
    def compiled(ratios):
        body = lambda step, state: (step + 1, damping.update(state, ratios[step]))  # noqa: E731
        return tf.while_loop(lambda step, _: step < len(ratios), body, (0, damping.initial(1.0)))[1]

    ratios = np.random.default_rng(0).uniform(-0.5, 1.0, 53).astype(np.float32)
    state = compiled(tf.constant(ratios))
    np.testing.assert_allclose(state.epsilon, run(ratios)[-1], rtol=1e-6)
    assert state.count == 3


def test_starting_point_is_checked():
    for epsilon in (0.0, 1e6, NAN):
        with pytest.raises(ValueError, match="must lie in"):
            damping.initial(epsilon)
