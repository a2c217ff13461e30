"""The empirical Fisher matrix, of the actions that were taken. The exact one, of all actions, is in `exact`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from wng_tf.natural_gradient import (
    DenseRows,
    LayerScores,
    NaturalGradient,
    fisher_natural_gradient,
    per_sample_scores,
)
from wng_tf.policies.scores import layer_scores
from wng_tf.policy_gradient.metrics.base import Metric, Operator, Point
from wng_tf.policy_gradient.setup import Setup


class FisherEmpirical(Metric):
    """F = (1/n) Σ s_n s_nᵀ with the scores of the (mini)batch's own actions: a matrix of rank n."""

    direct = True

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self._spec = self.policy.actor_spec() if self.policy.in_numpy else None

    def operator(self, point: Point, state: Any) -> tuple[Operator, Any]:
        data = point.data
        if self._spec is None:
            return ScoreOperator(self._scores(point)), state
        scores = layer_scores(self.policy, self._spec, point.weights, data["observations"], data["actions"])
        return ScoreOperator(scores), state

    def _scores(self, point: Point) -> DenseRows:
        """[n, P], of networks that are no chains of dense layers: a reverse pass for each sample."""
        weights = point.weights[: self.policy.num_policy_weights]

        def log_prob(observation: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
            return self.policy.pd(weights, observation[tf.newaxis]).logp(action[tf.newaxis])

        samples = [point.data["observations"], point.data["actions"]]
        return DenseRows(per_sample_scores(log_prob, samples, weights))


class ScoreOperator(Operator):
    """SᵀS / n of scores S [n, P]."""

    rows: LayerScores | DenseRows
    damps_diagonally = True

    def __init__(self, scores: LayerScores | DenseRows):
        self.rows = scores

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        count = self.rows.shape[0]
        return lambda vector: self.rows.combine(self.rows.project(vector)) / count

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        return fisher_natural_gradient(gradient, self.rows, epsilon, diagonal, diagnose=self.diagnose)
