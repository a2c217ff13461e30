"""The exported form of a policy: a `tf.Module` of plain TensorFlow operations, which loads where nothing else is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from baselines_compat.flattening import divisors, image_columns
from baselines_compat.graph_actions import to_environment
from wng_tf.policies.heads.base import DeterministicHead
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.network import Network
from wng_tf.policies.spec import AnyNetwork
from wng_tf.policies.tensors import forward
from wng_tf.policies.trees import WITHIN_EXPORT

if TYPE_CHECKING:
    from wng_tf.policies.acting import SavedPolicy


class Chain(tf.Module):
    """A network with its weights; called with x [B, inputs]."""

    def __init__(self, network: Network, theta: np.ndarray, name: str):
        super().__init__(name=name)
        self.network = network
        matrices = network.matrices(theta)
        self.kernels = [tf.Variable(np.ascontiguousarray(weights.T), name="kernel") for weights, _ in matrices]
        self.biases = [tf.Variable(offset, name="bias") for _, offset in matrices]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return forward(self.network, list(zip(self.kernels, self.biases, strict=True)), x)


class Model(tf.Module):
    """A Keras network with its weights; called with x [B, inputs]."""

    def __init__(self, network: KerasNetwork, theta: np.ndarray, name: str):
        super().__init__(name=name)
        self.weights = [tf.Variable(weights, name="weights") for weights in network.matrices(theta)]
        self._outputs = network.function()

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return self._outputs([tf.convert_to_tensor(weights) for weights in self.weights], x)


def module_of(network: AnyNetwork, theta: np.ndarray, name: str) -> Chain | Model:
    """The network with its weights θ [P] or more."""
    return Model(network, theta, name) if isinstance(network, KerasNetwork) else Chain(network, theta, name)


class ExportedPolicy(tf.Module):
    """A `SavedPolicy` in TensorFlow, the normalizer inside.

    Signatures, all from `observation` [B, *shape] float32 as the environment gives it: of a Box of other than one axis, such
    as images with their pixels from 0 to 255, in its shape or flat; of Dict, Tuple and whole numbers flat [B, obs], as
    `gymnasium.spaces.flatten` makes them.

    * `serving_default`: `action` [B, act], clipped to the action space's bounds and in its dtype (int64 for choices): the
      policy's mean, or its likeliest action.
    * `sample`: `action` drawn from the policy; equal `seed`s (an int64 scalar) give equal draws. Of evolution strategies:
      with the noise that the population acted with, and no seed.
    * `value`: `value` [B], the value network's estimate of the normalized discounted return, where there is one.
    """

    def __init__(self, policy: SavedPolicy):
        super().__init__(name="policy")
        spec = policy.spec
        self.actor = module_of(spec.network, policy.theta, "actor")
        self.critic = None
        if policy.value_network is not None:
            self.critic = module_of(policy.value_network, policy.theta[spec.num_parameters :], "critic")
        self.free = tf.Variable(spec.free(policy.theta), name="free") if spec.num_free else None
        self._normalizer = policy.normalizer
        vectors = () if policy.normalizer is None else policy.normalizer.vectors()
        self.statistics = [tf.Variable(vector, trainable=False) for vector in vectors]
        self._head: Any = spec.head  # of either kind
        self._space: spaces.Space[Any] = policy.action_space
        self._size = spec.observations
        own = getattr(policy.observation_space, "original", policy.observation_space)
        shaped = isinstance(own, spaces.Box) and len(own.shape) != 1
        self._input = tf.TensorSpec(None if shaped else [None, self._size], tf.float32, name="observation")
        self._divisors = divisors(own) if image_columns(own) else None

    def signatures(self) -> dict[str, Any]:
        """The concrete functions to save, by name."""

        def concrete(function: Any, *inputs: tf.TensorSpec) -> Any:
            return tf.function(function, autograph=False).get_concrete_function(self._input, *inputs)

        found = {"serving_default": concrete(self._mode)}
        if isinstance(self._head, DeterministicHead):
            found["sample"] = concrete(self._with_noise)
        else:
            found["sample"] = concrete(self._sample, tf.TensorSpec([], tf.int64, name="seed"))
        if self.critic is not None:
            found["value"] = concrete(self._value)
        return found

    def _normalized(self, observation: tf.Tensor) -> tf.Tensor:
        if observation.shape.rank is None:
            observation = tf.reshape(observation, [-1, self._size])
        if self._divisors is not None:
            observation /= self._divisors
        return observation if self._normalizer is None else self._normalizer.tensor(observation, self.statistics)

    def _outputs(self, observation: tf.Tensor) -> tf.Tensor:
        return self.actor(self._normalized(observation))

    def _sent(self, action: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"action": to_environment(action, self._space)}

    def _mode(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._sent(self._head.mode_tensor(self._outputs(observation)))

    def _sample(self, observation: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        seeds = tf.stack([seed, tf.zeros_like(seed)])
        return self._sent(self._head.sample_tensor(self._outputs(observation), self.free, seeds))

    def _with_noise(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        head = self._head
        action = head.mode_tensor(self._outputs(observation))
        if head.noise and head.num_noise:
            action += head.noise_scale() * head.noise * tf.random.normal(tf.shape(action))
        return self._sent(action)

    def _value(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        assert self.critic is not None
        return {"value": self.critic(self._normalized(observation))[:, 0]}


def export(policy: SavedPolicy, path: str | os.PathLike[str]) -> Path:
    """Write a SavedModel that needs nothing but TensorFlow to the folder `path`; `saved.load` finds the policy in it."""
    module = ExportedPolicy(policy)
    tf.saved_model.save(module, os.fspath(path), signatures=module.signatures())
    policy.save(Path(path, WITHIN_EXPORT))
    return Path(path)
