"""The networks that evolution strategies can name; `wng_tf.parts.NETWORKS` is their registry.

A network is a function of an observation's length, the units of each hidden layer, and the number of outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from wng_tf.policies.network import Layer, Network


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
