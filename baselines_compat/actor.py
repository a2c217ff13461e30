"""A policy in NumPy, for rollouts: one action costs about ten microseconds, against hundreds through TensorFlow.

No TensorFlow is imported here: this is what runs in rollout workers. `ActorSpec` says what the network looks like and
which head makes actions of its outputs, `Actor` holds a copy of the weights. `baselines_compat.policies` makes the spec
from a Keras model.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from gymnasium import spaces

from baselines_compat.conform import size_of

if TYPE_CHECKING:
    from baselines_compat.distributions import PdType


_add = np.add


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


def _in_place(activation: Callable[[np.ndarray], np.ndarray] | None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The activation of a first argument that may be written to: the second one, which is the same."""
    if activation is None:
        return lambda x, _: x
    if isinstance(activation, np.ufunc):
        return activation
    return lambda x, _: activation(x)


Layers = Sequence[tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray] | None]]


def forward(layers: Layers, x: np.ndarray) -> np.ndarray:
    """The outputs [..., out] of a chain of layers (kernel [in, out], bias [out], activation) for inputs x [..., in]."""
    for kernel, bias, activation in layers:
        x = np.dot(x, kernel)
        x += bias
        if activation is None:
            continue
        x = np.tanh(x, out=x) if activation is np.tanh else activation(x)
    return x


class ActionHead(abc.ABC):
    """From what a network gives to actions. Stateless and picklable: what is random, and the parameters, are handed in.

    Besides the network's outputs a head may have free parameters, which do not depend on the observation.

    Attributes:
      num_outputs: outputs of the network.
      num_free: free parameters.
    """

    if TYPE_CHECKING:  # read only: properties, fields or constants of the subclass

        @property
        def num_outputs(self) -> int: ...

        @property
        def num_free(self) -> int: ...

    else:
        num_free = 0

    @abc.abstractmethod
    def draw(self, free: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
        """What makes `steps` actions random [steps, ...], for free parameters [num_free]."""

    @abc.abstractmethod
    def act(self, outputs: np.ndarray, perturbation: np.ndarray) -> Any:
        """The action for the outputs [num_outputs] at one observation, and one row of `draw`."""

    @abc.abstractmethod
    def mode(self, outputs: np.ndarray) -> Any:
        """The most likely actions for outputs [..., num_outputs]."""

    def std(self, free: np.ndarray) -> np.ndarray | None:
        """Standard deviations of the actions, where free parameters give them."""
        del free
        return None

    @abc.abstractmethod
    def pdtype(self) -> PdType:
        """The family of the actions' distributions; imports TensorFlow."""

    def flatparam(self, outputs: Any, free: Any) -> Any:
        """`Pd.flat` [B, params] from tensors: outputs [B, num_outputs] and free parameters [num_free] or [B, num_free]."""
        del free
        return outputs


@dataclasses.dataclass(frozen=True)
class GaussianHead(ActionHead):
    """Real actions: the outputs are the mean of a Gaussian, the free parameters its log standard deviations."""

    size: int

    @property
    def num_outputs(self) -> int:
        return self.size

    @property
    def num_free(self) -> int:
        return self.size

    def std(self, free: np.ndarray) -> np.ndarray:
        return np.exp(free)

    def draw(self, free: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
        """σ times standard normals [steps, size]."""
        return self.std(free) * rng.standard_normal((steps, self.size), dtype=np.float32)

    def act(self, outputs: np.ndarray, perturbation: np.ndarray) -> np.ndarray:
        return outputs + perturbation

    def mode(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def pdtype(self) -> PdType:
        from baselines_compat.distributions import DiagGaussianPdType

        return DiagGaussianPdType(self.size)

    def flatparam(self, outputs: Any, free: Any) -> Any:
        import tensorflow as tf

        return tf.concat([outputs, tf.zeros_like(outputs) + free], axis=-1)


@dataclasses.dataclass(frozen=True)
class CategoricalHead(ActionHead):
    """One of several choices: the outputs are the logits."""

    choices: int

    @property
    def num_outputs(self) -> int:
        return self.choices

    def draw(self, free: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
        """Uniforms [steps, 1]."""
        del free
        return rng.random((steps, 1))

    def act(self, outputs: np.ndarray, perturbation: np.ndarray) -> int:
        # Few numbers: sums and comparisons of Python's take less time than NumPy's.
        weights = np.exp((outputs - max(outputs.tolist())).astype(np.float64)).tolist()
        cumulative = list(itertools.accumulate(weights))
        threshold = perturbation.item(0) * cumulative[-1]
        for choice, reached in enumerate(cumulative):
            if reached > threshold:
                return choice
        return len(cumulative) - 1

    def mode(self, outputs: np.ndarray) -> np.ndarray:
        return np.argmax(outputs, axis=-1)

    def pdtype(self) -> PdType:
        from baselines_compat.distributions import CategoricalPdType

        return CategoricalPdType(self.choices)


@dataclasses.dataclass(frozen=True)
class MultiCategoricalHead(ActionHead):
    """Several choices, independent of each other: the outputs are the logits of the first, of the second, and so on."""

    choices: tuple[int, ...]

    @property
    def num_outputs(self) -> int:
        return sum(self.choices)

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """[parts, most choices]: where each logit is among the outputs, and -1 (see `_rows`) where a part has no more."""
        places = np.full((len(self.choices), max(self.choices)), -1)
        start = 0
        for row, count in zip(places, self.choices, strict=True):
            row[:count] = np.arange(start, start + count)
            start += count
        return places

    @functools.cached_property
    def _last(self) -> np.ndarray:
        return np.array(self.choices) - 1

    def _rows(self, outputs: np.ndarray) -> np.ndarray:
        """Logits [..., parts, most choices] from outputs [..., num_outputs]; -inf in the places of choices there are none."""
        none = np.full((*outputs.shape[:-1], 1), -np.inf, outputs.dtype)
        return np.concatenate([outputs, none], axis=-1)[..., self._places]

    def draw(self, free: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
        """Uniforms [steps, parts]."""
        del free
        return rng.random((steps, len(self.choices)))

    def act(self, outputs: np.ndarray, perturbation: np.ndarray) -> np.ndarray:
        """Choices [..., parts] counted from zero, for outputs [..., num_outputs] and uniforms [..., parts]."""
        rows = self._rows(outputs)
        weights = np.exp(rows - rows.max(axis=-1, keepdims=True), dtype=np.float64)
        cumulative = np.cumsum(weights, axis=-1)
        reached = cumulative <= perturbation[..., np.newaxis] * cumulative[..., -1:]
        return np.minimum(np.count_nonzero(reached, axis=-1), self._last)

    def mode(self, outputs: np.ndarray) -> np.ndarray:
        return np.argmax(self._rows(outputs), axis=-1)

    def pdtype(self) -> PdType:
        from baselines_compat.distributions import MultiCategoricalPdType

        return MultiCategoricalPdType(self.choices)


@dataclasses.dataclass(frozen=True)
class BernoulliHead(ActionHead):
    """Switches, independent of each other: the outputs are the logits of their being on."""

    size: int

    @property
    def num_outputs(self) -> int:
        return self.size

    def draw(self, free: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
        """Uniforms [steps, size]."""
        del free
        return rng.random((steps, self.size))

    def act(self, outputs: np.ndarray, perturbation: np.ndarray) -> np.ndarray:
        """Bits [..., size] for outputs and uniforms of that shape."""
        return (perturbation < _sigmoid(np.asarray(outputs, np.float64))).astype(np.int64)

    def mode(self, outputs: np.ndarray) -> np.ndarray:
        return (outputs > 0).astype(np.int64)

    def pdtype(self) -> PdType:
        from baselines_compat.distributions import BernoulliPdType

        return BernoulliPdType(self.size)


def head_of(space: spaces.Space[Any]) -> ActionHead:
    """The head for an action space.

    Raises:
      ValueError: the space is none of Box, Discrete, MultiDiscrete and MultiBinary.
    """
    if isinstance(space, spaces.Box):
        return GaussianHead(size_of(space))
    if isinstance(space, spaces.Discrete):
        return CategoricalHead(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return MultiCategoricalHead(tuple(np.ravel(space.nvec).tolist()))
    if isinstance(space, spaces.MultiBinary):
        return BernoulliHead(size_of(space))
    raise ValueError(f"Actions must be a Box, Discrete, MultiDiscrete or MultiBinary, not {space}.")


@dataclasses.dataclass(frozen=True)
class ActorSpec:
    """Shape of an actor: dense layers (inputs, units, activation), then a head.

    The flat weights are kernel [inputs, units] and bias [units] of each layer, then the head's free parameters.

    Args:
      layers: of the network.
      discrete: whether the head is categorical or Gaussian, unless one is given.
      head: from the network's outputs to actions.
    """

    layers: tuple[tuple[int, int, str], ...]
    discrete: dataclasses.InitVar[bool] = False
    head: ActionHead = cast(ActionHead, None)

    def __post_init__(self, discrete: bool) -> None:
        if self.head is None:
            units = self.layers[-1][1]
            object.__setattr__(self, "head", CategoricalHead(units) if discrete else GaussianHead(units))

    @property
    def size(self) -> int:
        """How many flat weights the actor takes."""
        return sum(inputs * units + units for inputs, units, _ in self.layers) + self.head.num_free


class Actor:
    """Acts from float32 copies of the weights. Stateless: what is random is handed in."""

    def __init__(self, spec: ActorSpec, flat: np.ndarray):
        flat = np.array(flat[: spec.size], dtype=np.float32)
        if flat.shape != (spec.size,):
            raise ValueError(f"The actor takes {spec.size} weights, not {flat.shape[0]}.")
        self.spec = spec
        self.head = spec.head
        self._layers = []
        start = 0
        for inputs, units, activation in spec.layers:
            kernel = flat[start : start + inputs * units].reshape(inputs, units)
            start += inputs * units
            bias = flat[start : start + units]
            start += units
            self._layers.append((kernel, bias, ACTIVATIONS[activation]))
        self._free = flat[start:]
        self._act = spec.head.act
        # What hidden layers give to one observation. The outputs are the head's, in memory of their own.
        *hidden, self._last = self._layers
        self._hidden = [(kernel, bias, _in_place(activation), np.empty_like(bias)) for kernel, bias, activation in hidden]

    @property
    def std(self) -> np.ndarray | None:
        """Standard deviations of the actions, where the head's free parameters give them."""
        return self.head.std(self._free)

    def params(self, observation: np.ndarray) -> np.ndarray:
        """The network's outputs, such as mean or logits, for observations [obs] or [B, obs]."""
        return forward(self._layers, observation)

    def draw_perturbations(self, rng: np.random.Generator, steps: int) -> np.ndarray:
        """What makes `steps` actions random [steps, ...]: σ times standard normals, or uniforms for a categorical policy."""
        return self.head.draw(self._free, rng, steps)

    def act(self, observation: np.ndarray, perturbation: np.ndarray) -> Any:
        """The action for one observation [obs], float32, and one row of perturbations. Not for several threads at once."""
        # The array's own method and positional arguments: NumPy takes half as long again to find out what is meant.
        x = observation
        for kernel, bias, activate, out in self._hidden:
            x.dot(kernel, out)
            _add(out, bias, out)
            x = activate(out, out)
        kernel, bias, activation = self._last
        outputs = x.dot(kernel)
        _add(outputs, bias, outputs)
        return self._act(outputs if activation is None else activation(outputs), perturbation)

    def mode(self, observation: np.ndarray) -> Any:
        """The most likely action for one observation [obs]."""
        return self.head.mode(forward(self._layers, observation))


class JointActor(abc.ABC):
    """A network that acts for all worlds at once, where it is: it is no chain of dense layers, which every world's process
    could go through in NumPy.

    Attributes:
      head: from the network's outputs to actions; picklable, it acts where the worlds are.
    """

    head: ActionHead

    @abc.abstractmethod
    def load(self, flat: np.ndarray) -> None:
        """Act with these weights from now on: the flat weights of the policy, [P] or more of them."""

    @abc.abstractmethod
    def free(self) -> np.ndarray:
        """The head's free parameters [num_free] among them."""

    @abc.abstractmethod
    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """The network's outputs [E, num_outputs] for normalized observations [E, obs] of all worlds."""
