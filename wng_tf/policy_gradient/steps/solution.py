"""What a step of the optimizer makes of the natural gradient's solution: its direction, and columns of the log."""

from __future__ import annotations

import tensorflow as tf

from wng_tf.natural_gradient import NaturalGradient
from wng_tf.policy_gradient.metrics import Metric

#: Fields of which the last minibatch's stands for the update: they take as long as the direction itself.
OF_THE_LAST = ("residual", "condition_number")


def solution_columns(metric: Metric) -> dict[str, str]:
    """Fields of the solution, and of the damping, that are logged -> their columns."""
    effort = {"rank": "wng/effective_rank"} if metric.direct else {"iterations": "wng/cg_iterations"}
    fields = ("residual", "condition_number", "guarded", "reduction_ratio", "epsilon")
    return {"cosine": "wng/cosine", **effort, **{name: f"wng/{name}" for name in fields}}


def at_gradient_scale(solution: NaturalGradient, gradient: tf.Tensor, epsilon: tf.Tensor, diagonal: bool) -> tf.Tensor:
    """The solution's direction [P] at the scale of g [P]; where the solve fell back on g, g itself."""
    direction = tf.where(solution.guarded, solution.direction, epsilon * solution.direction)
    if diagonal:
        direction *= tf.math.divide_no_nan(tf.norm(gradient), tf.norm(direction))
    return direction
