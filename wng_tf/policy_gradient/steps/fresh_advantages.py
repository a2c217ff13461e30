"""Advantages and returns computed anew at the start of an epoch, by the value function as it is then.

The first epoch has those of the rollout. Later ones follow what the value function has learned on this batch meanwhile
(Andrychowicz et al. 2021, "What matters for on-policy deep actor-critic methods?", section 3.5, find that it helps;
Tianshou's benchmark does so). Importance ratios stay those to the policy that acted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from baselines_compat.runner import Batch

#: What is computed anew, in this order.
FRESH = ("advantages", "returns", "values")


def prepare(batch: Batch) -> dict[str, np.ndarray]:
    """Columns [B, ...] that advantages are made of, besides observations and values."""
    return {
        "rewards": batch.rewards,
        "terminated": batch.terminated,
        "ends": np.logical_or(batch.terminated, batch.truncated),
        "final_observations": batch.final_observations,
    }


def fresh_advantages(
    policy: PolicyWithValue, theta: tf.Tensor, data: Mapping[str, tf.Tensor], nsteps: int, gamma: float, lam: float
) -> tf.Tensor:
    """`FRESH` [B, 3] by the value function in θ [P]; `baselines_compat.runner.gae` in float32 operations.

    Args:
      policy: whose value function it is.
      theta: all parameters.
      data: the columns of `prepare`, and `observations`; rows e * nsteps + t.
      nsteps: steps of an environment in the batch, T.
      gamma, lam: discount and λ.
    """
    weights = policy.unflatten(theta)
    values, finals, rewards, terminated, ends = (
        tf.transpose(tf.reshape(x, [-1, nsteps]))
        for x in (
            policy.value(weights, data["observations"]),
            policy.value(weights, data["final_observations"]),
            data["rewards"],
            data["terminated"],
            data["ends"],
        )
    )
    last = tf.one_hot(nsteps - 1, nsteps)[:, tf.newaxis]
    following = tf.where(tf.maximum(ends, last) > 0.0, finals, tf.roll(values, -1, axis=0))
    deltas = rewards + gamma * (1.0 - terminated) * following - values
    advantages = discounted_sums(deltas, gamma * lam * (1.0 - ends))
    columns = (advantages, advantages + values, values)
    return tf.stack([tf.reshape(tf.transpose(x), [-1]) for x in columns], axis=1)


def discounted_sums(terms: tf.Tensor, carry: tf.Tensor) -> tf.Tensor:
    """x_t = terms_t + carry_t x_{t+1} [T, E], x_T = 0 beyond the end, in log₂ T passes over the whole array.

    After k passes x_t holds the sum of the next 2^k terms, and the carry their product (Hillis and Steele 1986).
    """
    length, reach = int(terms.shape[0]), 1
    sums = terms
    while reach < length:
        padding = [[0, reach], [0, 0]]
        sums += carry * tf.pad(sums[reach:], padding)
        carry *= tf.pad(carry[reach:], padding)
        reach *= 2
    return sums
