"""The rows of J, or of the scores, as the damped solve needs them: products and a Gram matrix, in two representations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from wng_tf.natural_gradient.jacobians import flatten, unflatten
from wng_tf.natural_gradient.small_linalg import FEW, gram

__all__ = ["DenseRows", "LayerScores"]


class DenseRows:
    """A matrix [M, P]."""

    def __init__(self, matrix: tf.Tensor):
        self.matrix = matrix

    @property
    def dtype(self) -> tf.DType:
        return self.matrix.dtype

    @property
    def shape(self) -> tf.TensorShape:
        return self.matrix.shape

    def tensors(self) -> list[tf.Tensor]:
        """What it is made of."""
        return [self.matrix]

    def dense(self) -> tf.Tensor:
        """The matrix [M, P]."""
        return self.matrix

    def project(self, vector: tf.Tensor) -> tf.Tensor:
        """The product [M] with a vector [P]."""
        return tf.linalg.matvec(self.matrix, vector)

    def combine(self, coefficients: tf.Tensor) -> tf.Tensor:
        """The sum [P] of the rows with coefficients [M]."""
        return tf.linalg.matvec(self.matrix, coefficients, transpose_a=True)

    def squared_lengths(self) -> tf.Tensor:
        """Of the columns, [P]."""
        return tf.reduce_sum(tf.square(self.matrix), axis=0)

    def gram(self, dtype: tf.DType) -> tf.Tensor:
        """R Rᵀ, [M, M] in float64, from products in the type given."""
        return gram(self.matrix, self.matrix, dtype)

    def combined(self, matrix: tf.Tensor) -> DenseRows:
        """The rows of a matrix [K, M] times these."""
        if matrix.shape[1] is None or matrix.shape[1] > FEW:
            return DenseRows(tf.matmul(matrix, self.matrix))
        # Number by number, which XLA computes where it is needed, in one pass over the rows.
        rows = tf.unstack(self.matrix)
        lines = (tf.unstack(line) for line in tf.unstack(matrix))
        return DenseRows(tf.stack([tf.add_n([a * row for a, row in zip(line, rows, strict=True)]) for line in lines]))

    def scaled(self, factors: tf.Tensor) -> DenseRows:
        """The columns times factors [P]."""
        return DenseRows(self.matrix * factors)


class _Layer(NamedTuple):
    inputs: tf.Tensor | None
    deltas: tf.Tensor


class LayerScores:
    """The scores [N, P] of a network of dense layers, kept as what they are products of.

    For z = x W + b the score of sample n is x_n δ_nᵀ in W and δ_n in b, with δ_n = ∂ log q(X_n)/∂z_n, which one reverse
    pass gives for all samples. So (S Sᵀ)_{nm} = Σ_layers (x_nᵀ x_m + 1) δ_nᵀ δ_m, and the N·P numbers are never formed.

    Args:
      layers: pairs of inputs x [N, I] and δ [N, O], in the order of the parameters: kernel [I, O] row by row, then bias
        [O]. Inputs of None stand for a parameter vector [O] without a kernel, such as the logarithms of the standard
        deviations.
      factors: [P] that the columns are multiplied by; by default ones.

    Raises:
      ValueError: no layers, or tensors that are not [N, ...] of one N and one type.
    """

    def __init__(self, layers: Sequence[tuple[tf.Tensor | None, tf.Tensor]], factors: tf.Tensor | None = None):
        self.layers = [
            _Layer(None if x is None else tf.convert_to_tensor(x), tf.convert_to_tensor(delta)) for x, delta in layers
        ]
        self.factors = factors
        tensors = [t for layer in self.layers for t in layer if t is not None]
        if not tensors or any(t.shape.rank != 2 for t in tensors):
            raise ValueError("LayerScores: at least one layer, inputs and deltas of rank 2.")
        if len({(t.shape[0], t.dtype) for t in tensors}) > 1:
            raise ValueError("LayerScores: inputs and deltas must have one number of samples and one type.")

    @property
    def dtype(self) -> tf.DType:
        return self.layers[0].deltas.dtype

    @property
    def shape(self) -> tf.TensorShape:
        """[N, P]."""
        return tf.TensorShape([self.layers[0].deltas.shape[0], sum(s.shape.num_elements() for s in self._parameters())])

    def _parameters(self) -> list[tf.TensorSpec]:
        """The shapes of kernels [I, O] and biases [O], in their order."""
        specs = []
        for x, delta in self.layers:
            if x is not None:
                specs.append(tf.TensorSpec([x.shape[1], delta.shape[1]]))
            specs.append(tf.TensorSpec([delta.shape[1]]))
        return specs

    def tensors(self) -> list[tf.Tensor]:
        """What they are made of."""
        factors = [] if self.factors is None else [self.factors]
        return [*(t for layer in self.layers for t in layer if t is not None), *factors]

    def dense(self) -> tf.Tensor:
        """The scores [N, P]."""
        blocks = []
        for layer in self.layers:
            if layer.inputs is not None:
                blocks.append(_outer(*layer))
            blocks.append(layer.deltas)
        scores = tf.concat(blocks, axis=1)
        return scores if self.factors is None else scores * self.factors

    def project(self, vector: tf.Tensor) -> tf.Tensor:
        """The product [N] with a vector [P]."""
        total = tf.zeros_like(self.layers[0].deltas[:, 0])
        if self.factors is not None:
            vector = self.factors * vector
        for (x, delta), (kernel, bias) in zip(self.layers, self._split(vector), strict=True):
            pushed = bias if x is None else x @ kernel + bias
            total += tf.reduce_sum(pushed * delta, axis=1)
        return total

    def combine(self, coefficients: tf.Tensor) -> tf.Tensor:
        """The sum [P] of the scores with coefficients [N]."""
        total = self._sum(lambda delta: coefficients[:, tf.newaxis] * delta, lambda x: x)
        return total if self.factors is None else self.factors * total

    def squared_lengths(self) -> tf.Tensor:
        """Of the columns, [P]."""
        lengths = self._sum(tf.square, tf.square)
        return lengths if self.factors is None else tf.square(self.factors) * lengths

    def gram(self, dtype: tf.DType, scaling: tf.Tensor | None = None) -> tf.Tensor:
        """S diag(scaling) Sᵀ, [N, N] in float64, for scaling [P] > 0, by default ones; from products in the type given.

        With a scaling the scores are formed, one layer's at a time.
        """
        if self.factors is not None:
            scaling = tf.square(self.factors) if scaling is None else scaling * tf.square(self.factors)
        if scaling is None:
            return tf.add_n(
                [gram(delta, delta, dtype) * (1.0 if x is None else gram(x, x, dtype) + 1.0) for x, delta in self.layers]
            )
        products = []
        for (x, delta), (kernel, bias) in zip(self.layers, self._split(tf.sqrt(scaling)), strict=True):
            blocks = [delta * bias]
            if x is not None:
                blocks.append(_outer(x, delta) * tf.reshape(kernel, [-1]))
            products += [gram(block, block, dtype) for block in blocks]
        return tf.add_n(products)

    def combined(self, matrix: tf.Tensor) -> DenseRows:
        """The rows of a matrix [K, N] times the scores, which are formed for it."""
        return DenseRows(tf.matmul(matrix, self.dense()))

    def scaled(self, factors: tf.Tensor) -> LayerScores:
        """The columns times factors [P]."""
        return LayerScores(self.layers, factors if self.factors is None else self.factors * factors)

    def _split(self, vector: tf.Tensor) -> list[tuple[tf.Tensor | None, tf.Tensor]]:
        """Kernel [I, O], or None, and bias [O] of each layer from a vector [P]."""
        pieces = iter(unflatten(vector, self._parameters()))
        return [(None if x is None else next(pieces), next(pieces)) for x, _ in self.layers]

    def _sum(self, of_deltas: Callable[[tf.Tensor], tf.Tensor], of_inputs: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """The sum [P] over the samples of the products of such functions of x_n and δ_n."""
        pieces = []
        for x, delta in self.layers:
            weighted = of_deltas(delta)
            if x is not None:
                pieces.append(tf.matmul(of_inputs(x), weighted, transpose_a=True))
            pieces.append(tf.reduce_sum(weighted, axis=0))
        return flatten(pieces)


def _outer(inputs: tf.Tensor, deltas: tf.Tensor) -> tf.Tensor:
    """x_n δ_nᵀ, row by row, [N, I·O]."""
    product = inputs[:, :, tf.newaxis] * deltas[:, tf.newaxis]
    return tf.reshape(product, [-1, inputs.shape[1] * deltas.shape[1]])
