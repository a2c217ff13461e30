"""Search spaces: flags of a run, each with values to choose from or a range. No Optuna is needed to read them.

lr=log:1e-5:3e-4             a number, uniform in its logarithm
gamma=linear:0.95:0.999      a number, uniform
num_basis=int:5:50           a whole number; int:5:50:5 in steps of 5, logint:8:512 uniform in its logarithm
trust_radius=0.01|0.03|0.1   one of these values
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wng_tf.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import Trial

FORMS = "NAME=log:LOW:HIGH, NAME=linear:LOW:HIGH, NAME=int:LOW:HIGH, NAME=logint:LOW:HIGH or NAME=VALUE|VALUE"

_SEARCH = re.compile(r"([a-z]\w*)=(.+)", re.DOTALL)
_RANGE = re.compile(r"(log|linear|int|logint):(.*)", re.DOTALL)


@dataclass(frozen=True)
class Values:
    """A flag and the values, as texts, that it may have."""

    name: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.name}={'|'.join(self.values)}"

    def suggest(self, trial: Trial) -> str:
        """What Optuna proposes to a trial."""
        return str(trial.suggest_categorical(self.name, self.values))

    def value(self, text: str) -> str:
        """What Optuna proposes where the flag has this text."""
        return text

    def flag(self, value: Any) -> str:
        """The text of the flag for a value that Optuna has drawn."""
        return str(value)

    def probes(self) -> tuple[str, ...]:
        """Texts that a run must accept if it is to accept all."""
        return self.values

    def points(self) -> tuple[str, ...] | None:
        """Every value, for a grid."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A flag and the numbers from `low` to `high`, both included; `step` 0: of any size, or 1 for whole numbers."""

    name: str
    kind: str
    low: float
    high: float
    step: float = 0.0

    @property
    def text(self) -> str:
        step = f":{self.step:g}" if self.step else ""
        return f"{self.name}={self.kind}:{self.low:g}:{self.high:g}{step}"

    @property
    def is_log(self) -> bool:
        return self.kind in ("log", "logint")

    @property
    def is_whole(self) -> bool:
        return self.kind in ("int", "logint")

    @property
    def gives_whole(self) -> bool:
        """Whether every number is a whole one."""
        return self.is_whole or (self.step != 0 and self.low == int(self.low) and self.step == int(self.step))

    def suggest(self, trial: Trial) -> float:
        """What Optuna proposes to a trial."""
        if self.is_whole:
            low, high, step = int(self.low), int(self.high), int(self.step) or 1
            return trial.suggest_int(self.name, low, high, log=self.is_log, step=step)
        return trial.suggest_float(self.name, self.low, self.high, log=self.is_log, step=self.step or None)

    def value(self, text: str) -> float:
        """What Optuna proposes where the flag has this text."""
        return int(text) if self.is_whole else float(text)

    def flag(self, value: Any) -> str:
        """The text of the flag for a number that Optuna has drawn: six digits that count."""
        return str(int(value)) if self.is_whole else f"{value:.6g}"

    def probes(self) -> tuple[str, ...]:
        """Texts that a run must accept if it is to accept all."""
        return self.flag(self.low), self.flag(self.high)

    def points(self) -> tuple[str, ...] | None:
        """Every value, for a grid; None where there is no end of them."""
        if self.is_log or not (self.step or self.is_whole):
            return None
        step = self.step or 1.0
        return tuple(self.flag(self.low + i * step) for i in range(math.floor((self.high - self.low) / step + 1e-9) + 1))


Axis = Values | Range


def parse(texts: Iterable[str]) -> tuple[Axis, ...]:
    """The axes of `lr=log:1e-5:3e-4` and its like, one a text; a second text on the same flag replaces the first.

    Raises:
      UserError: a text of another form.
    """
    axes: dict[str, Axis] = {}
    for text in texts:
        axis = _axis(text.strip())
        axes[axis.name] = axis
    return tuple(axes.values())


def parse_mapping(texts: Mapping[str, str]) -> tuple[Axis, ...]:
    """The axes of a row of `wng_tf.algorithms`."""
    return parse(f"{name}={text}" for name, text in texts.items())


def grid_points(axes: tuple[Axis, ...]) -> list[dict[str, str]]:
    """Every point of a grid, in the order of a sweep over the same values.

    Raises:
      UserError: an axis without end.
    """
    points: list[dict[str, str]] = [{}]
    for axis in axes:
        values = axis.points()
        if values is None:
            raise UserError(
                f"--search={axis.text} has no end of values for --sampler=grid: name them, as {axis.name}=A|B|C, or give "
                "the range a step."
            )
        points = [{**point, axis.name: value} for point in points for value in values]
    return points


def _axis(text: str) -> Axis:
    match = _SEARCH.fullmatch(text)
    if match is None:
        raise UserError(f"--search='{text}' is not name=values: write it as {FORMS}.")
    name, rest = match[1], match[2].strip()
    values = tuple(value.strip() for value in rest.split("|"))
    ranges = [found for value in values if (found := _RANGE.fullmatch(value))]
    if not ranges or _is_schedule(values):
        if not all(values):
            raise UserError(f"--search='{text}' has an empty value: write it as {FORMS}.")
        if len(set(values)) < len(values):
            raise UserError(f"--search='{text}' names a value twice: name it once.")
        return Values(name, values)
    if len(values) > 1:
        raise UserError(f"--search='{text}' has a range among its values: give a range or values, not both.")
    return _range(name, ranges[0][1], ranges[0][2].split(":"), text)


def _is_schedule(values: Iterable[str]) -> bool:
    """`linear:3e-4` is a learning rate, `linear:1e-5:3e-4` a range."""
    return all(":" not in value or value.startswith("linear:") and value.count(":") == 1 for value in values)


def _range(name: str, kind: str, words: list[str], text: str) -> Range:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)) or len(numbers) not in (2, 3):
        raise UserError(f"--search='{text}' lacks the ends of its range: write it as {FORMS}.")
    low, high, *rest = numbers
    step = rest[0] if rest else 0.0
    if not low < high:
        raise UserError(f"--search='{text}': the range must begin below its end.")
    if kind in ("log", "logint") and rest:
        raise UserError(f"--search='{text}': a logarithmic range has no step: leave it out, or name values, A|B|C.")
    if kind in ("log", "logint") and low <= 0.0:
        raise UserError(f"--search='{text}': a logarithmic range must begin above 0.")
    if kind in ("int", "logint") and any(number != int(number) for number in numbers):
        raise UserError(f"--search='{text}': '{kind}' is a range of whole numbers.")
    if rest and not 0.0 < step <= high - low:
        raise UserError(f"--search='{text}': the step must be above 0 and no more than the range.")
    return Range(name, kind, low, high, step)
