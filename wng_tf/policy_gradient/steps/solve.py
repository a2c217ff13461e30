"""The damped solve of a trust region, by conjugate gradients on products v → G v.

    d = (G + ε I)⁻¹ g,   ε = damping · gᵀGg / gᵀg

ε is relative to the curvature along the gradient, so the direction does not depend on the metric's scale: on the size of
the actions, or on how small their variance has become.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from wng_tf.natural_gradient import NaturalGradient, conjugate_gradient


def solve_metric(
    gradient: tf.Tensor,
    product: Callable[[tf.Tensor], tf.Tensor],
    damping: float,
    iterations: int,
    start: tf.Tensor | None = None,
) -> NaturalGradient:
    """Solves (G + ε I) d = g by conjugate gradients, from products v → G v.

    `start` [P], if given, is scaled to the best multiple of itself, min_b of the quadratic at b · start, and the
    iteration goes on from there; zeros are as good as none.
    """
    squared_norm = _dot(gradient, gradient)
    if start is None:
        image = product(gradient)
    else:
        image, start_image = tf.unstack(tf.map_fn(product, tf.stack([gradient, start])))
    # Never 0: the gradient may be, and so may the damping asked for.
    epsilon = tf.maximum(damping * tf.math.divide_no_nan(_dot(gradient, image), squared_norm), 1e-30)
    residual = gradient
    if start is not None:
        start_image += epsilon * start
        scale = tf.math.divide_no_nan(_dot(gradient, start), _dot(start, start_image))
        residual = gradient - scale * start_image
    solution = conjugate_gradient(residual, product, epsilon, iterations)
    direction = solution.direction if start is None else scale * start + solution.direction
    slope = _dot(gradient, direction)
    return solution._replace(
        direction=direction,
        slope=slope,
        cosine=tf.math.divide_no_nan(slope, tf.sqrt(squared_norm * _dot(direction, direction))),
        residual=tf.math.divide_no_nan(solution.residual * tf.norm(residual), tf.sqrt(squared_norm)),
        finite=solution.finite & tf.math.is_finite(slope),
    )


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)
