"""How far an update moved a policy on the states of its batch."""

from __future__ import annotations

import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from baselines_compat.runner import Batch
from wng_tf.policies import heads


class PolicyShift:
    """KL(old, new) and W2² (for discrete actions the straight line's energy), means over states, in one call.

    `theta` is the learner's variable: the new policy is the one that it holds when asked.
    """

    def __init__(self, policy: PolicyWithValue, theta: tf.Variable):
        self._policy = policy
        self._theta = theta
        # Not by XLA: it is short, and would be compiled anew for every shape.
        self._compiled = tf.function(self._measure, autograph=False)

    def __call__(self, batch: Batch) -> dict[str, float]:
        """`kl` in nats and `w2_squared` in squared actions per state, from the policy that acted to the present one."""
        kl, w2_squared = self._compiled(tf.constant(batch.observations), tf.constant(batch.pd_flat)).numpy()
        return {"kl": float(kl), "w2_squared": float(w2_squared)}

    def _measure(self, observations: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        new = self._policy.pd_flat(self._policy.unflatten(tf.convert_to_tensor(self._theta)), observations)
        geometries = heads.of_policy(self._policy).geometries
        found = (geometries[name] for name in ("kl", "wasserstein"))
        return tf.stack([tf.reduce_mean(of.distance(old, new)) for of in found])
