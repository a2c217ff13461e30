"""Numbers that change over a run.

Baselines' schedules are asked with the time step: `LinearSchedule(10_000, 0.1).value(t)`. Its learning rates
and clip ranges are functions of the fraction of training that remains, from 1 at the start to 0 at the end,
as in `lr=lambda f: 3e-4 * f`; `parse_schedule("linear:3e-4")` makes those from a flag.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Schedule:
    """A value for each time step."""

    def value(self, t: float) -> float:
        raise NotImplementedError


class ConstantSchedule(Schedule):
    """The same value always."""

    def __init__(self, value: float):
        self._v = value

    def value(self, t: float) -> float:
        return self._v


def linear_interpolation(l: float, r: float, alpha: float) -> float:  # noqa: E741
    """From `l` at alpha = 0 to `r` at alpha = 1."""
    return l + alpha * (r - l)


class PiecewiseSchedule(Schedule):
    """Values at given times, and interpolation between them.

    Args:
      endpoints: pairs (time, value), times ascending.
      interpolation: `f(left value, right value, alpha)`, alpha in [0, 1) being the way gone from left to
        right.
      outside_value: value before the first time and from the last one on; if None, asking there is a
        ValueError.
    """

    def __init__(
        self,
        endpoints: Sequence[tuple[float, float]],
        interpolation: Callable[[float, float, float], float] = linear_interpolation,
        outside_value: float | None = None,
    ):
        times = [time for time, _ in endpoints]
        if times != sorted(times):
            raise ValueError(f"The times of a PiecewiseSchedule must ascend, not {times}.")
        self._endpoints = list(endpoints)
        self._interpolation = interpolation
        self._outside_value = outside_value

    def value(self, t: float) -> float:
        for (left_t, left), (right_t, right) in zip(self._endpoints[:-1], self._endpoints[1:], strict=True):
            if left_t <= t < right_t:
                return self._interpolation(left, right, (t - left_t) / (right_t - left_t))
        if self._outside_value is None:
            raise ValueError(f"t = {t} is outside the endpoints, and there is no outside_value.")
        return self._outside_value


class LinearSchedule(Schedule):
    """From `initial_p` to `final_p` over `schedule_timesteps`, and `final_p` afterwards."""

    def __init__(self, schedule_timesteps: int, final_p: float, initial_p: float = 1.0):
        self.schedule_timesteps = schedule_timesteps
        self.final_p = final_p
        self.initial_p = initial_p

    def value(self, t: float) -> float:
        return linear_interpolation(self.initial_p, self.final_p, min(t / self.schedule_timesteps, 1.0))


_SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda fraction: 1.0,
    "linear": lambda fraction: fraction,
    "cosine": lambda fraction: 0.5 * (1.0 - math.cos(math.pi * fraction)),
}


@dataclass(frozen=True)
class FractionSchedule:
    """A function of the fraction of training that remains. `str` gives the text that `parse_schedule` reads.

    Attributes:
      kind: "constant", "linear", or "cosine" (half a wave, flat at both ends).
      initial: value at fraction 1, the start of training.
      final: value at fraction 0, its end (of "constant": unused).
    """

    kind: str
    initial: float
    final: float = 0.0

    def __call__(self, fraction: float) -> float:
        """The value at `fraction` in [0, 1]; ValueError outside."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"The fraction of training that remains is between 0 and 1, not {fraction}.")
        return self.final + (self.initial - self.final) * _SHAPES[self.kind](fraction)

    def __str__(self) -> str:
        if self.kind == "constant":
            return repr(self.initial)
        return f"{self.kind}:{self.initial!r}" + (f":{self.final!r}" if self.final else "")


def parse_schedule(spec: str | float | FractionSchedule) -> FractionSchedule:
    """A schedule from a flag: "3e-4", "constant:3e-4", "linear:3e-4", "cosine:3e-4", "linear:3e-4:1e-5" (to
    1e-5).

    Raises ValueError, in one sentence, on anything else, and on values that are negative or not finite.
    """
    if isinstance(spec, FractionSchedule):
        return spec
    kind, *values = str(spec).strip().split(":") if ":" in str(spec) else ("constant", str(spec))
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    well_formed = kind in _SHAPES and 1 <= len(numbers) <= (1 if kind == "constant" else 2)
    if not well_formed or not all(0.0 <= number < math.inf for number in numbers):
        raise ValueError(
            f"'{spec}' is not a schedule: write a number that is not negative (3e-4), or "
            "constant:3e-4, linear:3e-4, cosine:3e-4, or linear:3e-4:1e-5 to end at 1e-5."
        )
    return FractionSchedule(kind, *numbers)
