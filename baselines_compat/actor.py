"""A policy in NumPy, for rollouts: one action costs about ten microseconds, against hundreds through TensorFlow.

No TensorFlow is imported here: this is what runs in rollout workers. `ActorSpec` says what the network looks like,
`Actor` holds a copy of the weights. `baselines_compat.policies` makes the spec from a Keras model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # of -x it would overflow, with a warning
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _silu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf  # SciPy only where gelu is asked for: it costs a worker 30 MB

    return (0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))).astype(x.dtype)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "linear": None,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "silu": _silu,
    "gelu": _gelu,
    "sigmoid": _sigmoid,
}


@dataclasses.dataclass(frozen=True)
class ActorSpec:
    """Shape of an actor: dense layers (inputs, units, activation), then a Gaussian or a categorical head.

    The flat weights are kernel [inputs, units] and bias [units] of each layer, then logstd [action] for a Gaussian.
    """

    layers: tuple[tuple[int, int, str], ...]
    discrete: bool

    @property
    def size(self) -> int:
        """How many flat weights the actor takes."""
        dense = sum(inputs * units + units for inputs, units, _ in self.layers)
        return dense if self.discrete else dense + self.layers[-1][1]


class Actor:
    """Acts from float32 copies of the weights. Stateless: what is random is handed in."""

    def __init__(self, spec: ActorSpec, flat: np.ndarray):
        flat = np.array(flat[: spec.size], dtype=np.float32)
        if flat.shape != (spec.size,):
            raise ValueError(f"The actor takes {spec.size} weights, not {flat.shape[0]}.")
        self.spec = spec
        self.discrete = spec.discrete
        self._layers = []
        start = 0
        for inputs, units, activation in spec.layers:
            kernel = flat[start : start + inputs * units].reshape(inputs, units)
            start += inputs * units
            bias = flat[start : start + units]
            start += units
            self._layers.append((kernel, bias, ACTIVATIONS[activation]))
        self.std = None if spec.discrete else np.exp(flat[start:])

    def params(self, observation: np.ndarray) -> np.ndarray:
        """Mean of the Gaussian, or logits, for observations [obs] or [B, obs]."""
        h = observation
        for kernel, bias, activation in self._layers:
            h = np.dot(h, kernel)
            h += bias
            if activation is np.tanh:
                np.tanh(h, out=h)
            elif activation is not None:
                h = activation(h)
        return h

    def draw_perturbations(self, rng: np.random.Generator, steps: int) -> np.ndarray:
        """What makes `steps` actions random [steps, ...]: σ times standard normals, or uniforms for a categorical policy."""
        if self.discrete:
            return rng.random((steps, 1))
        return self.std * rng.standard_normal((steps, self.std.size), dtype=np.float32)

    def act(self, observation: np.ndarray, perturbation: np.ndarray) -> np.ndarray | int:
        """The action for one observation [obs] and one row of perturbations."""
        params = self.params(observation)
        if not self.discrete:
            return params + perturbation
        weights = np.exp(params - params.max(), dtype=np.float64)
        cumulative = np.cumsum(weights)
        return int(min(np.searchsorted(cumulative, perturbation[0] * cumulative[-1], side="right"), weights.size - 1))

    def mode(self, observation: np.ndarray) -> np.ndarray | int:
        """The most likely action for one observation [obs]."""
        params = self.params(observation)
        return int(np.argmax(params)) if self.discrete else params
