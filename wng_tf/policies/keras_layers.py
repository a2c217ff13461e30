"""Networks of `wng_tf.parts.NETWORKS` as Keras models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from gymnasium import spaces

from baselines_compat.conform import size_of
from baselines_compat.models import NetworkFn, in_float32, ortho_init
from baselines_compat.policies import dense_chain, features_of, refuse_state
from wng_tf import parts
from wng_tf.errors import UserError
from wng_tf.policies import networks
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.network import Network
from wng_tf.policies.spec import AnyNetwork

#: Said once where a network of dense layers sees images.
IMAGES = (
    "The observations have images, which the network sees as plain numbers: --network=cnn (or cnn_small) sees them as images."
)

#: Kernels that are a matrix of free entries.
_DENSE = ("columns", "rows")


def keras_hidden_layers(name: str, hidden: Sequence[int], outputs: int) -> Callable[..., Any]:
    """A builder as `baselines_compat.models.register` takes them, of the network's layers but the last.

    `build_policy` adds the last one, for the action head and for the value. Weights of a `Network` start orthogonal.

    Raises:
      UserError: from the builder: the network has other layers than dense ones with biases, or no linear one at the end; or
        somebody's own function raises.
    """

    def builder(**settings: Any) -> NetworkFn:
        del settings
        if networks.makes_keras(name):
            return _guarded(name, networks.keras_function(name))

        def network_fn(input_shape: tuple[int, ...]) -> keras.Model:
            network = networks.chain(name, input_shape[0], hidden, outputs)
            _check(name, network)
            x = inputs = keras.Input(shape=input_shape)
            for layer in network.layers[:-1]:
                init = ortho_init(2.0**0.5)
                x = keras.layers.Dense(layer.units, activation=layer.activation, kernel_initializer=init)(x)
            return keras.Model(inputs, x)

        return network_fn

    builder.__name__ = name
    return builder


def build(name: str, space: spaces.Space[Any], hidden: Sequence[int], outputs: int) -> AnyNetwork:
    """The whole network called `name`, or made by `package.module:name`, for observations of `space`.

    Raises:
      UserError: nothing of that name; or somebody's own function raises, or makes no network of those sizes.
    """
    if networks.makes_keras(name):
        return whole_network(name, space, outputs)
    return networks.chain(name, size_of(space), hidden, outputs)


@in_float32()
def whole_network(name: str, space: spaces.Space[Any], outputs: int) -> AnyNetwork:
    """The Keras network called `name` with a linear layer of so many outputs on top, for evolution strategies.

    A chain of dense layers is a `Network`, of the same parameters in the same order: it acts without Keras.

    Raises:
      UserError: it makes no Keras model, one that keeps a state, or one that cannot be saved.
    """
    function, for_others = networks.keras_function(name), ""
    if name in parts.IMAGE_NETWORKS:
        for_others = f" For other observations choose one of {', '.join(parts.NETWORKS)}."
    else:
        function = _guarded(name, function)
    try:
        inputs, features = features_of(function, space, name)
        model = keras.Model(inputs, keras.layers.Dense(outputs)(features))
        refuse_state(model)
    except ValueError as error:
        raise UserError(f"{error}{for_others}") from None
    whole = KerasNetwork.of(model, name)
    try:
        return dataclasses.replace(Network.of_dense(dense_chain(model, size_of(space)), name), start=whole.initial)
    except ValueError:
        return whole


def network_of(model: keras.Model, layers: Callable[[], Sequence[Sequence[Any]]], name: str) -> AnyNetwork:
    """A model as a policy is saved with it: by its `layers()`, unless there is no chain of them (ValueError)."""
    try:
        return Network.of_dense(layers())
    except ValueError:
        return KerasNetwork.of(model, name)


def _guarded(name: str, function: Callable[..., Any]) -> Callable[[Any], Any]:
    """`function`, whose exceptions are sentences."""

    def network_fn(input_shape: Any) -> Any:
        try:
            return function(input_shape)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # whatever goes wrong in somebody's function
            raise parts.NETWORKS.failed(name, error) from error

    return network_fn


def _check(name: str, network: Network) -> None:
    dense = all(layer.kernel in _DENSE and layer.bias for layer in network.layers)
    if not dense or network.layers[-1].activation != "linear":
        raise UserError(
            f"--network={name} has layers that policy gradients do not train: they take dense layers with biases, of which "
            "the last is linear."
        )
