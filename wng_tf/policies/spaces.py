"""Spaces of observations and actions as plain data for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces


def to_tree(space: spaces.Space[Any]) -> dict[str, Any]:
    """Plain data of a Box, or of a space of whole numbers."""
    if isinstance(space, spaces.Box):
        return {"low": space.low, "high": space.high, "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"nvec": np.asarray(space.nvec)}
    if isinstance(space, spaces.MultiBinary):
        return {"bits": [int(size) for size in space.shape]}
    raise ValueError(f"A policy is kept with a Box or a space of whole numbers, not with {space}.")


def from_tree(tree: Mapping[str, Any]) -> spaces.Space[Any]:
    """The inverse. KeyError, TypeError, ValueError, AttributeError: the tree of something else."""
    if "n" in tree:
        return spaces.Discrete(tree["n"], start=tree.get("start", 0))
    if "nvec" in tree:
        return spaces.MultiDiscrete(tree["nvec"])
    if "bits" in tree:
        return spaces.MultiBinary(tree["bits"])
    return spaces.Box(tree["low"], tree["high"], dtype=np.dtype(tree.get("dtype", tree["low"].dtype)).type)
