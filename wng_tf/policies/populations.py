"""Populations of one network: N members with weights of their own, each of which sees an observation of its own."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.network import Network
from wng_tf.policies.spec import AnyNetwork
from wng_tf.policies.tensors import batched_product, forward


class PopulationNetwork(Protocol):
    """What both kinds of networks offer. A member's outputs do not depend on how many members there are."""

    def signature(self) -> list[Any]:
        """Specifications of the weights, a nest of tensors [N, ...]."""

    def weights(self, parameters: NDArray[np.float64]) -> list[Any]:
        """The weights, a nest of arrays [N, ...], float32, for parameters [N, P]."""

    def outputs(self, weights: list[Any], x: tf.Tensor) -> tf.Tensor:
        """Outputs [N, outputs] for inputs [N, inputs]."""


def population_of(network: AnyNetwork) -> PopulationNetwork:
    """The population of a network."""
    return _Models(network) if isinstance(network, KerasNetwork) else _Chains(network)


class _Chains:
    """Batched products, [N, out, in] weights times [N, in, 1] inputs."""

    def __init__(self, network: Network):
        self._network = network

    def signature(self) -> list[Any]:
        return [
            (tf.TensorSpec([None, layer.units, layer.inputs]), tf.TensorSpec([None, layer.units, 1]))
            for layer in self._network.layers
        ]

    def weights(self, parameters: NDArray[np.float64]) -> list[Any]:
        return [(weights, offset[..., np.newaxis]) for weights, offset in self._network.matrices(parameters)]

    def outputs(self, weights: list[Any], x: tf.Tensor) -> tf.Tensor:
        columns = x[..., tf.newaxis]  # once for all layers
        return tf.squeeze(forward(self._network, weights, columns, product=batched_product), -1)


class _Models:
    """One member after another through the Keras model: no batched form is known for layers in general.

    It costs as many calls of the model's operations as there are members, a step; so a member's outputs are the same, to the
    last bit, in whatever population it is.
    """

    def __init__(self, network: KerasNetwork):
        self._network = network
        self._function = network.function()

    def signature(self) -> list[Any]:
        return [tf.TensorSpec([None, *shape]) for shape in self._network.shapes]

    def weights(self, parameters: NDArray[np.float64]) -> list[Any]:
        return list(self._network.matrices(parameters))

    def outputs(self, weights: list[Any], x: tf.Tensor) -> tf.Tensor:
        def one(member: tuple[list[tf.Tensor], tf.Tensor]) -> tf.Tensor:
            own, seen = member
            return self._function(own, seen[tf.newaxis])[0]

        return tf.map_fn(one, (weights, x), fn_output_signature=tf.TensorSpec([self._network.outputs]))
