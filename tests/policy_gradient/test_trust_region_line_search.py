"""Step lengths: on the distance asked, and back until the loss is better."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.policy_gradient.steps.line_search import TOLERANCE, backtrack, length_at


@pytest.mark.parametrize("guess", [0.02, 0.5, 20.0])
@pytest.mark.parametrize("bend", [0.0, 0.3, 30.0])
def test_length_meets_the_distance(guess, bend):
    """Distances that are quadratic near 0, as KL and W2² are, and bend away from it."""

    def distance(length):
        return 2.0 * length**2 + bend * length**4

    length = length_at(distance, tf.constant(0.5), tf.constant(guess))
    np.testing.assert_allclose(distance(length), 0.5, rtol=1.001 * TOLERANCE)


def test_length_is_found_below_where_the_distance_overflows():
    def distance(length):
        return tf.where(length < 2.0, length**2, float("inf"))

    length = length_at(distance, tf.constant(1.0), tf.constant(50.0))
    np.testing.assert_allclose(distance(length), 1.0, rtol=TOLERANCE)


@pytest.mark.parametrize("distance", [lambda length: 0.0 * length, lambda length: 1.0 - tf.exp(-(length**2))])
def test_length_stays_finite_where_the_distance_cannot_be_met(distance):
    length = length_at(distance, tf.constant(2.0), tf.constant(0.1))
    assert np.isfinite(length) and length > 0.0


def search(loss_at, length, bound=np.inf, tries=10):
    def evaluate(x):
        return loss_at(x), x**2, 2.0 * x**2

    return backtrack(evaluate, tf.constant(length), loss_at(tf.constant(0.0)), tf.constant(bound), shrink=0.5, tries=tries)


def test_a_good_step_is_taken_as_it_is():
    taken = search(lambda x: -x, 0.5)
    assert taken.accepted and taken.backtracks == 0 and taken.length == 0.5
    assert taken.loss == -0.5 and taken.distance == 0.25


def test_the_step_is_halved_until_the_loss_falls():
    taken = search(lambda x: x * (x - 0.3), 1.0)  # below its value at 0 for 0 < x < 0.3
    assert taken.accepted and taken.backtracks == 2 and taken.length == 0.25


def test_the_step_is_halved_until_it_is_within_the_bound():
    taken = search(lambda x: -x, 1.0, bound=0.5)
    assert taken.accepted and taken.backtracks == 1 and taken.length == 0.5


def test_a_loss_that_breaks_is_refused():
    taken = search(lambda x: tf.where(x > 0.4, float("nan"), -x), 1.0)
    assert taken.accepted and taken.length == 0.25


@pytest.mark.parametrize("tries", [0, 3])
def test_no_step_is_taken_where_none_helps(tries):
    taken = search(lambda x: x, 1.0, tries=tries)
    assert not taken.accepted and taken.length == 0.0 and taken.loss == 0.0 and taken.distance == 0.0
    assert taken.backtracks == tries + 1
