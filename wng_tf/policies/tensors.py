"""Networks in TensorFlow: the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from wng_tf.policies.network import Network

ACTIVATIONS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "linear": tf.identity,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "silu": tf.nn.silu,
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "sigmoid": tf.sigmoid,
}

Weights = Sequence[tuple[tf.Tensor, tf.Tensor]]


def forward(
    network: Network,
    weights: Weights,
    x: tf.Tensor,
    product: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.matmul,
    shifts: Sequence[tf.Tensor] | None = None,
    note: Callable[[tf.Tensor], Any] | None = None,
) -> tf.Tensor:
    """The outputs of a network.

    Args:
      network: its layers.
      weights: kernel and bias of each; [inputs, units] and [units] for the usual product.
      x: [..., inputs].
      product: of x and a kernel.
      shifts: added to each layer before its activation.
      note: called with each layer's inputs.
    """
    for i, (layer, (kernel, bias)) in enumerate(zip(network.layers, weights, strict=True)):
        if note is not None:
            note(x)
        x = product(x, kernel) + bias
        if shifts is not None:
            x += shifts[i]
        x = ACTIVATIONS[layer.activation](x)
    return x


def batched_product(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """W_n x_n for every n: columns [N, in, 1] and [N, out, in] -> [N, out, 1].

    N small products and not one large one, so that the order of summation does not depend on N (a test). Not compiled by
    XLA either, which orders sums by the whole shape.
    """
    return tf.matmul(weights, x)
