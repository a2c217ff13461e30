"""Derivatives of a chain of dense layers by all its parameters, written out layer by layer.

A layer is h = f(Wᵀ x + b) with W [I, O], b [O]. A cotangent of the outputs at every sample, pushed back through the layers,
gives δ at each of them, and the derivative by (W, b) is Σ_n δ_n (x_n, 1)ᵀ. For M cotangents at once that is one product
[M·O, N] x [N, I + 1] a layer: as fast as the processor multiplies, where one reverse pass for each cotangent, or one over
stacked copies of the parameters, spends as long again on copying.

So results come with each layer's parameters as the matrix (W, b)ᵀ [O, I + 1], row by row (**layer order**), and the layers
are gone through with the samples as columns, for which these matrices are what they are multiplied by as they stand.
`to_layers` and `from_layers` turn vectors in the usual order (kernel [I, O], bias [O], layer after layer) into that and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

__all__ = ["ChainPass", "DenseChain"]


class ChainPass(NamedTuple):
    """What a pass over N samples leaves for the derivatives."""

    outputs: tf.Tensor
    """[N, out]."""
    inputs: list[tf.Tensor]
    """Of each layer, with a row of ones for the bias, [I + 1, N]."""
    slopes: list[tf.Tensor]
    """f'(z) of each layer [O, N]."""
    kernels: list[tf.Tensor]
    """Wᵀ of each layer [O, I]."""


class DenseChain:
    """A chain of dense layers.

    Args:
      layers: (inputs I, units O, activation f) of each layer; f is applied number by number.

    Raises:
      ValueError: no layers, or units that are not the next layer's inputs.
    """

    def __init__(self, layers: Sequence[tuple[int, int, Callable[[tf.Tensor], tf.Tensor]]]):
        if not layers or any(a[1] != b[0] for a, b in zip(layers, layers[1:], strict=False)):
            raise ValueError("DenseChain: at least one layer, and every layer's units must be the next one's inputs.")
        self.layers = list(layers)
        self.num_outputs = layers[-1][1]
        self.size = sum((inputs + 1) * units for inputs, units, _ in layers)

    def run(self, parameters: tf.Tensor, x: tf.Tensor) -> ChainPass:
        """The outputs at x [N, I], and what derivatives need; `parameters` [P] are in layer order."""
        ones = tf.ones([1, x.shape[0]], x.dtype)
        x = tf.transpose(x)
        inputs, slopes, kernels = [], [], []
        for matrix, (size, _, activation) in zip(self._matrices(parameters), self.layers, strict=True):
            inputs.append(tf.concat([x, ones], axis=0))
            kernels.append(matrix[:, :size])
            x, slope = _with_slope(activation, tf.matmul(matrix, inputs[-1]))
            slopes.append(slope)
        return ChainPass(tf.transpose(x), inputs, slopes, kernels)

    def deltas(self, run: ChainPass, cotangents: tf.Tensor | None = None) -> list[tf.Tensor]:
        """δ [O, R, N] of each layer for R cotangents [R, N, out]; by default one for each output, of ones."""
        slopes = run.slopes
        last = slopes[-1][:, tf.newaxis]
        if cotangents is None:
            unit = tf.eye(self.num_outputs, dtype=last.dtype)
            deltas = [unit[:, :, tf.newaxis] * last]
        else:
            deltas = [tf.transpose(cotangents, [2, 0, 1]) * last]
        for layer in range(len(self.layers) - 1, 0, -1):
            kernel, delta = run.kernels[layer], deltas[0]
            if cotangents is None and layer == len(self.layers) - 1:
                # One row of the kernel for each output: no product is needed.
                pushed = tf.transpose(kernel)[:, :, tf.newaxis] * slopes[-1]
            else:
                flat = tf.reshape(delta, [delta.shape[0], -1])
                pushed = tf.reshape(tf.matmul(kernel, flat, transpose_a=True), [-1, *delta.shape[1:]])
            deltas.insert(0, pushed * slopes[layer - 1][:, tf.newaxis])
        return deltas

    def pull(self, run: ChainPass, cotangents: tf.Tensor) -> tf.Tensor:
        """Row m is Σ_n cotangents[m, n] · ∂outputs_n/∂parameters, [M, P] in layer order, for cotangents [M, N, out].

        With fewer outputs than cotangents only the outputs' own δ go back through the layers, and are combined at each.
        """
        count, samples, outputs = cotangents.shape
        combine = outputs < count
        deltas = self.deltas(run, None if combine else cotangents)
        weights = tf.transpose(cotangents, [0, 2, 1])
        blocks = []
        for layer, (x, delta) in enumerate(zip(run.inputs, deltas, strict=True)):
            if not combine:
                delta = tf.transpose(delta, [1, 0, 2])
            elif layer == len(self.layers) - 1:
                delta = weights * run.slopes[-1]
            else:
                delta = tf.add_n([weights[:, r, tf.newaxis] * delta[:, r] for r in range(outputs)])
            block = tf.matmul(tf.reshape(delta, [-1, samples]), x, transpose_b=True)
            blocks.append(tf.reshape(block, [count, -1]))
        return tf.concat(blocks, axis=1)

    def push(self, run: ChainPass, vector: tf.Tensor) -> tf.Tensor:
        """∂outputs_n/∂parameters · vector [N, out] for a vector [P] in layer order: how the outputs move along it."""
        moved = None
        for layer, matrix in enumerate(self._matrices(vector)):
            total = tf.matmul(matrix, run.inputs[layer])
            if moved is not None:
                total += tf.matmul(run.kernels[layer], moved)
            moved = run.slopes[layer] * total
        return tf.transpose(moved)

    def to_layers(self, vector: tf.Tensor) -> tf.Tensor:
        """A vector [P] in the order of the parameters, in layer order."""
        pieces, start = [], 0
        for inputs, units, _ in self.layers:
            stop = start + (inputs + 1) * units
            pieces.append(tf.reshape(tf.transpose(tf.reshape(vector[start:stop], [inputs + 1, units])), [-1]))
            start = stop
        return tf.concat(pieces, axis=0)

    def from_layers(self, vector: tf.Tensor) -> tf.Tensor:
        """The inverse of `to_layers`."""
        return tf.concat([tf.reshape(tf.transpose(matrix), [-1]) for matrix in self._matrices(vector)], axis=0)

    def _matrices(self, vector: tf.Tensor) -> list[tf.Tensor]:
        """The matrix [O, I + 1] of each layer, of a vector [P] in layer order."""
        shapes = [(units, inputs + 1) for inputs, units, _ in self.layers]
        pieces = tf.split(vector, [units * columns for units, columns in shapes])
        return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _with_slope(activation: Callable[[tf.Tensor], tf.Tensor], z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """f(z) and f'(z), number by number."""
    with tf.GradientTape() as tape:
        tape.watch(z)
        x = activation(z)
    return x, tape.gradient(x, z)
