"""The networks that `wng_tf.parts.NETWORKS` has for evolution strategies, and how a network that somebody names is made.

A network there is a function of an observation's length, the units of each hidden layer and the number of outputs, which
gives a `Network`. Policy gradients take networks of Keras, and of a user's own functions those of dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from wng_tf import parts
from wng_tf.errors import UserError
from wng_tf.policies.network import Layer, Network


def build(name: str, inputs: int, hidden: Sequence[int], outputs: int) -> Network:
    """The network called `name`, or made by `package.module:name`, for observations [inputs].

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
