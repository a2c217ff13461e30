"""How observations enter a policy when they are normalized: the frozen statistics of a run. NumPy only.

The two families compute differently, and each acts as it was trained: policy gradients in float64, as Baselines'
VecNormalize; evolution strategies, whose populations act inside TensorFlow, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from baselines_compat.flattening import Columns
from baselines_compat.running_mean_std import Moments
from baselines_compat.vec_env.normalizer import NormalizerSettings, normalize
from wng_tf.policies.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow as tf
else:
    tf = Lazy("tensorflow")

CLIP = 10.0
VARIANCE_FLOOR = 1e-8


class ObservationNormalizer(Protocol):
    """What both offer."""

    def __call__(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        """Normalized observations [..., obs]."""

    def vectors(self) -> tuple[NDArray[Any], ...]:
        """Its statistics."""

    def tensor(self, x: tf.Tensor, vectors: Sequence[tf.Tensor]) -> tf.Tensor:
        """The same in TensorFlow, from tensors of its `vectors`."""

    def to_tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""


@dataclass(frozen=True)
class Normalizer:
    """(x - shift) · scale, clipped to ±10. Each [observations], float32."""

    shift: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, moments: Moments, left: Columns = ()) -> Normalizer:
        """To mean 0 and variance 1 for observations with these moments; only the clip as long as there are none.

        The columns `left` stay as they are: the pixels of images, which are fractions.
        """
        if moments.count == 0:
            return cls(np.zeros_like(moments.mean, np.float32), np.ones_like(moments.mean, np.float32))
        shift, scale = np.array(moments.mean), 1.0 / np.sqrt(moments.var + VARIANCE_FLOOR)
        for start, stop in left:
            shift[start:stop], scale[start:stop] = 0.0, 1.0
        return cls(shift.astype(np.float32), scale.astype(np.float32))

    def __call__(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = (np.asarray(observation, np.float32) - self.shift) * self.scale
        return np.clip(scaled, -CLIP, CLIP)

    def vectors(self) -> tuple[NDArray[Any], ...]:
        return self.shift, self.scale

    def tensor(self, x: tf.Tensor, vectors: Sequence[tf.Tensor]) -> tf.Tensor:
        return shifted_and_scaled(x, vectors)

    def to_tree(self) -> dict[str, Any]:
        return {"shift": self.shift, "scale": self.scale}


def shifted_and_scaled(x: tf.Tensor, vectors: Sequence[tf.Tensor]) -> tf.Tensor:
    """A `Normalizer` in TensorFlow: its shift and scale applied to x [..., observations]; without any, x itself."""
    if not vectors:
        return x
    shift, scale = vectors
    return tf.clip_by_value((x - shift) * scale, -CLIP, CLIP)


@dataclass(frozen=True)
class RunningNormalizer:
    """`baselines_compat.vec_env.normalizer.normalize` with frozen statistics.

    Attributes:
      mean, var: [obs] float64.
      settings: what is done with them.
    """

    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    settings: NormalizerSettings = NormalizerSettings()

    def __call__(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        return normalize(observation, self.mean, self.var, self.settings)

    def vectors(self) -> tuple[NDArray[Any], ...]:
        return self.mean, self.var

    def tensor(self, x: tf.Tensor, vectors: Sequence[tf.Tensor]) -> tf.Tensor:
        if not self.settings.ob:
            return x
        mean, var = vectors
        # In float64, as while training: a float32 difference of a large mean would lose digits.
        scaled = (tf.cast(x, tf.float64) - mean) / tf.sqrt(var + self.settings.epsilon)
        scaled = tf.cast(tf.clip_by_value(scaled, -self.settings.clipob, self.settings.clipob), tf.float32)
        left = np.zeros(self.mean.shape, np.bool_)
        for start, stop in self.settings.left:
            left[start:stop] = True
        return tf.where(left, x, scaled) if left.any() else scaled

    def to_tree(self) -> dict[str, Any]:
        settings = self.settings
        return {"mean": self.mean, "var": self.var, "settings": settings_tree(settings)}


def settings_tree(settings: NormalizerSettings) -> dict[str, Any]:
    """What a policy's checkpoint keeps of the settings."""
    left = {"left": [list(columns) for columns in settings.left]} if settings.left else {}
    return {"ob": settings.ob, "clipob": settings.clipob, "epsilon": settings.epsilon, **left}


def from_tree(tree: Mapping[str, Any] | None) -> ObservationNormalizer | None:
    """The inverse of `to_tree`; None: observations are seen as they are."""
    if tree is None:
        return None
    if "settings" in tree:
        mean, var = (np.asarray(tree[name], np.float64) for name in ("mean", "var"))
        left = tuple((int(start), int(stop)) for start, stop in tree["settings"].get("left", ()))
        return RunningNormalizer(mean, var, NormalizerSettings(**{**tree["settings"], "left": left}))
    return Normalizer(**tree)
