"""The exported form of a policy: a `tf.Module` of plain TensorFlow operations, which loads where nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from baselines_compat.graph_actions import to_environment

if TYPE_CHECKING:
    from wng_tf.policy_gradient.saved import Layer, SavedPolicy

ACTIVATIONS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "linear": tf.identity,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "silu": tf.nn.silu,
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "sigmoid": tf.sigmoid,
}


class Dense(tf.Module):
    """A chain of dense layers; `flat` holds kernel [inputs, units] and bias [units] of each."""

    def __init__(self, layers: Sequence[Layer], flat: np.ndarray, name: str):
        super().__init__(name=name)
        self.kernels, self.biases, self._activations = [], [], []
        start = 0
        for inputs, units, activation in layers:
            kernel = flat[start : start + inputs * units].reshape(inputs, units)
            bias = flat[start + inputs * units : start + inputs * units + units]
            start += inputs * units + units
            self.kernels.append(tf.Variable(kernel, name="kernel"))
            self.biases.append(tf.Variable(bias, name="bias"))
            self._activations.append(ACTIVATIONS[activation])

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        for kernel, bias, activation in zip(self.kernels, self.biases, self._activations, strict=True):
            x = activation(tf.matmul(x, kernel) + bias)
        return x


class ExportedPolicy(tf.Module):
    """A `SavedPolicy` in TensorFlow, the normaliser inside.

    Signatures, all from `observation` [B, obs] float32 as the environment gives it:

    * `serving_default`: `action` [B, act], clipped to the action space's bounds and in its dtype ([B] int64 if
      discrete): the policy's mean, or its likeliest action.
    * `sample`: `action` drawn from the policy; equal `seed`s (an int64 scalar) give equal draws.
    * `value`: `value` [B], the value network's estimate of the normalised discounted return.
    """

    def __init__(self, policy: SavedPolicy):
        super().__init__(name="policy")
        spec = policy.actor_spec
        theta = np.asarray(policy.theta, np.float32)
        self.actor = Dense(spec.layers, theta, "actor")
        self.critic = Dense(policy.critic_layers, theta[spec.size :], "critic")
        self._discrete = spec.discrete
        if not spec.discrete:
            self.logstd = tf.Variable(theta[spec.size - spec.layers[-1][1] : spec.size], name="logstd")
        self.mean = tf.Variable(policy.mean, trainable=False, name="mean")
        self.var = tf.Variable(policy.var, trainable=False, name="var")
        self._normalizer = policy.normalizer
        self._space: spaces.Space[Any] = policy.action_space
        self._input = tf.TensorSpec([None, policy.mean.shape[0]], tf.float32, name="observation")

    def signatures(self) -> dict[str, Any]:
        """The concrete functions to save, by name."""
        seed = tf.TensorSpec([], tf.int64, name="seed")
        return {
            "serving_default": tf.function(self._mode, autograph=False).get_concrete_function(self._input),
            "sample": tf.function(self._sample, autograph=False).get_concrete_function(self._input, seed),
            "value": tf.function(self._value, autograph=False).get_concrete_function(self._input),
        }

    def _normalised(self, observation: tf.Tensor) -> tf.Tensor:
        settings = self._normalizer
        if not settings.ob:
            return observation
        # In float64, as while training: a float32 difference of a large mean would lose digits.
        scaled = (tf.cast(observation, tf.float64) - self.mean) / tf.sqrt(self.var + settings.epsilon)
        return tf.cast(tf.clip_by_value(scaled, -settings.clipob, settings.clipob), tf.float32)

    def _mode(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        params = self.actor(self._normalised(observation))
        return {"action": tf.argmax(params, axis=-1) if self._discrete else to_environment(params, self._space)}

    def _sample(self, observation: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        params = self.actor(self._normalised(observation))
        seeds = tf.stack([seed, tf.zeros_like(seed)])
        if self._discrete:
            tiny = np.finfo(np.float32).tiny
            uniform = tf.random.stateless_uniform(tf.shape(params), seeds, minval=tiny)
            return {"action": tf.argmax(params - tf.math.log(-tf.math.log(uniform)), axis=-1)}
        noise = tf.random.stateless_normal(tf.shape(params), seeds)
        return {"action": to_environment(params + tf.exp(self.logstd) * noise, self._space)}

    def _value(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"value": self.critic(self._normalised(observation))[:, 0]}
