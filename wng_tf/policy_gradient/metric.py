"""The exact metric of the policy's parameters as a product v → G v, and the damped solve by conjugate gradients.

    d = (G + ε I)⁻¹ g,   ε = damping · gᵀGg / gᵀg

ε is relative to the curvature along the gradient, so the direction does not depend on the metric's scale: on the size of
the actions, or on how small their variance has become.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.natural_gradient import conjugate_gradient, metric_vector_product
from wng_tf.policy_gradient.geometry import Geometry


class Direction(NamedTuple):
    """A direction and the evidence for it; all but the first are scalars."""

    direction: tf.Tensor
    """d [P] over the policy's parameters; the step is -length · d."""
    slope: tf.Tensor
    """gᵀ d, what the loss falls by to first order, divided by the length."""
    cosine: tf.Tensor
    """Between g and d."""
    residual: tf.Tensor
    """|(G + ε I) d - g| / |g|."""
    iterations: tf.Tensor
    """Products of the conjugate gradients; for the kernel estimator the rank of what it sees."""
    epsilon: tf.Tensor
    """ε, in the unit of G."""
    finite: tf.Tensor
    """False where anything met was NaN or infinite."""


def policy_metric(
    policy: PolicyWithValue, weights: list[tf.Tensor], observations: tf.Tensor, geometry: Geometry
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function v [P] → G v with G = E_s[Jᵀ A J] at the policy's weights, exactly; P is `policy.policy_size`.

    For KL this is the Fisher matrix, the Hessian of E_s[KL(old, ·)]; for Wasserstein half that of E_s[W2²(old, ·)].
    Each product costs one forward-mode and one reverse pass over the observations [B, obs]; G is never formed.
    """
    covered = list(weights[: policy.num_policy_weights])
    flat = policy.pd_flat(covered, observations)
    return metric_vector_product(
        lambda: [policy.pd_flat(covered, observations)],
        covered,
        lambda tangents: [geometry.metric(flat, tangents[0])],
    )


def solve_metric(
    gradient: tf.Tensor,
    product: Callable[[tf.Tensor], tf.Tensor],
    damping: float,
    iterations: int,
    start: tf.Tensor | None = None,
) -> Direction:
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
    return Direction(
        direction=direction,
        slope=slope,
        cosine=tf.math.divide_no_nan(slope, tf.sqrt(squared_norm * _dot(direction, direction))),
        residual=tf.math.divide_no_nan(solution.residual * tf.norm(residual), tf.sqrt(squared_norm)),
        iterations=solution.effective_rank,
        epsilon=epsilon,
        finite=solution.finite & tf.math.is_finite(slope),
    )


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)
