"""Settings that may change over a run: numbers, schedules as text, and functions of the fraction of training that is left.

A setting keeps what it was given as: `flags.txt` has its text, and the function is beside it. A function at the top level of
a module is `module:name`, and can be named by the flag; any other has to be given again to resume the run.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

from baselines_compat.schedules import FractionSchedule, parse_schedule
from wng_tf.envs import named
from wng_tf.errors import UserError

Rate = Callable[[float], float]
_KINDS = ("constant", "linear", "cosine")


class RateText(str):
    """A rate's text, with the function that it stands for where the text does not say it."""

    function: Rate | None

    def __new__(cls, text: str, function: Rate | None = None) -> RateText:
        made = super().__new__(cls, text)
        made.function = function
        return made


class ScheduledNumber(float):
    """A number that changes over the run: its value is the one that it begins with, its text the schedule."""

    text: str
    function: Rate | None

    def __new__(cls, initial: float, text: str = "", function: Rate | None = None) -> ScheduledNumber:
        made = super().__new__(cls, initial)
        made.text, made.function = text, function
        return made

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def as_text(value: Any) -> str:
    """What a rate was given as -> its text, with the function if it is one."""
    if callable(value):
        return _text(value)
    return value if isinstance(value, str) else str(value)


def number_setting(name: str) -> Callable[[Any], Any]:
    """What `--name` was given as -> a number, or a `ScheduledNumber`. UserError for text that is neither."""

    def convert(value: Any) -> Any:
        if isinstance(value, ScheduledNumber | numbers.Real | bool):
            return value
        text = _text(value) if callable(value) else str(value)
        schedule = function(name, text)
        if isinstance(schedule, FractionSchedule) and schedule.kind == "constant":
            return schedule.initial
        return ScheduledNumber(schedule(1.0), text, text.function if isinstance(text, RateText) else None)

    return convert


def function(name: str, value: Any) -> Rate:
    """The function of the fraction of training that is left, behind a setting's value.

    Args:
      name: of the setting, for messages.

    Raises:
      UserError: neither a number nor a schedule, or no function of that name; and from the function, where somebody's own
        gives no number from 0.
    """
    own = getattr(value, "function", None)
    if own is not None:
        return _checked(name, str(value), own)
    text = str(value)
    path = named_function(text)
    if path is not None:
        return _checked(name, text, named.find(path, name))
    if text.startswith("object("):
        raise UserError(
            f"--{name}={text} was given as a function that flags cannot name: give it again, as learn({name}=...)."
        )
    try:
        return parse_schedule(text)
    except ValueError as error:
        raise UserError(f"--{name}: {error}") from None


def named_function(text: str | None) -> str | None:
    """`module:name`, if that is what a rate's text is: not a number, and no kind of schedule."""
    module, colon, name = (text or "").partition(":")
    is_path = bool(colon) and module not in _KINDS and name.isidentifier() and all(map(str.isidentifier, module.split(".")))
    return text if is_path else None


def _text(value: Any) -> RateText:
    if isinstance(value, FractionSchedule):
        return RateText(str(value))
    return RateText(named.name_of(value) or f"object({getattr(value, '__name__', type(value).__name__)})", value)


def _checked(name: str, text: str, function: Rate) -> Rate:
    def rate(fraction: float) -> float:
        try:
            value = function(fraction)
            number = float(value)
        except Exception as error:  # whatever somebody's function does
            raise UserError(f"--{name}={text} failed at fraction {fraction:g}: {type(error).__name__}: {error}.") from error
        if not 0.0 <= number < math.inf:
            raise UserError(f"--{name}={text} gave {value} at fraction {fraction:g}, where a number from 0 is expected.")
        return number

    return rate
