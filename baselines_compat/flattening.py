"""Observations of any kind as one vector of numbers, and what of it are the pixels of images. NumPy only.

The order is that of `gymnasium.spaces.flatten`. Pixels, whole numbers from 0 to 255, come as fractions of 255 and are
left alone by running normalization, as Baselines leaves them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from baselines_compat.conform import FlatBox

PIXEL = 255.0
"""What pixels are divided by."""

Columns = tuple[tuple[int, int], ...]
"""Ranges [start, stop) of the numbers of a vector."""


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether it is a Box of two or three axes of bytes that use their whole range."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) in (2, 3)
        and bool(np.all(space.low == 0) and np.all(space.high == PIXEL))
    )


def image_columns(space: spaces.Space[Any]) -> Columns:
    """Where the pixels of images are in the flat form of the space; neighbours are one range."""
    found: list[tuple[int, int]] = []
    start = 0
    for part in _parts(getattr(space, "original", space)):
        stop = start + spaces.flatdim(part)
        if is_image(part):
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], stop)
            else:
                found.append((start, stop))
        start = stop
    return tuple(found)


def _parts(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """The spaces that a Dict or Tuple is made of, all the way down, in their order."""
    if isinstance(space, spaces.Dict):
        return [one for part in space.spaces.values() for one in _parts(part)]
    if isinstance(space, spaces.Tuple):
        return [one for part in space.spaces for one in _parts(part)]
    return [space]


def flat_space(space: spaces.Space[Any]) -> FlatBox:
    """The space of `flattened` members.

    Raises:
      NotImplementedError, ValueError: it has no flat form.
    """
    flat = spaces.flatten_space(space)
    if not isinstance(flat, spaces.Box):
        raise ValueError(f"{space} has no flat form")
    columns = image_columns(space)
    if columns:
        kind = np.float64 if flat.dtype == np.float64 else np.float32
        low, high = flat.low.astype(kind), flat.high.astype(kind)
        for start, stop in columns:
            low[start:stop], high[start:stop] = 0.0, 1.0
        flat = spaces.Box(low, high, dtype=kind)
    return FlatBox.of(flat, space)


def flattened(member: Any, space: spaces.Space[Any]) -> np.ndarray:
    """A member of the space, as `conform` gives it, as a vector [size]."""
    vector: np.ndarray = np.asarray(spaces.flatten(space, member))
    columns = image_columns(space)
    if columns:
        vector = vector.astype(np.float64 if vector.dtype == np.float64 else np.float32)
        for start, stop in columns:
            vector[start:stop] /= np.float32(PIXEL)
    return vector


def divisors(space: spaces.Space[Any]) -> np.ndarray:
    """What `gymnasium.spaces.flatten` is divided by [size] float32 for `flattened`."""
    found = np.ones(spaces.flatdim(getattr(space, "original", space)), np.float32)
    for start, stop in image_columns(space):
        found[start:stop] = PIXEL
    return found
