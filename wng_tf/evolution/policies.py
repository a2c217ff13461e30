"""Policies of evolution strategies: a flat parameter vector θ [P], its layers, and the action that comes out. NumPy
only.

Two networks: `toeplitz`, whose layers are Toeplitz matrices W_ij = t_{i-j} of in + out - 1 parameters (Choromanski et
al. 2018; biases on the hidden layers only, as in the released code), and `mlp`, ordinary dense layers with biases.
Hidden layers are tanh. The last layer goes through tanh and is stretched to the bounds of a bounded Box, stays linear
for an unbounded one, and is an argmax over logits for Discrete actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

NETWORKS = ("toeplitz", "mlp")

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ActionHead:
    """From the last layer's outputs to an action.

    Attributes:
        size: outputs of the last layer.
        discrete: argmax over logits.
        low, high: bounds of a Box, one pair per action; infinite where it has none. Whole numbers where its are.
        dtype: of a Box, NumPy's name.
    """

    size: int
    discrete: bool
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dtype: str = "float32"

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> ActionHead:
        """The head for a Box of one dimension or a Discrete space starting at 0."""
        if isinstance(space, spaces.Discrete):
            return cls(int(space.n), True)
        low, high = (tuple(bound.tolist()) for bound in (space.low, space.high))
        return cls(len(low), False, low, high, str(space.dtype))

    def space(self) -> spaces.Space[Any]:
        """The action space."""
        if self.discrete:
            return spaces.Discrete(self.size)
        dtype = np.dtype(self.dtype)
        return spaces.Box(np.array(self.low, dtype), np.array(self.high, dtype), dtype=dtype.type)

    @property
    def bounded(self) -> bool:
        """Whether tanh and stretching apply: every action has two finite bounds, which float32 can stretch to."""
        return not self.discrete and all(abs(bound) <= _LARGEST for bound in (*self.low, *self.high))

    def stretch(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(centre, half-range), each [size]; 0 and 1 where there are no bounds."""
        if not self.bounded:
            return np.zeros(self.size, np.float32), np.ones(self.size, np.float32)
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        return ((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)


@dataclass(frozen=True)
class PolicySpec:
    """Shape of a policy: what turns θ [P] into layers.

    Attributes:
        network: "toeplitz" or "mlp".
        observations: length of an observation.
        hidden: units of each hidden layer.
        head: what happens to the last layer's outputs.
    """

    network: str
    observations: int
    hidden: tuple[int, ...]
    head: ActionHead

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is one of {', '.join(NETWORKS)}, not '{self.network}'")

    @property
    def layers(self) -> tuple[tuple[int, int, int, bool], ...]:
        """(inputs, outputs, kernel parameters, has bias) of each layer; θ holds kernel then bias, layer by layer."""
        sizes = (self.observations, *self.hidden, self.head.size)
        rows = []
        for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            toeplitz = self.network == "toeplitz"
            kernel = inputs + outputs - 1 if toeplitz else inputs * outputs
            rows.append((inputs, outputs, kernel, not toeplitz or i < len(self.hidden)))
        return tuple(rows)

    @property
    def num_parameters(self) -> int:
        """P."""
        return sum(kernel + (outputs if bias else 0) for _, outputs, kernel, bias in self.layers)

    def initial(self, rng: np.random.Generator, positive: bool = False) -> NDArray[np.float64]:
        """A start θ [P]: kernels N(0, 1/inputs), biases zero.

        With `positive`, kernels are U[0, 1)/√inputs and every layer starts the same draws again, as in the released
        code: all its first policies walk much the same way.
        """
        parts = []
        repeated = rng.uniform(size=max(kernel for _, _, kernel, _ in self.layers)) if positive else None
        for inputs, outputs, kernel, bias in self.layers:
            draws = rng.standard_normal(kernel) if repeated is None else repeated[:kernel]
            parts.append(draws / np.sqrt(inputs))
            parts.append(np.zeros(outputs if bias else 0))
        return np.concatenate(parts)

    def materialise(self, theta: NDArray[Any]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The layers of θ [..., P] as (W [..., outputs, inputs], b [..., outputs]), float32, batched as θ is."""
        layers, start = [], 0
        lead = theta.shape[:-1]
        for inputs, outputs, kernel, bias in self.layers:
            flat = theta[..., start : start + kernel].astype(np.float32)
            start += kernel
            if self.network == "toeplitz":
                # W_ij = t_{i-j}, stored from the top right diagonal (i - j = 1 - inputs) to the bottom left.
                diagonal = np.arange(outputs)[:, np.newaxis] - np.arange(inputs) + inputs - 1
                weights = flat[..., diagonal]
            else:
                weights = flat.reshape(*lead, outputs, inputs)
            offset = np.zeros((*lead, outputs), np.float32)
            if bias:
                offset[:] = theta[..., start : start + outputs]
                start += outputs
            layers.append((weights, offset))
        return layers


def forward(
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]], head: ActionHead, x: NDArray[np.float32]
) -> NDArray[Any]:
    """Actions of one policy for observations x [..., observations]: [..., actions], or indices [...]."""
    for i, (weights, offset) in enumerate(layers):
        x = x @ weights.T + offset
        if i + 1 < len(layers):
            x = np.tanh(x)
    if head.discrete:
        return np.argmax(x, axis=-1)
    if head.bounded:
        centre, half = head.stretch()
        return centre + half * np.tanh(x)
    return x
