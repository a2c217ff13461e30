"""Networks of both families: chains of layers, as plain data, and what a flat vector of parameters makes of them. NumPy only.

A layer is h = f(W x + b). The parameters are the kernel's and the bias' of each layer in turn; how a kernel's parameters
make the matrix W is a row of `KERNELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines_compat.actor import ACTIVATIONS
from baselines_compat.actor import forward as forward_chain

Matrices = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class Kernel(NamedTuple):
    """A way to write a matrix [units, inputs] by parameters."""

    size: Callable[[int, int], int]
    """Number of parameters, from inputs and units."""
    matrix: Callable[[NDArray[Any], int, int], NDArray[Any]]
    """From parameters [..., size], inputs and units to matrices [..., units, inputs]."""


def _columns(flat: NDArray[Any], inputs: int, units: int) -> NDArray[Any]:
    return np.swapaxes(flat.reshape(*flat.shape[:-1], inputs, units), -1, -2)


def _rows(flat: NDArray[Any], inputs: int, units: int) -> NDArray[Any]:
    return flat.reshape(*flat.shape[:-1], units, inputs)


def _toeplitz(flat: NDArray[Any], inputs: int, units: int) -> NDArray[Any]:
    # W_ij = t_{i-j}, stored from the top right diagonal (i - j = 1 - inputs) to the bottom left.
    return flat[..., np.arange(units)[:, np.newaxis] - np.arange(inputs) + inputs - 1]


#: `columns` is the order of Keras' kernels [inputs, units]; `toeplitz` of Choromanski et al. (2018).
KERNELS: Mapping[str, Kernel] = {
    "columns": Kernel(lambda inputs, units: inputs * units, _columns),
    "rows": Kernel(lambda inputs, units: inputs * units, _rows),
    "toeplitz": Kernel(lambda inputs, units: inputs + units - 1, _toeplitz),
}


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
      inputs, units: I and O.
      activation: name of f, one of `ACTIVATIONS`.
      kernel: how W is written, one of `KERNELS`.
      bias: whether there is b; else it is zero.

    Raises:
      ValueError: no such activation or kernel, or sizes below 1.
    """

    inputs: int
    units: int
    activation: str = "linear"
    kernel: str = "columns"
    bias: bool = True

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"an activation is one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")
        if self.kernel not in KERNELS:
            raise ValueError(f"a kernel is one of {', '.join(KERNELS)}, not {self.kernel!r}")
        if not all(isinstance(size, int) and size >= 1 for size in (self.inputs, self.units)):
            raise ValueError(f"a layer has inputs and units, not {self.inputs!r} and {self.units!r}")

    @property
    def kernel_size(self) -> int:
        """Parameters of W."""
        return KERNELS[self.kernel].size(self.inputs, self.units)

    @property
    def size(self) -> int:
        """Parameters of W and b."""
        return self.kernel_size + (self.units if self.bias else 0)


@dataclass(frozen=True)
class Network:
    """A chain of layers.

    Attributes:
      layers: from the observation's numbers to the outputs.
      name: what it is called, such as "mlp".
      start: makes a start θ [P] from a generator, where it is not the usual one.

    Raises:
      ValueError: no layers, or units that are not the next layer's inputs.
    """

    layers: tuple[Layer, ...]
    name: str = "chain"
    start: Callable[[np.random.Generator], NDArray[np.float64]] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        pairs = zip(self.layers, self.layers[1:], strict=False)
        if not self.layers or any(one.units != following.inputs for one, following in pairs):
            raise ValueError("a network has at least one layer, and every layer's units are the next one's inputs")

    @classmethod
    def of_dense(cls, layers: Iterable[Sequence[Any]], name: str = "chain") -> Network:
        """From rows (inputs, units, activation), as `baselines_compat.actor.ActorSpec` has them."""
        return cls(tuple(Layer(inputs, units, activation) for inputs, units, activation in layers), name)

    @property
    def inputs(self) -> int:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].units

    @property
    def size(self) -> int:
        """P, how many parameters."""
        return sum(layer.size for layer in self.layers)

    @property
    def entries(self) -> int:
        """Entries of all matrices; a Toeplitz matrix has many more of them than parameters."""
        return sum(layer.inputs * layer.units for layer in self.layers)

    def matrices(self, theta: NDArray[Any]) -> Matrices:
        """W [..., units, inputs] and b [..., units] of each layer, float32, for parameters θ [..., P] or more of them."""
        layers, start = [], 0
        for layer in self.layers:
            flat = theta[..., start : start + layer.kernel_size].astype(np.float32)
            start += layer.kernel_size
            offset = np.zeros((*theta.shape[:-1], layer.units), np.float32)
            if layer.bias:
                offset[:] = theta[..., start : start + layer.units]
                start += layer.units
            layers.append((KERNELS[layer.kernel].matrix(flat, layer.inputs, layer.units), offset))
        return layers

    def forward(self, matrices: Matrices, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs [..., outputs] for inputs x [..., inputs], of one θ's matrices."""
        layers = [
            (weights.T, offset, ACTIVATIONS[layer.activation])
            for layer, (weights, offset) in zip(self.layers, matrices, strict=True)
        ]
        return forward_chain(layers, x)

    def initial(self, rng: np.random.Generator, positive: bool = False) -> NDArray[np.float64]:
        """A start θ [P]: what `start` makes; else kernels N(0, 1/inputs), biases zero.

        With `positive`, kernels are U[0, 1)/√inputs and every layer starts the same draws again, as in the released
        code: all its first policies walk much the same way.
        """
        if self.start is not None and not positive:
            return self.start(rng)
        parts = []
        repeated = rng.uniform(size=max(layer.kernel_size for layer in self.layers)) if positive else None
        for layer in self.layers:
            draws = rng.standard_normal(layer.kernel_size) if repeated is None else repeated[: layer.kernel_size]
            parts.append(draws / np.sqrt(layer.inputs))
            parts.append(np.zeros(layer.units if layer.bias else 0))
        return np.concatenate(parts)

    def to_tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        rows = [[layer.inputs, layer.units, layer.activation, layer.kernel, layer.bias] for layer in self.layers]
        return {"network": self.name, "layers": rows}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Network:
        """The inverse of `to_tree`. ValueError, TypeError, KeyError: it is the tree of something else."""
        return cls(tuple(Layer(*row) for row in tree["layers"]), tree["network"])
