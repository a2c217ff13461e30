"""How long runs would have taken, by rates that were measured apart: for runs that shared a machine with other work.

A folder has a CSV file for each task, named after it, as `python -m benchmarks.throughput` writes it: the columns section,
what and value, and in section `rates` a row with the steps per second of each contender. A contender is an algorithm, with
settings after colons: `bg_wnpg:num_features=100`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wng_tf.errors import UserError
from wng_tf.plots.runs import STEPS, LoadedRun


class Rate(NamedTuple):
    """What one contender made on one task."""

    alg: str
    settings: Mapping[str, str]
    """Those that were given, by name."""
    steps_per_second: float


def read_rates(folder: Path) -> dict[str, list[Rate]]:
    """The rates in a folder, by task.

    Raises:
      UserError: no such folder, no rates in it, or a file that cannot be read.
    """
    found: dict[str, list[Rate]] = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row.get("section") == "rates"]
            rates = [_rate(row["what"], float(row["value"])) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(f"{path} has no rates as benchmarks.throughput writes them: {error}.") from error
        if rates:
            found[path.stem] = rates
    if not found:
        raise UserError(f"There are no rates in {folder}: python -m benchmarks.throughput --sections=rates writes them.")
    return found


def _rate(contender: str, steps_per_second: float) -> Rate:
    alg, *given = contender.split(":")
    if not 0.0 < steps_per_second < float("inf"):
        raise ValueError(f"the rate of {contender} is {steps_per_second}")
    return Rate(alg, dict(setting.split("=", 1) for setting in given), steps_per_second)


def minutes_at(rates: Mapping[str, list[Rate]], run: LoadedRun) -> float:
    """Minutes that the run's steps take at the rate of its algorithm on its task; NaN if there is none.

    Of several contenders that fit the run's settings the one that names most of them counts.
    """
    fitting = [
        rate
        for rate in rates.get(run.env, [])
        if rate.alg == run.alg and all(run.settings.get(name) == value for name, value in rate.settings.items())
    ]
    if not fitting or run.progress is None or not len(run.progress):
        return float("nan")
    best = max(fitting, key=lambda rate: len(rate.settings))
    return float(run.progress[STEPS][-1]) / best.steps_per_second / 60.0
