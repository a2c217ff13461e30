"""The exported form of a policy: a `tf.Module` with signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from baselines_compat.graph_actions import to_environment
from wng_tf.evolution.normaliser import CLIP

if TYPE_CHECKING:
    from wng_tf.evolution.saved_policy import SavedPolicy


def normalise(x: tf.Tensor, vectors: Sequence[tf.Tensor]) -> tf.Tensor:
    """A `Normaliser` in TensorFlow: its shift and scale applied to x [..., observations]; without any, x itself."""
    if not vectors:
        return x
    shift, scale = vectors
    return tf.clip_by_value((x - shift) * scale, -CLIP, CLIP)


class ExportedPolicy(tf.Module):
    """A `SavedPolicy` in TensorFlow, weights as constants of the graph's variables."""

    def __init__(self, policy: SavedPolicy):
        super().__init__(name="policy")
        head = policy.spec.head
        self.layers = [
            (tf.Variable(weights.T, trainable=False), tf.Variable(offset, trainable=False))
            for weights, offset in policy.spec.materialise(policy.theta)
        ]
        normaliser = policy.normaliser
        vectors = () if normaliser is None else (normaliser.shift, normaliser.scale)
        self.normaliser = [tf.Variable(vector, trainable=False) for vector in vectors]
        self._head = head
        self._noise = policy.action_noise
        self._input = tf.TensorSpec([None, policy.spec.observations], tf.float32, name="observation")

    def signatures(self) -> dict[str, Any]:
        """The concrete functions to save."""
        return {
            "serving_default": tf.function(self._mode, autograph=False).get_concrete_function(self._input),
            "sample": tf.function(self._sample, autograph=False).get_concrete_function(self._input),
        }

    def _outputs(self, observation: tf.Tensor) -> tf.Tensor:
        x = normalise(observation, self.normaliser)
        for i, (kernel, offset) in enumerate(self.layers):
            x = tf.matmul(x, kernel) + offset
            if i + 1 < len(self.layers):
                x = tf.tanh(x)
        if self._head.bounded:
            centre, half = self._head.stretch()
            x = centre + half * tf.tanh(x)
        return x

    def _mode(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._act(observation, 0.0)

    def _sample(self, observation: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._act(observation, self._noise)

    def _act(self, observation: tf.Tensor, noise: float) -> dict[str, tf.Tensor]:
        x = self._outputs(observation)
        if self._head.discrete:
            return {"action": tf.argmax(x, axis=-1)}
        if noise:
            _, half = self._head.stretch()
            x += half * noise * tf.random.normal(tf.shape(x))
        return {"action": to_environment(x, self._head.space())}
