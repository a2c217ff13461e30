"""The damped solve of a trust region, by conjugate gradients on products v → G v.

    d = (G + ε I)⁻¹ g,   ε = damping · gᵀGg / gᵀg, or the damping itself

Relative to the curvature along the gradient, ε leaves the direction independent of the metric's scale: of the size of the
actions, and of how small their variance has become. An absolute ε is that of Schulman et al. (2015) and their followers.
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
    relative: bool = True,
) -> NaturalGradient:
    """Solves (G + ε I) d = g by conjugate gradients, from products v → G v.

    `start` [P], if given, is scaled to the best multiple of itself, min_b of the quadratic at b · start, and the
    iteration goes on from there; zeros are as good as none. `relative`: `damping` is in units of the curvature along g,
    gᵀGg / gᵀg; else it is ε itself.
    """
    squared_norm = _dot(gradient, gradient)
    images = _images(product, [v for v, needed in ((gradient, relative), (start, start is not None)) if needed])
    epsilon = tf.cast(damping, gradient.dtype)
    if relative:
        epsilon *= tf.math.divide_no_nan(_dot(gradient, images[0]), squared_norm)
    # Never 0: the gradient may be, and so may the damping asked for.
    epsilon = tf.maximum(epsilon, 1e-30)
    residual = gradient
    if start is not None:
        start_image = images[-1] + epsilon * start
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


def _images(product: Callable[[tf.Tensor], tf.Tensor], vectors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The products of vectors [P]; of several in a loop, which is traced once."""
    if len(vectors) < 2:
        return [product(v) for v in vectors]
    return tf.unstack(tf.map_fn(product, tf.stack(vectors)))


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)
