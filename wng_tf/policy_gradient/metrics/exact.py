"""The exact metrics of the policy's distributions, as products v → G v: Fisher's, and Wasserstein's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.errors import UserError
from wng_tf.natural_gradient import NaturalGradient, conjugate_gradient, metric_vector_product
from wng_tf.policies.geometry import Geometry
from wng_tf.policy_gradient.metrics.base import Layered, Metric, Operator, Point, ProductOperator
from wng_tf.policy_gradient.setup import Setup


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


class LayeredOperator(Operator):
    """`policy_metric` by layers, with the loss's gradient: half the time, because the states go through once."""

    def __init__(self, layered: Layered, geometry: Geometry):
        self._layered = layered
        self._geometry = geometry
        network, run, derivatives = layered
        self.gradient = network.policy_rows(run, [own[tf.newaxis] for own in derivatives[:-1]])[0]

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        network, run, _ = self._layered

        def product(vector: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(run.sources)
                flat, moved = self._moved(vector)
                cotangents = tf.stop_gradient(self._geometry.metric(flat, moved)) / moved.shape[0]
            pulled = tape.gradient(flat, run.sources, output_gradients=cotangents)
            return network.policy_rows(run, [cotangent[tf.newaxis] for cotangent in pulled])[0]

        return product

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        return conjugate_gradient(
            gradient, self.products(), epsilon, iterations, quadratic=self._quadratic, diagnose=self.diagnose
        )

    def _moved(self, vector: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The distributions' parameters [n, params], and how they move along a vector [P]."""
        network, run, _ = self._layered
        with tf.autodiff.ForwardAccumulator(run.sources, network.push(run, vector)) as accumulator:
            flat = network.flat(run.sources)
        return flat, accumulator.jvp(flat)

    def _quadratic(self, vector: tf.Tensor) -> tf.Tensor:
        """vᵀ G v: nothing goes back through the layers."""
        flat, moved = self._moved(vector)
        return tf.reduce_sum(moved * self._geometry.metric(flat, moved)) / moved.shape[0]


class _Exact(Metric):
    """E_s[Jᵀ A J] with the matrix A of a geometry."""

    takes_layers = True

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.geometry = self.head.geometries[self.distance]

    def operator(self, point: Point, state: Any) -> tuple[Operator, Any]:
        if point.layered is not None:
            return LayeredOperator(point.layered, self.geometry), state
        product = policy_metric(self.policy, point.weights, point.data["observations"], self.geometry)
        return ProductOperator(product), state


class FisherExact(_Exact):
    """The Fisher matrix of the policy at the states, over all actions that it may take there."""

    distance = "kl"


class WassersteinExact(_Exact):
    """The Wasserstein metric of the action distributions at the states."""

    distance = "wasserstein"

    def __init__(self, setup: Setup):
        if setup.embedding.name != "actions":
            raise UserError(
                f"The exact Wasserstein metric is that of the actions, not of --embedding={setup.embedding.name}: "
                "use --metric=wasserstein_kernel for other embeddings."
            )
        super().__init__(setup)
