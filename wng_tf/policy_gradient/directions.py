"""The direction of a trust-region step: the gradient of the whole batch against a metric of the policy's parameters.

Three metrics: none, an exact one, and the kernel estimate. The last two are products v → G v for the same damped
conjugate gradients, so they differ in the metric alone. The length is decided afterwards (`line_search`).
"""

from __future__ import annotations

import abc

import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.embeddings import Embedding
from wng_tf.errors import UserError
from wng_tf.policy_gradient import geometry
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.geometry import Geometry
from wng_tf.policy_gradient.metric import Direction, policy_metric, solve_metric
from wng_tf.policy_gradient.preconditioners import Minibatch, Wasserstein, require_actions


class Solver(abc.ABC):
    """Makes a direction from the gradient of the batch's loss."""

    draws_actions = False
    needs_trajectories = False

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue):
        self.config = config
        self.policy = policy

    @abc.abstractmethod
    def __call__(self, weights: list[tf.Tensor], gradient: tf.Tensor, states: Minibatch, start: tf.Tensor) -> Direction:
        """The direction at `weights`, for the gradient [P] over the policy's parameters.

        `states` are those that the metric is averaged over; `start` [P] is the direction of the step before.
        """

    def _solve(self, gradient, product, start):
        config = self.config
        return solve_metric(
            gradient, product, config.cg_damping, config.cg_iters, start if config.cg_warm_start else None
        )


class NoMetric(Solver):
    """d = g."""

    def __call__(self, weights, gradient, states, start):
        squared_norm = tf.reduce_sum(tf.square(gradient))
        zero = tf.zeros_like(squared_norm)
        finite = tf.math.is_finite(squared_norm)
        return Direction(gradient, squared_norm, tf.ones_like(zero), zero, tf.constant(0), zero, finite)


class Exact(Solver):
    """The exact metric of a geometry: one forward-mode and one reverse pass a product."""

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue, geometry: Geometry):
        super().__init__(config, policy)
        self.geometry = geometry

    def __call__(self, weights, gradient, states, start):
        product = policy_metric(self.policy, weights, states.data["observations"], self.geometry)
        return self._solve(gradient, product, start)


class Kernel(Solver):
    """The kernel estimate Ĝ = Jᵀ L† J (Algorithm 3) for any embedding: M reverse passes, then products with J alone."""

    def __init__(self, config: PolicyGradientConfig, policy: PolicyWithValue, estimator: Wasserstein):
        super().__init__(config, policy)
        if estimator.covers_value:
            raise UserError(
                f"--embedding={config.embedding} covers the value network, which a trust region does not move: "
                "use --embedding=actions."
            )
        self.estimator = estimator
        self.draws_actions = estimator.draws_actions
        self.needs_trajectories = estimator.needs_trajectories

    def __call__(self, weights, gradient, states, start):
        covered = list(weights[: self.policy.num_policy_weights])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(covered)
            pd = self.policy.pd(covered, states.data["observations"])
            log_probs = pd.logp(states.data["actions"])
            outputs = self.estimator.record(pd, tf.zeros_like(log_probs), log_probs, states.data)
        jacobian, similarity = self.estimator.jacobian_and_similarity(tape, outputs, covered, states)
        rows = whiten(jacobian, similarity)

        def product(vector: tf.Tensor) -> tf.Tensor:
            return tf.linalg.matvec(rows, tf.linalg.matvec(rows, vector), transpose_a=True)

        return self._solve(gradient, product, start)


def whiten(jacobian: tf.Tensor, similarity: tf.Tensor, jitter: float = 1e-6) -> tf.Tensor:
    """T [M, P] with TᵀT = Jᵀ (L + δ I)⁻¹ J, for J [M, P] and L [M, M]; δ is `jitter` times L's mean diagonal entry.

    L is nearly singular where basis points lie close together; δ decides, in float64, which directions still count.
    """
    similarity = tf.cast(similarity, tf.float64)
    size = similarity.shape[0]
    level = jitter * tf.linalg.trace(similarity) / size
    factor = tf.linalg.cholesky(similarity + level * tf.eye(size, dtype=tf.float64))
    return tf.cast(tf.linalg.triangular_solve(factor, tf.cast(jacobian, tf.float64)), jacobian.dtype)


def make_solver(config: PolicyGradientConfig, policy: PolicyWithValue, embedding: Embedding) -> Solver:
    """The solver that `config.preconditioner` names.

    Raises:
      UserError: an embedding that does not go with it.
    """
    if config.preconditioner == "identity":
        return NoMetric(config, policy)
    if config.preconditioner == "wasserstein":
        return Kernel(config, policy, Wasserstein(config, policy, embedding))
    if config.preconditioner == "wasserstein_exact":
        require_actions(embedding)
        return Exact(config, policy, geometry.find("wasserstein", policy.discrete))
    return Exact(config, policy, geometry.find("kl", policy.discrete))
