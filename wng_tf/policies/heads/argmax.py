"""Choices by the largest output, and switches by its sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.conform import size_of
from wng_tf.policies.heads.base import DeterministicHead
from wng_tf.policies.heads.product import Bernoulli, MultiCategorical
from wng_tf.policies.lazy import Lazy

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = Lazy("tensorflow")


@dataclass(frozen=True)
class Argmax(DeterministicHead):
    """For Discrete; there is no noise to add."""

    choices: int

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.Discrete)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Argmax:
        assert isinstance(space, spaces.Discrete)
        settings.pop("noise", None)
        return cls(int(space.n), **settings)

    @property
    def num_outputs(self) -> int:
        return self.choices

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        one_hot: NDArray[np.float32] = np.eye(self.choices, dtype=np.float32)[actions]
        return one_hot

    def mode(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.asarray(np.argmax(outputs, axis=-1), np.int64)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.argmax(outputs, axis=-1)


@dataclass(frozen=True)
class Argmaxes(DeterministicHead):
    """For MultiDiscrete: the largest output of each choice. There is no noise to add."""

    choices: tuple[int, ...]

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.MultiDiscrete)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Argmaxes:
        assert isinstance(space, spaces.MultiDiscrete)
        settings.pop("noise", None)
        return cls(tuple(np.ravel(space.nvec).tolist()), **settings)

    @property
    def _drawn(self) -> MultiCategorical:
        """The head whose likeliest action this one takes."""
        return MultiCategorical(self.choices)

    @property
    def num_outputs(self) -> int:
        return sum(self.choices)

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        return self._drawn.coordinates(actions)

    def mode(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        return self._drawn.mode(outputs)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return self._drawn.mode_tensor(outputs)


@dataclass(frozen=True)
class Signs(DeterministicHead):
    """For MultiBinary: on where the output is positive. There is no noise to add."""

    size: int

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.MultiBinary)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Signs:
        settings.pop("noise", None)
        return cls(size_of(space), **settings)

    @property
    def num_outputs(self) -> int:
        return self.size

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(actions, np.float32)

    def mode(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        return Bernoulli(self.size).mode(outputs)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return Bernoulli(self.size).mode_tensor(outputs)
