"""Whole numbers as texts say them: 2000, 2e3, 2_000, 2000.0. Nothing is rounded."""

from __future__ import annotations

import contextlib
import math

__all__ = ["parse"]


def parse(text: str) -> int:
    """The whole number that a text says.

    Raises:
      ValueError: it says none; the message is about the text.
    """
    with contextlib.suppress(ValueError):
        return int(text)  # a float would round a long seed
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None
    if not math.isfinite(value) or int(value) != value:
        raise ValueError(f"'{text}' is not a whole number")
    return int(value)
