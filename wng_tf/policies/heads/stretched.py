"""Real actions that are a function of the outputs: stretched to the bounds of the action space, where it has any."""

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

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Stretched(DeterministicHead):
    """For a Box, whose numbers count in the order of its flattened form.

    Attributes:
      low, high: bounds, one pair per action; infinite where there are none.
      noise: standard deviation of a sampled action's noise, in half-ranges.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    noise: float = 0.0

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.Box)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Stretched:
        assert isinstance(space, spaces.Box)
        low, high = (tuple(np.ravel(bound).tolist()) for bound in (space.low, space.high))
        return cls(low, high, **settings)

    def settings(self) -> dict[str, Any]:
        return {"noise": self.noise}

    @property
    def num_outputs(self) -> int:
        return len(self.low)

    @property
    def num_noise(self) -> int:
        return len(self.low)

    @property
    def bounded(self) -> bool:
        """Whether tanh and stretching apply: every action has two finite bounds, which float32 can stretch to."""
        return all(abs(bound) <= _LARGEST for bound in (*self.low, *self.high))

    def stretch(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(centre, half-range), each [actions]; 0 and 1 where there are no bounds."""
        if not self.bounded:
            return np.zeros(len(self.low), np.float32), np.ones(len(self.low), np.float32)
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        return ((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)

    def noise_scale(self) -> NDArray[np.float32]:
        """Half-ranges."""
        return self.stretch()[1]

    def mode(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.bounded:
            return outputs
        centre, half = self.stretch()
        return centre + half * np.tanh(outputs)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        if not self.bounded:
            return outputs
        centre, half = self.stretch()
        return centre + half * tf.tanh(outputs)
