"""Spaces of observations and actions as plain data for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from baselines_compat.conform import FlatBox


def to_tree(space: spaces.Space[Any]) -> dict[str, Any]:
    """Plain data of a Box, of a space of whole numbers, or of a Dict or Tuple of them."""
    if isinstance(space, FlatBox):
        flat = spaces.Box(space.low, space.high, dtype=space.dtype.type)
        return {**to_tree(flat), "original": to_tree(space.original)}
    if isinstance(space, spaces.Dict):
        return {"dict": [[key, to_tree(part)] for key, part in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"tuple": [to_tree(part) for part in space.spaces]}
    if isinstance(space, spaces.Box):
        return {"low": space.low, "high": space.high, "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"nvec": np.asarray(space.nvec), "first": np.asarray(space.start), "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiBinary):
        bits: Any = space.n
        return {"bits": [int(size) for size in space.shape] if np.ndim(bits) else int(bits)}  # unequal in Gymnasium
    raise ValueError(f"A policy is kept with a Box or a space of whole numbers, not with {space}.")


def from_tree(tree: Mapping[str, Any]) -> spaces.Space[Any]:
    """The inverse. KeyError, TypeError, ValueError, AttributeError: the tree of something else."""
    if "original" in tree:
        flat = from_tree({key: value for key, value in tree.items() if key != "original"})
        if not isinstance(flat, spaces.Box):
            raise ValueError(f"flat observations of {flat}")
        return FlatBox.of(flat, from_tree(tree["original"]))
    if "dict" in tree:
        return spaces.Dict([(key, from_tree(part)) for key, part in tree["dict"]])
    if "tuple" in tree:
        return spaces.Tuple([from_tree(part) for part in tree["tuple"]])
    if "n" in tree:
        return spaces.Discrete(tree["n"], start=tree.get("start", 0), **_dtype(tree))
    if "nvec" in tree:
        return spaces.MultiDiscrete(tree["nvec"], start=tree.get("first"), **_dtype(tree))
    if "bits" in tree:
        return spaces.MultiBinary(tree["bits"])
    return spaces.Box(tree["low"], tree["high"], dtype=np.dtype(tree.get("dtype", tree["low"].dtype)).type)


def _dtype(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Not where it is the usual one: older versions of Gymnasium have no other for Discrete."""
    name = tree.get("dtype", "int64")
    return {} if name == "int64" else {"dtype": np.dtype(name).type}
