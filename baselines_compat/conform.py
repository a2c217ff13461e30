"""Numbers as environments give them, taken where their meaning is clear and refused where it is not. NumPy only.

Lists, integers, bools, 0-d arrays, bfloat16 and its like, fractions, and shapes that differ in axes of length one are
clear. Text, None, mappings, complex numbers, dates, masked and ragged arrays, and other shapes are not: nothing is broadcast.
"""

from __future__ import annotations

import decimal
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from baselines_compat.errors import NonFiniteError, UserError


class Unclear(ValueError):
    """What was given has no clear meaning; the message says what it was, to stand after 'returned'."""


class FlatBox(spaces.Box):
    """The space of observations that were flattened to one vector, which remembers what they were.

    Attributes:
      original: the environment's own observation space.
    """

    original: spaces.Space[Any]

    @classmethod
    def of(cls, flat: spaces.Box, original: spaces.Space[Any]) -> FlatBox:
        """The box `flat`, of the flattened members of `original`."""
        space = cls(flat.low, flat.high, dtype=flat.dtype.type)
        space.original = original
        return space


def array_of(value: Any) -> np.ndarray:
    """The real numbers that `value` holds, float64, in its shape: an array of its own.

    Raises:
      Unclear: something else than real numbers.
    """
    if value is None or isinstance(value, (str, bytes, Mapping, set, frozenset)):
        raise Unclear(described(value))
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise Unclear("an array with masked entries")
        value = value.data
    try:
        array = np.asarray(value)
        if array.dtype.kind in "fiub":
            return array.astype(np.float64)
        if array.dtype.kind == "V" and array.dtype.names is None and array.dtype.type is not np.void:
            return array.astype(np.float64)  # bfloat16 and its like
        if array.dtype.kind == "O":
            return np.array([_real(item) for item in array.ravel()], np.float64).reshape(array.shape)
    except (Unclear, ValueError, TypeError, RuntimeError):
        pass
    raise Unclear(described(value))


def _real(item: Any) -> float:
    if not isinstance(item, numbers.Real | decimal.Decimal | np.generic) or isinstance(item, np.character | np.void):
        raise Unclear(described(item))
    try:
        return float(item)
    except OverflowError:  # an integer above all floats
        return math.inf if cast(int, item) > 0 else -math.inf


def number(value: Any) -> float:
    """The one real number that `value` is or holds.

    Raises:
      Unclear: it holds none, or several.
    """
    if isinstance(value, float | int | np.floating | np.integer):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    array = array_of(value)
    if array.size != 1:
        raise Unclear(described(value))
    return array.item()


def truth(value: Any) -> bool:
    """The truth value that `value` is or holds, written as a bool or as 0 or 1.

    Raises:
      Unclear: something else.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    one = number(value)
    if one not in (0.0, 1.0):
        raise Unclear(described(value))
    return one == 1.0


def fitted(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of `value` as a float64 array of `shape`, from which its own may differ in axes of length one.

    Raises:
      Unclear: other numbers of them, another arrangement, or no numbers.
    """
    array = array_of(value)
    if array.shape != shape and _long_axes(array.shape) != _long_axes(shape):
        raise Unclear(f"{described(value)}, where shape {shape} is expected")
    return array.reshape(shape)


def _long_axes(shape: tuple[int, ...]) -> list[int]:
    return [length for length in shape if length != 1]


def shape_of(space: spaces.Space[Any]) -> tuple[int, ...]:
    """The shape of the space's members. TypeError if they have none, as those of a Dict."""
    if space.shape is None:
        raise TypeError(f"Members of {space} are no arrays.")
    return space.shape


def size_of(space: spaces.Space[Any]) -> int:
    """How many numbers a member of the space has. TypeError as for `shape_of`."""
    return math.prod(shape_of(space))


def conform(value: Any, space: spaces.Space[Any]) -> Any:
    """`value` as a member of the space's kind, which `gymnasium.spaces.flatten` takes for what it is.

    Bounds of a Box are not checked.

    Raises:
      Unclear: it is none; the message names the place in a Dict or Tuple.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping):
            raise Unclear(f"{described(value)}, where a dict is expected")
        missing = [key for key in space.spaces if key not in value]
        if missing:
            raise Unclear(f"a dict without {missing[0]!r}")
        return {key: _within(value[key], part, repr(key)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(value) != len(space.spaces):
            raise Unclear(f"{described(value)}, where {len(space.spaces)} values are expected")
        return tuple(_within(one, part, str(i)) for i, (one, part) in enumerate(zip(value, space.spaces, strict=True)))
    if isinstance(space, spaces.Discrete):
        choice = number(value)
        if not choice.is_integer() or not space.start <= choice < space.start + space.n:
            raise Unclear(f"{described(value)}, where a whole number of {space} is expected")
        return int(choice)
    if type(value) is np.ndarray and value.shape == space.shape and value.dtype == space.dtype:
        array = value
    else:
        array = fitted(value, shape_of(space))
    if np.dtype(space.dtype).kind in "iub":  # `flatten` would cut what has no place in them
        with np.errstate(invalid="ignore"):
            whole = array.astype(space.dtype)
        if not np.array_equal(whole, array) or not (isinstance(space, spaces.Box) or space.contains(whole)):
            raise Unclear(f"{described(value)}, where whole numbers of {space} are expected")
        return whole
    return array


def _within(value: Any, space: spaces.Space[Any], place: str) -> Any:
    try:
        return conform(value, space)
    except Unclear as error:
        raise Unclear(f"{error}, in its part {place}") from None


def observations_of(value: Any, size: int) -> tuple[np.ndarray, bool]:
    """The raw observations that a policy is asked about: float64 [obs] and True for one, [B, obs] and False for several.

    Raises:
      UserError: no observation of this size, nor a batch of them.
      NonFiniteError: not-a-number or infinity in it.
    """
    try:
        array = array_of(value)
    except Unclear as error:
        raise UserError(f"A policy acts on observations of {size} numbers, not on {error}.") from None
    single = array.ndim < 2 or (array.ndim == 2 and array.shape[1] != size)
    if single and _long_axes(array.shape) == _long_axes((size,)):
        array = array.reshape(size)
    elif array.ndim != 2 or array.shape[1] != size:
        raise UserError(
            f"A policy acts on observations of shape ({size},) or a batch [B, {size}] of them, not on {described(value)}."
        )
    if not np.isfinite(array).all():
        raise NonFiniteError("The policy was asked to act on an observation that is NaN or infinite.")
    return array, array.ndim == 1


def described(value: Any) -> str:
    """What a value is, in few words."""
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {list(value)[:5]}"
    kind = type(value).__name__
    if isinstance(value, bool | int | float | complex | str | bytes | numbers.Number | decimal.Decimal | np.generic):
        text = str(value)
        return f"{text[:40]!r} ({kind})" if isinstance(value, str) else f"{text[:40]} ({kind})"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{kind} of shape {tuple(shape)} and type {getattr(value, 'dtype', 'unknown')}"
    if isinstance(value, Sequence):
        return f"a {kind} of length {len(value)}"
    return f"a {kind}"
