"""From the flat observations that rollouts hand over to what a network takes: their shape, or a dict or tuple of such."""

from __future__ import annotations

from typing import Any

import keras
from gymnasium import spaces

from baselines_compat.conform import size_of

Shapes = Any
"""A shape, or a dict or tuple of them: what a network's builder is called with."""


@keras.saving.register_keras_serializable("baselines_compat")
class Cut(keras.layers.Layer):
    """Columns `start` to `stop` of [B, size]."""

    def __init__(self, start: int, stop: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, x: Any) -> Any:
        return x[:, self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start, "stop": self.stop}


def shapes_of(space: spaces.Space[Any]) -> Shapes:
    """What a network sees of an observation of this space.

    A Box keeps its shape; Discrete, MultiDiscrete and MultiBinary are vectors, one-hot but for the last.
    """
    space = original_of(space)
    if isinstance(space, spaces.Dict):
        return {key: shapes_of(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(shapes_of(part) for part in space.spaces)
    return space.shape if isinstance(space, spaces.Box) and space.shape else (spaces.flatdim(space),)


def original_of(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The environment's own space, of flat observations that remember it; the space itself of others."""
    return getattr(space, "original", space)


def structured(flat: Any, space: spaces.Space[Any]) -> Any:
    """Keras tensors [B, *shape] in the structure of `shapes_of`, cut out of flat ones [B, size]."""
    found, end = _cut(flat, original_of(space), 0)
    assert end == size_of(space), "as many numbers as the flat observation has"
    return found


def _cut(flat: Any, space: spaces.Space[Any], start: int) -> tuple[Any, int]:
    if isinstance(space, spaces.Dict):
        parts = {}
        for key, part in space.spaces.items():
            parts[key], start = _cut(flat, part, start)
        return parts, start
    if isinstance(space, spaces.Tuple):
        listed = []
        for part in space.spaces:
            one, start = _cut(flat, part, start)
            listed.append(one)
        return tuple(listed), start
    end = start + spaces.flatdim(space)
    piece = flat if (start, end) == (0, flat.shape[1]) else Cut(start, end)(flat)
    shape = shapes_of(space)
    return (piece if len(shape) == 1 else keras.layers.Reshape(shape)(piece)), end
