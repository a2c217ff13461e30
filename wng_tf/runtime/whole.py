"""Whole numbers, in whatever form they are given: 2000, 2e3, 2_000, 2000.0. Nothing is rounded."""

from __future__ import annotations

import math
import numbers
from typing import Any, cast

from baselines_compat.whole_numbers import parse
from wng_tf.errors import UserError

__all__ = ["parse", "whole", "whole_number"]


def whole(value: Any) -> Any:
    """2e3 as 2000, which `range` and shapes take; anything else as it is, for others to judge."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
        return value
    whole = int(cast(float, value))
    return whole if whole == value else value


def whole_number(name: str, value: Any, low: int | None = None) -> int:
    """The number that is given for `name`.

    Raises:
      UserError: it is none, is not whole, or is below `low`.
    """
    found = whole(value)
    if not isinstance(found, int) or isinstance(found, bool):
        raise UserError(f"--{name} must be a whole number, not {value!r}.")
    if low is not None and found < low:
        raise UserError(f"--{name} must be at least {low}, not {found}.")
    return found
