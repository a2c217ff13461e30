"""No metric: the direction is the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from wng_tf.natural_gradient import NaturalGradient
from wng_tf.policy_gradient.metrics.base import Metric, Operator, Point


class IdentityOperator(Operator):
    """G = I. The solution is g itself, at its own length, whatever ε."""

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return lambda vector: vector

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        squared_norm = tf.reduce_sum(tf.square(gradient))
        one, zero = tf.ones_like(squared_norm), tf.zeros_like(squared_norm)
        return NaturalGradient(
            direction=gradient,
            slope=squared_norm,
            residual=zero,
            rank=None,
            cosine=one,
            condition_number=one,
            guarded=tf.constant(False),
            finite=tf.math.is_finite(squared_norm),
            iterations=tf.constant(0),
            epsilon=zero,
        )


class Identity(Metric):
    """G = I."""

    trivial = True

    def operator(self, point: Point, state: Any) -> tuple[Operator, Any]:
        return IdentityOperator(), state
