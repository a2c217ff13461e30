"""Seeds and small helpers."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle

__all__ = [
    "EzPickle",
    "RunningAvg",
    "boolean_flag",
    "get_wrapper_by_name",
    "pretty_eta",
    "set_global_seeds",
    "zipsame",
]


def set_global_seeds(i: int | None) -> None:
    """Seed the global generators of Python, NumPy and TensorFlow; None seeds the first two from the system.

    For programs of one's own that draw from them. Training here does not: its streams follow from the run's seed alone.
    """
    random.seed(i)
    np.random.seed(None if i is None else i % 2**32)
    if i is not None:
        try:
            import tensorflow as tf
        except ImportError:
            return
        tf.random.set_seed(i)


def zipsame(*seqs: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """`zip` of sequences of one length. ValueError if they are not."""
    if len({len(seq) for seq in seqs}) > 1:
        raise ValueError(f"sequences of different lengths: {', '.join(str(len(seq)) for seq in seqs)}.")
    return zip(*seqs, strict=True)


def pretty_eta(seconds_left: float) -> str:
    """A time in words, of its two largest units: '2 hours and 37 minutes', 'less than a minute'."""
    minutes, hours, days = (int(seconds_left // unit) for unit in (60, 3600, 86400))
    if not minutes:
        return "less than a minute"
    if not hours:
        return _counted(minutes, "minute")
    parts = [(days, "day"), (hours % 24, "hour")] if days else [(hours, "hour"), (minutes % 60, "minute")]
    return " and ".join(_counted(count, unit) for count, unit in parts if count)


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count > 1 else ''}"


class RunningAvg:
    """An exponential moving average: `gamma` is the weight of what was before. `float(average)` reads it."""

    def __init__(self, gamma: float, init_value: float | None = None):
        self._gamma = gamma
        self._value = init_value

    def update(self, new_val: float) -> None:
        """Take a value into the average; the first one is the average, unless there was an `init_value`."""
        old = self._value
        self._value = new_val if old is None else self._gamma * old + (1.0 - self._gamma) * new_val

    def __float__(self) -> float:
        if self._value is None:
            raise ValueError("the average of no values.")
        return float(self._value)


def boolean_flag(parser: argparse.ArgumentParser, name: str, default: bool | None = False, help: str | None = None) -> None:
    """Add `--name` and `--no-name` to a parser."""
    destination = name.replace("-", "_")
    parser.add_argument(f"--{name}", action="store_true", default=default, dest=destination, help=help)
    parser.add_argument(f"--no-{name}", action="store_false", dest=destination)


def get_wrapper_by_name(env: gym.Env, classname: str) -> gym.Env:
    """The outermost wrapper (or the environment) whose class has that name. ValueError if there is none."""
    layer: Any = env
    while True:
        if type(layer).__name__ == classname:
            return layer
        if not isinstance(layer, gym.Wrapper):
            raise ValueError(f"{env} has no wrapper named {classname}.")
        layer = layer.env
