"""The choice with the largest output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wng_tf.policies.heads.base import DeterministicHead
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
        return isinstance(space, spaces.Discrete) and space.start == 0

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
