"""The networks of `wng_tf.parts.NETWORKS`, and how a network that somebody names is made.

Three kinds of functions make one, told apart by how many arguments they require:

* three: an observation's length, the units of each hidden layer and the number of outputs; gives a `Network`, all of it;
* one: the shape of the environment's observations (of a Dict or Tuple of them a dict or tuple of shapes); gives a
  `keras.Model` from observations to features, on which linear layers come for the action head and for the value;
* none: settings alone, all with defaults, as Baselines' builders; gives a function of the second kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wng_tf import parts
from wng_tf.errors import UserError
from wng_tf.policies.network import Layer, Network


def chain(name: str, inputs: int, hidden: Sequence[int], outputs: int) -> Network:
    """The chain of layers called `name`, or made by `package.module:name`, for observations [inputs].

    Raises:
      UserError: nothing of that name; or somebody's own function raises, or makes no network of those sizes.
    """
    network = parts.NETWORKS.function(name)(inputs, tuple(hidden), outputs)
    if not isinstance(network, Network) or (network.inputs, network.outputs) != (inputs, outputs):
        made = f"one of {network.inputs} and {network.outputs}" if isinstance(network, Network) else type(network).__name__
        raise UserError(
            f"--network={name} must make a wng_tf.policies.network.Network of {inputs} inputs and {outputs} outputs, not "
            f"{made}."
        )
    return network


def makes_keras(name: str) -> bool:
    """Whether the function called `name` makes a Keras model, and no `Network`.

    Raises:
      UserError: nothing of that name, or it requires other arguments than any of the kinds.
    """
    if name in parts.IMAGE_NETWORKS:
        return True
    count = _required(name)
    if count not in (0, 1, 3):
        raise UserError(
            f"--network={name} requires {count} arguments: a network is a function of the observations' shape, which gives a "
            "keras.Model, or of (inputs, hidden, outputs), which gives a wng_tf.policies.network.Network."
        )
    return count < 3


def keras_function(name: str) -> Callable[[Any], Any]:
    """The function of the observations' shape that makes the Keras model called `name`. Raises as `makes_keras`."""
    if name in parts.IMAGE_NETWORKS:
        from baselines_compat.models import get_network_builder

        return get_network_builder(name)()
    function = parts.NETWORKS.function(name)
    return function() if _required(name) == 0 else function


def _required(name: str) -> int:
    """How many positional arguments the function has no defaults for."""
    try:
        signature = inspect.signature(parts.NETWORKS.find(name))
    except (TypeError, ValueError):  # written in C, and it does not say
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds and one.default is one.empty for one in signature.parameters.values())


def toeplitz(inputs: int, hidden: Sequence[int], outputs: int) -> Network:
    """Toeplitz matrices W_ij = t_{i-j} of in + out - 1 parameters (Choromanski et al. 2018), tanh between them.

    Biases on the hidden layers only, as in the released code.
    """
    return _chain("toeplitz", inputs, hidden, outputs, "toeplitz", last_bias=False)


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> Network:
    """Dense layers with biases, tanh between them."""
    return _chain("mlp", inputs, hidden, outputs, "rows", last_bias=True)


def _chain(name: str, inputs: int, hidden: Sequence[int], outputs: int, kernel: str, last_bias: bool) -> Network:
    sizes = (inputs, *hidden, outputs)
    layers = []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        last = i == len(hidden)
        layers.append(Layer(before, after, "linear" if last else "tanh", kernel, bias=last_bias or not last))
    return Network(tuple(layers), name)
