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

import numpy as np
import tensorflow as tf

from baselines_compat.distributions import DiagGaussianPd
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.transport import GaussianKernel, RandomFeatures, transport_estimate

# Seed of the features of runs that were begun when all runs shared them: their checkpoints name none.
FEATURES_OF_ALL_RUNS = 20210


class WassersteinPenalty:
    """The estimate of W2² per state, as a differentiable term of the loss.

    Args:
      num_features: random features R; 0 takes the Gaussian kernel itself.
      bandwidth, gamma: of the kernel and of the entropic regularisation, in units of s and s².
      inner_steps, inner_lr: ascent of the test functions.
      seed: of the random features.
    """

    def __init__(
        self,
        action_size: int,
        num_features: int,
        bandwidth: float,
        gamma: float,
        inner_steps: int,
        inner_lr: float,
        seed: int = FEATURES_OF_ALL_RUNS,
    ):
        self.action_size = action_size
        self.num_features = num_features
        self.bandwidth = bandwidth
        self.gamma = gamma
        self.inner_steps = inner_steps
        self.inner_lr = inner_lr
        self.seed = seed
        self.kernel = (
            RandomFeatures.sample(action_size, num_features, bandwidth, seed)
            if num_features
            else GaussianKernel(bandwidth)
        )
        self._gram = tf.function(self.kernel.gram, jit_compile=True, autograph=False)

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
        )

    def prepare(self, pd_flat: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
        """What is the same for every epoch: the old policy's actions [B, K, act], their Gram matrices, and s."""
        mean, logstd = np.split(pd_flat, 2, axis=-1)
        std = np.exp(logstd)
        drawn = mean[:, np.newaxis] + std[:, np.newaxis] * noise
        scale = float(np.sqrt(2.0 * np.mean(np.sum(np.square(std), axis=-1))))
        rows = pd_flat.shape[0]
        return {
            "old_drawn": drawn,
            "old_gram": self._gram(tf.constant(drawn / scale)).numpy(),
            "action_scale": np.full(rows, scale, np.float32),
        }

    def __call__(self, pd: DiagGaussianPd, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
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
            gram_x=data["old_gram"],
        )
        return tf.reduce_mean(estimate) * tf.square(scale)
