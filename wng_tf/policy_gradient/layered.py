"""A policy and its value network gone through layer by layer: outputs forward, any number of cotangents back.

What `tf.GradientTape` over the weights gives, at a fraction of its time where there are several cotangents. Vectors and rows
are in layer order (`DenseChain`): the actor's layers, the head's free parameters, the critic's layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.natural_gradient import ChainPass, DenseChain
from wng_tf.policies.tensors import ACTIVATIONS


class LayeredPass(NamedTuple):
    """Both networks at n states."""

    sources: list[tf.Tensor]
    """What the head makes the action distributions of: the actor's outputs [n, out] and, if it has any, its free parameters,
    once for each state [n, free]."""
    values: tf.Tensor
    """V(s) [n]."""
    actor: ChainPass
    critic: ChainPass


class LayeredPolicy:
    """The policy's networks as chains of dense layers.

    Raises:
      ValueError: a network is something else, or they share layers.
    """

    def __init__(self, policy: PolicyWithValue):
        if policy.num_shared:
            raise ValueError("The value network shares layers with the policy.")
        self.policy = policy
        self.actor = _chain(policy.actor_spec().layers)
        self.critic = _chain(policy.critic_layers())

    def run(self, theta: tf.Tensor, observations: tf.Tensor) -> LayeredPass:
        """Both networks at observations [n, obs], for θ [P] in layer order."""
        count = observations.shape[0]
        x = tf.reshape(observations, [count, -1])
        of_actor, free, of_critic = tf.split(theta, [self.actor.size, self.policy.head.num_free, self.critic.size])
        actor, critic = self.actor.run(of_actor, x), self.critic.run(of_critic, x)
        sources = [actor.outputs]
        if self.policy.head.num_free:
            sources.append(tf.zeros([count, 1], x.dtype) + free)
        return LayeredPass(sources, critic.outputs[:, 0], actor, critic)

    def flat(self, sources: Sequence[tf.Tensor]) -> tf.Tensor:
        """Parameters of the action distributions, `Pd.flat` [n, params]."""
        return self.policy.head.flatparam(sources[0], sources[1] if len(sources) > 1 else None)

    def policy_rows(self, run: LayeredPass, cotangents: Sequence[tf.Tensor]) -> tf.Tensor:
        """[M, policy's P]: row m is Σ_n cotangents[m, n] · ∂sources_n/∂θ, for cotangents [M, n, ...] of each source."""
        rows = self.actor.pull(run.actor, cotangents[0])
        return tf.concat([rows, *(tf.reduce_sum(free, axis=1) for free in cotangents[1:])], axis=1)

    def push(self, run: LayeredPass, vector: tf.Tensor) -> list[tf.Tensor]:
        """∂sources_n/∂θ · vector, of each source [n, ...], for a vector over the policy's part of θ."""
        size = self.actor.size
        free = [tf.zeros_like(source) + vector[size:] for source in run.sources[1:]]
        return [self.actor.push(run.actor, vector[:size]), *free]

    def value_rows(self, run: LayeredPass, cotangents: tf.Tensor) -> tf.Tensor:
        """[M, critic's P]: row m is Σ_n cotangents[m, n] ∂V(s_n)/∂θ, for cotangents [M, n]."""
        return self.critic.pull(run.critic, cotangents[..., tf.newaxis])

    def to_layers(self, vector: tf.Tensor) -> tf.Tensor:
        """A vector in the order of θ, all of it [P] or the policy's part [policy_size], in layer order."""
        return self._reordered(vector, self.actor.to_layers, self.critic.to_layers)

    def from_layers(self, vector: tf.Tensor) -> tf.Tensor:
        """The inverse of `to_layers`."""
        return self._reordered(vector, self.actor.from_layers, self.critic.from_layers)

    def _reordered(self, vector, of_actor, of_critic) -> tf.Tensor:
        size, start = self.actor.size, self.policy.policy_size
        pieces = [of_actor(vector[:size]), vector[size:start]]
        if vector.shape[0] > start:
            pieces.append(of_critic(vector[start:]))
        return tf.concat(pieces, axis=0)


def layered(policy: PolicyWithValue) -> LayeredPolicy | None:
    """The policy by layers; None where its networks are no separate chains of dense layers."""
    try:
        return LayeredPolicy(policy)
    except ValueError:
        return None


def _chain(layers: Sequence[tuple[int, int, str]]) -> DenseChain:
    return DenseChain([(inputs, units, ACTIVATIONS[name]) for inputs, units, name in layers])
