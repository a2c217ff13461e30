"""A radius for the mean's part of a trust region and another for the covariance's.

With one radius for both, a metric in which the covariance is cheap spends it there: in the Wasserstein metric a change of
log σ costs σ², so σ collapses the faster the smaller it is. Here the distance has two parts, D(old, mean moved alone) and
D(old, covariance moved alone), each within its own radius, as in V-MPO (Song et al. 2020, section 4.1). For W2² their sum is
the whole distance; for KL it is to second order. The linear model of the loss is lowest where both are at their bounds, so
each part of the direction has a length of its own.

The covariance is what the action head's free parameters give (log σ of a Gaussian), the mean what the network gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.policies.geometry import Geometry
from wng_tf.policy_gradient.steps.line_search import length_at


class Radii(NamedTuple):
    """The two bounds [], in the geometry's distance."""

    mean: tf.Tensor
    covariance: tf.Tensor


class Parts:
    """The two parts of a policy's movement on the states of a batch.

    Args:
      policy: whose parameters are moved; its head has free parameters.
      geometry: what measures distances.
      flat: the distributions [B, params] of the policy with θ [policy_size], at the states.
    """

    def __init__(self, policy: PolicyWithValue, geometry: Geometry, flat: Callable[[tf.Tensor], tf.Tensor]):
        self._geometry = geometry
        self._flat = flat
        self._split = [policy.policy_size - policy.head.num_free, policy.head.num_free]

    def distances(self, old: tf.Tensor, new: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How far the mean alone and the covariance alone have moved, averaged over states, for two θ [policy_size]."""
        before = self._flat(old)
        (old_mean, old_free), (mean, free) = tf.split(old, self._split), tf.split(new, self._split)
        moved = (tf.concat(x, axis=0) for x in ((mean, old_free), (old_mean, free)))
        at_mean, at_free = (tf.reduce_mean(self._geometry.distance(before, self._flat(theta))) for theta in moved)
        return at_mean, at_free

    def reach(self, theta: tf.Tensor, direction: tf.Tensor, gradient: tf.Tensor, radii: Radii) -> tf.Tensor:
        """The direction [policy_size] with each part as long as brings θ - direction to that part's radius.

        A part that the loss would rise along is left out.
        """
        scaled = []
        slopes = [tf.reduce_sum(x) for x in tf.split(direction * gradient, self._split)]
        pieces = tf.split(direction, self._split)
        for k, (piece, slope, radius) in enumerate(zip(pieces, slopes, radii, strict=True)):
            alone = tf.concat([x if k == n else tf.zeros_like(x) for n, x in enumerate(pieces)], axis=0)

            def travelled(length: tf.Tensor, part: int = k, along: tf.Tensor = alone) -> tf.Tensor:
                return self.distances(theta, theta - length * along)[part]

            downhill = slope > 0.0
            guess = tf.sqrt(tf.math.divide_no_nan(radius, self._geometry.curvature * tf.maximum(slope, 0.0)))
            length = length_at(travelled, radius, tf.where(downhill, guess, 1.0))
            scaled.append(tf.where(downhill, length, 0.0) * piece)
        return tf.concat(scaled, axis=0)
