"""Observations as environments give them, as the rows of numbers that a policy's network takes. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.conform import FlatBox, Unclear, conform, described, observations_of, size_of
from baselines_compat.errors import NonFiniteError
from baselines_compat.flattening import flattened
from wng_tf.errors import UserError


def rows_of(value: Any, space: spaces.Box) -> tuple[NDArray[np.float64], bool]:
    """The rows [B, obs] of one observation (and True) or of a batch of them (and False).

    Args:
      value: of the environment's own space: a dict, a tuple, a choice, an array; a batch is one of them of arrays with an
        axis more at the front, as vector environments give it, or a sequence of observations. Where the environment's
        observations were flattened, flat vectors [obs] and [B, obs] are taken too, unless they could be something else; the
        pixels of images are fractions in them.
      space: of the flat observations.

    Raises:
      UserError: no observation of that space, nor a batch of them.
      NonFiniteError: not-a-number or infinity in it.
    """
    if isinstance(space, FlatBox) and _is_of(value, space.original):
        members, single = _members(value, space.original)
        rows = [np.asarray(flattened(member, space.original), np.float64) for member in members]
        array = np.reshape(rows, (len(rows), size_of(space))).astype(np.float64)
        if not np.isfinite(array).all():
            raise NonFiniteError("The policy was asked to act on an observation that is NaN or infinite.")
        return array, single
    try:
        array, single = observations_of(value, size_of(space))
    except UserError:
        if isinstance(space, FlatBox):  # flat vectors are not what is expected first
            raise _refused(space.original, described(value)) from None
        raise
    return np.atleast_2d(array), single


def _refused(space: spaces.Space[Any], what: object) -> UserError:
    return UserError(f"A policy acts on observations of {space}, or a batch of them, not on {what}.")


def _is_of(value: Any, space: spaces.Space[Any]) -> bool:
    """Whether the value is to be read as one of the space, or as several, and not as flat vectors."""
    shape = _shape(value)
    if shape is None:
        return True
    if isinstance(space, spaces.Tuple):
        return isinstance(value, list | tuple)
    if isinstance(space, spaces.Dict):
        return np.asarray(value).dtype.kind not in "fiub"
    return shape == space.shape or shape[1:] == space.shape


def _members(value: Any, space: spaces.Space[Any]) -> tuple[list[Any], bool]:
    """The observations that a value holds, and whether it is one and no batch."""
    try:
        if _has_batch_axis(value, space):
            return list(_unbatched(value, space)), False
        if _is_sequence(value, space):
            return [conform(one, space) for one in value], False
        return [conform(value, space)], True
    except Unclear as error:
        raise _refused(space, error) from None


def _has_batch_axis(value: Any, space: spaces.Space[Any]) -> bool:
    """Whether every array in the value has one axis more than an observation's has."""
    if isinstance(space, spaces.Dict):
        return isinstance(value, Mapping) and all(
            key in value and _has_batch_axis(value[key], part) for key, part in space.spaces.items()
        )
    if isinstance(space, spaces.Tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(space.spaces)
            and all(_has_batch_axis(one, part) for one, part in zip(value, space.spaces, strict=True))
        )
    shape = _shape(value)
    return bool(shape) and shape is not None and shape[1:] == space.shape


def _is_sequence(value: Any, space: spaces.Space[Any]) -> bool:
    """Whether the value is a sequence of dicts or tuples, each of them an observation."""
    kind: Any = Mapping if isinstance(space, spaces.Dict) else tuple | list
    return (
        isinstance(space, spaces.Dict | spaces.Tuple)
        and isinstance(value, Sequence | np.ndarray)
        and len(value) > 0
        and all(isinstance(one, kind) and len(one) == len(space.spaces) for one in value)
    )


def _unbatched(value: Any, space: spaces.Space[Any]) -> Iterator[Any]:
    """The observations of a batch, one by one."""
    if isinstance(space, spaces.Dict):
        columns = {key: list(_unbatched(value[key], part)) for key, part in space.spaces.items()}
        _check_lengths({repr(key): len(column) for key, column in columns.items()})
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))
    elif isinstance(space, spaces.Tuple):
        parts = [list(_unbatched(one, part)) for one, part in zip(value, space.spaces, strict=True)]
        _check_lengths({str(i): len(part) for i, part in enumerate(parts)})
        yield from zip(*parts, strict=True)
    else:
        for one in value:
            yield conform(one, space)


def _check_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise Unclear("a batch whose parts have different lengths: " + ", ".join(f"{k}: {n}" for k, n in lengths.items()))


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of an array or a nested list of numbers; None for anything else."""
    if isinstance(value, Mapping | str | bytes) or value is None:
        return None
    try:
        shape: tuple[int, ...] = np.shape(value)
    except ValueError:  # ragged
        return None
    return shape
