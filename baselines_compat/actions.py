"""From what a policy chose to what an environment is sent: inside the action space, in its dtype, in memory of its own.

NumPy only; `baselines_compat.graph_actions` is the same in TensorFlow, for exported policies.

Bounds are kept exactly. A float32 is compared with float64 bounds in float64: float32(0.1) is above 0.1. Whole numbers
are rounded to the nearest (halves to even) and compared with the outermost floats inside the bounds, because the
bounds themselves may be no floats: the largest int32 is no float32, the largest int64 no float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from baselines_compat.conform import shape_of, size_of


def is_whole(space: spaces.Box) -> bool:
    """Whether the space's numbers are integers or bools."""
    return space.dtype.kind in "iub"


def float_bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a Box of floats that a finite number can be clipped to before it is cast to the space's dtype.

    Those of the space; where it has none, the largest numbers of a dtype narrower than float32, in which others overflow.
    """
    low, high = space.low, space.high
    if space.dtype.itemsize < np.dtype(np.float32).itemsize:
        largest = np.finfo(np.dtype(space.dtype.str)).max
        return np.maximum(low, -largest), np.minimum(high, largest)
    return low, high


def innermost_floats(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Of a Box of whole numbers: the smallest float64 not below each lower bound, and the largest not above each upper."""
    low = [_float_beside(int(bound), up=True) for bound in np.ravel(space.low)]
    high = [_float_beside(int(bound), up=False) for bound in np.ravel(space.high)]
    return np.reshape(low, space.shape), np.reshape(high, space.shape)


def _float_beside(whole: int, *, up: bool) -> float:
    nearest = float(whole)
    if (int(nearest) < whole) if up else (int(nearest) > whole):
        return float(np.nextafter(nearest, np.inf if up else -np.inf))
    return nearest


def chosen_shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    """The shape of one action as a policy chooses it: () of Discrete, else the vector of the member's numbers [size]."""
    return () if isinstance(space, spaces.Discrete) else (size_of(space),)


def to_environment(space: spaces.Space[Any]) -> Callable[[Any], Any]:
    """A function from the actions of a policy to those of the environment.

    It takes the chosen action, or a batch with leading axes: for a Box its real numbers [..., size]; otherwise the
    number of the choice, or of each choice [..., size], counted from zero. It returns a new array [..., *shape] of the
    space's dtype (a NumPy integer for one choice), which nobody else writes to. Not-a-number stays what it is among
    floats, and becomes the lower bound among whole numbers: who chose it has to notice.

    Args:
      space: a Box, or one of whole numbers, such as Discrete.
    """
    shape = shape_of(space)
    if isinstance(space, spaces.Discrete) or len(shape) == 1:
        return _in_bounds(space)
    send = _in_bounds(space)

    def shaped(action: Any) -> np.ndarray:
        return np.asarray(send(np.reshape(action, (*np.shape(action)[:-1], *shape))))

    return shaped


def from_environment(space: spaces.Space[Any]) -> Callable[[Any], np.ndarray]:
    """The inverse of `to_environment`: members of the space [..., *shape] as a policy chooses them.

    Actions [..., size] in the space's own numbers for a Box, choices counted from zero else ([...] of Discrete).
    """
    axes, chosen = len(shape_of(space)), chosen_shape(space)
    start = None if isinstance(space, spaces.Box) else getattr(space, "start", 0)

    def flat(action: Any) -> np.ndarray:
        action = np.asarray(action)
        counted = action if start is None else action - start
        return counted.reshape((*action.shape[: action.ndim - axes], *chosen))

    return flat


def _in_bounds(space: spaces.Space[Any]) -> Callable[[Any], Any]:
    """`to_environment`, from actions that have the shape of the space's members already."""
    dtype = space.dtype
    if not isinstance(space, spaces.Box):
        start, integer = getattr(space, "start", 0), np.dtype(dtype).type

        def choice(action: Any) -> Any:
            # A rollout's choices are Python integers; asking NumPy for their axes would take as long as the rest.
            if type(action) is int or np.ndim(action) == 0:
                return integer(int(action) + start)
            return (np.asarray(action) + start).astype(dtype)

        return choice
    if is_whole(space):
        first, last = innermost_floats(space)

        def whole(action: Any) -> np.ndarray:
            rounded = np.rint(np.asarray(action, np.float64))
            inside = (rounded >= first) & (rounded <= last)
            sent = np.where(rounded > last, space.high, space.low)
            sent[inside] = rounded[inside].astype(dtype)
            return sent

        return whole
    low, high = float_bounds(space)
    minimum, maximum = np.minimum, np.maximum

    def real(action: Any) -> np.ndarray:
        # Not np.clip, which takes three times as long for few numbers. `minimum` makes an array even of a view.
        inside: np.ndarray = minimum(maximum(action, low), high)
        return inside if inside.dtype is dtype else inside.astype(dtype, copy=False)

    return real
