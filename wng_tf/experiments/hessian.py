"""Largest eigenvalues of the Hessian of any scalar loss, by Lanczos' method on Hessian-vector products.

The Hessian is never formed: `scipy.sparse.linalg.eigsh` asks for products, and a product costs two backward passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.sparse.linalg import LinearOperator, eigsh

Loss = Callable[[tf.Tensor], tf.Tensor]


class Spectrum(NamedTuple):
    """Eigenvalues [k] by falling magnitude, with their diagnostics.

    Attributes:
      residuals: [k] |H v - λ v| / |λ_1| of each pair (v of norm 1): the error of an eigenvalue is at most that.
      products: how many Hessian-vector products it took.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    products: int

    @property
    def ratios(self) -> np.ndarray:
        """|λ_1| / |λ_i| [k]; infinite where an eigenvalue is zero."""
        with np.errstate(divide="ignore"):
            return np.abs(self.eigenvalues[0]) / np.abs(self.eigenvalues)


def hessian_vector_product(loss: Loss) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Compiled (θ, v) -> ∇²loss(θ) v, all [P]: the gradient of gᵀv."""

    @tf.function(reduce_retracing=True, autograph=False)
    def product(parameters: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as outer:
            outer.watch(parameters)
            with tf.GradientTape() as inner:
                inner.watch(parameters)
                value = loss(parameters)
            gradient = inner.gradient(value, parameters)
            along = tf.tensordot(gradient, vector, 1)
        return outer.gradient(along, parameters, unconnected_gradients="zero")

    return product


def largest_eigenvalues(
    loss: Loss, parameters: np.ndarray | tf.Tensor, count: int, *, tolerance: float = 1e-4, seed: int = 0
) -> Spectrum:
    """The `count` eigenvalues of largest magnitude of ∇²loss.

    Args:
      loss: twice differentiable, [P] -> [].
      parameters: θ [P], float32 or float64, where the Hessian is taken.
      count: how many; `count` >= P gives them all.
      tolerance: relative accuracy asked of Lanczos' method (single precision cannot give much more).
      seed: of the vector that it starts from.

    Raises:
      ValueError: `count` below 1, a product that is not finite, or a loss that does not depend on θ twice over.
    """
    if count < 1:
        raise ValueError(f"At least one eigenvalue is wanted, not {count}.")
    at = tf.convert_to_tensor(parameters)
    size = int(at.shape[0])
    product = hessian_vector_product(loss)
    products = 0

    def apply(vector: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        result = product(at, tf.constant(np.ravel(vector), at.dtype)).numpy().astype(np.float64)
        if not np.isfinite(result).all():
            raise ValueError("A product with the Hessian is not finite.")
        return result

    if count >= size:
        hessian = np.stack([apply(column) for column in np.eye(size)])
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2.0)
    else:
        start = np.random.default_rng(seed).standard_normal(size)
        if not np.any(apply(start)):
            raise ValueError("The Hessian is zero: the loss is linear in its parameters, or does not depend on them.")
        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        values, vectors = eigsh(operator, k=count, which="LM", v0=start, tol=tolerance)
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors = values[order], vectors[:, order]
    scale = abs(values[0]) or 1.0
    taken = products
    residuals = [np.linalg.norm(apply(vectors[:, i]) - values[i] * vectors[:, i]) / scale for i in range(len(values))]
    return Spectrum(values, np.array(residuals), taken)
