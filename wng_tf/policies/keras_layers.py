"""A network of `wng_tf.parts.NETWORKS` as the Keras layers that policy gradients train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from baselines_compat.models import NetworkFn, ortho_init
from wng_tf.errors import UserError
from wng_tf.policies import networks
from wng_tf.policies.network import Network

#: Kernels that are a matrix of free entries.
_DENSE = ("columns", "rows")


def keras_hidden_layers(name: str, hidden: Sequence[int], outputs: int) -> Callable[..., Any]:
    """A builder as `baselines_compat.models.register` takes them, of the network's layers but the last.

    `build_policy` adds the last one, for the action head and for the value. Weights start orthogonal.

    Raises:
      UserError: from the builder: the network has other layers than dense ones with biases, or no linear one at the end.
    """

    def builder(**settings: Any) -> NetworkFn:
        del settings

        def network_fn(input_shape: tuple[int, ...]) -> keras.Model:
            network = networks.build(name, input_shape[0], hidden, outputs)
            _check(name, network)
            x = inputs = keras.Input(shape=input_shape)
            for layer in network.layers[:-1]:
                init = ortho_init(2.0**0.5)
                x = keras.layers.Dense(layer.units, activation=layer.activation, kernel_initializer=init)(x)
            return keras.Model(inputs, x)

        return network_fn

    return builder


def _check(name: str, network: Network) -> None:
    dense = all(layer.kernel in _DENSE and layer.bias for layer in network.layers)
    if not dense or network.layers[-1].activation != "linear":
        raise UserError(
            f"--network={name} has layers that policy gradients do not train: they take dense layers with biases, of which "
            "the last is linear."
        )
