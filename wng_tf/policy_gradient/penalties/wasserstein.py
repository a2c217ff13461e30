"""The Wasserstein penalty between the old and the new policy, by test functions fitted per state (Eq. 4).

K actions of the old policy and K of the new one are compared at each state, in pairs of the same noise: between
Gaussians of diagonal covariance that is the optimal coupling, so the estimate and its gradient are zero where the policies
agree. (In pairs of independent noise the estimate tends to E|x - y|², whose gradient shrinks the standard deviations.)
Actions are measured in units of s, the root mean squared distance between two actions of the old policy over the batch: so
the kernel's bandwidth, γ and the step size mean the same for every task, and at every stage of training. The estimate is
scaled back to squared actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from baselines_compat.runner import Batch
from wng_tf.errors import UserError
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.penalties.base import Penalty
from wng_tf.policy_gradient.setup import Setup
from wng_tf.training import streams
from wng_tf.transport import GaussianKernel, RandomFeatures, transport_estimate

# Seed of the features of runs that were begun when all runs shared them: their checkpoints name none.
FEATURES_OF_ALL_RUNS = 20210


class WassersteinPenalty(Penalty):
    """(β/2) W2²(old, present), estimated per state.

    Args:
      num_features: random features R; 0 takes the Gaussian kernel itself.
      bandwidth, gamma: of the kernel and of the entropic regularisation, in units of s and s².
      inner_steps, inner_lr: ascent of the test functions.
      seed: of the random features.
      coefficient: β.
    """

    name = "wng/wasserstein_estimate"
    draws_actions = True

    def __init__(
        self,
        action_size: int,
        num_features: int,
        bandwidth: float,
        gamma: float,
        inner_steps: int,
        inner_lr: float,
        seed: int = FEATURES_OF_ALL_RUNS,
        coefficient: float = 1.0,
    ):
        self.action_size = action_size
        self.num_features = num_features
        self.bandwidth = bandwidth
        self.gamma = gamma
        self.inner_steps = inner_steps
        self.inner_lr = inner_lr
        self.coefficient = coefficient
        self._draw_features(seed)

    @classmethod
    def from_config(
        cls, config: PolicyGradientConfig, action_size: int, seed: int = FEATURES_OF_ALL_RUNS
    ) -> WassersteinPenalty:
        return cls(
            action_size,
            config.num_features,
            config.bandwidth,
            config.gamma_w,
            config.inner_steps,
            config.inner_lr,
            seed,
            config.wasserstein_coef,
        )

    def _draw_features(self, seed: int) -> None:
        self.seed = seed
        self.kernel = (
            RandomFeatures.sample(self.action_size, self.num_features, self.bandwidth, seed)
            if self.num_features
            else GaussianKernel(self.bandwidth)
        )
        self._gram = tf.function(self.kernel.gram, jit_compile=True, autograph=False)

    def prepare(self, batch: Batch, noise: np.ndarray) -> dict[str, np.ndarray]:
        """What is the same for every epoch: the old policy's actions [B, K, act], and s; Gram matrices of features too.

        Those of the Gaussian kernel take less time to compute than to gather and transpose.
        """
        mean, logstd = np.split(batch.pd_flat, 2, axis=-1)
        std = np.exp(logstd)
        drawn = mean[:, np.newaxis] + std[:, np.newaxis] * noise
        scale = float(np.sqrt(2.0 * np.mean(np.sum(np.square(std), axis=-1))))
        rows = batch.pd_flat.shape[0]
        columns = {"old_drawn": drawn, "action_scale": np.full(rows, scale, np.float32)}
        if self.num_features:
            columns["old_gram"] = self._gram(tf.constant(drawn / scale)).numpy()
        return columns

    def distance(self, pd: Any, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Mean over the states of the estimated W2² between the old and the present policy, in squared actions."""
        drawn = pd.mean[:, tf.newaxis] + pd.std[:, tf.newaxis] * data["noise"]
        scale = data["action_scale"][0]
        estimate = transport_estimate(
            data["old_drawn"] / scale,
            drawn / scale,
            self.kernel,
            gamma=self.gamma,
            step_size=self.inner_lr,
            steps=self.inner_steps,
            all_pairs=False,
            gram_x=data.get("old_gram"),
        )
        return tf.reduce_mean(estimate) * tf.square(scale)

    def weight(self, carry: Any) -> float:
        return 0.5 * self.coefficient

    def state(self) -> dict[str, Any]:
        return {"penalty_seed": self.seed}

    def restore(self, state: Mapping[str, Any]) -> bool:
        seed = state.get("penalty_seed", FEATURES_OF_ALL_RUNS)
        if seed == self.seed:
            return False
        self._draw_features(seed)
        return True


def from_setup(setup: Setup) -> WassersteinPenalty:
    """(β/2) W2²(old, present), by test functions fitted per state, with the settings of a run.

    Raises:
      UserError: a discrete action space.
    """
    if not setup.head.reparameterised:
        raise UserError(
            "The Wasserstein penalty draws reparameterised actions, which a discrete action space does not have: "
            "use --alg=ppo, ppo_kl, npg or wnpg, or --penalty=none."
        )
    seed = int(streams.generator(setup.seed, streams.PENALTY_FEATURES).integers(2**63))
    return WassersteinPenalty.from_config(setup.config, setup.policy.pdtype.sample_shape()[0], seed)
