"""How observations enter a policy when they are normalised. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines_compat.running_mean_std import Moments

CLIP = 10.0
VARIANCE_FLOOR = 1e-8


@dataclass(frozen=True)
class Normaliser:
    """(x - shift) · scale, clipped to ±10. Each [observations], float32."""

    shift: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, moments: Moments) -> Normaliser:
        """To mean 0 and variance 1 for observations with these moments; only the clip as long as there are none."""
        if moments.count == 0:
            return cls(np.zeros_like(moments.mean, np.float32), np.ones_like(moments.mean, np.float32))
        scale = 1.0 / np.sqrt(moments.var + VARIANCE_FLOOR)
        return cls(moments.mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        """Normalised observations [..., observations]."""
        return np.clip((np.asarray(observation, np.float32) - self.shift) * self.scale, -CLIP, CLIP)
