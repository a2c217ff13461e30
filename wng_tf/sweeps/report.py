"""The two tables of a sweep's folder.

`sweep.csv` says what the runs came to. It holds nothing of the clock, so a sweep that was killed and started again ends
with the same bytes as one that was not. `timings.csv` says what they cost.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines_compat.files import atomic_write
from wng_tf.sweeps.execute import covers, read_summary
from wng_tf.sweeps.grid import Run
from wng_tf.sweeps.records import Record, all_records
from wng_tf.training import run_folder

RESULTS = ("status", "total_timesteps", "episodes", "eprewmean", "folder")
#: Beside `eprewmean`, where runs are evaluated: mean return of the deterministic policy.
EVALUATED = "eval_return"
TIMINGS = ("attempts", "resumed", "wall_seconds", "time_elapsed", "steps_per_second", "host")


def write_tables(root: Path, plan: Sequence[Run]) -> None:
    """Writes both tables over the runs of `plan` and every other run that a sweep started in this folder."""
    records = {record.run.name: record for record in all_records(root)}
    runs = {record.run.name: record.run for record in records.values()} | {run.name: run for run in plan}
    ordered = sorted(runs.values(), key=_place)
    axes = list(dict.fromkeys(name for run in ordered for name, _ in run.axes))
    summaries = {run: read_summary(root / run.name) for run in ordered}
    evaluated = {run: run_folder.evaluated_return(root / run.name, summaries[run]) for run in ordered if summaries[run]}
    results = RESULTS if set(evaluated.values()) <= {None} else (*RESULTS[:-1], EVALUATED, RESULTS[-1])

    def table(columns: Sequence[str], row: Callable[[Run], Mapping[str, Any]]) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, ["env", "alg", *axes, "seed", *columns], restval="", lineterminator="\n")
        writer.writeheader()
        for run in ordered:
            place = {"env": run.env, "alg": run.alg, **dict(run.axes), "seed": run.seed}
            writer.writerow({**place, **row(run)})
        return text.getvalue()

    with atomic_write(root / "sweep.csv") as file:
        file.write(table(results, lambda run: _results(run, summaries[run], records.get(run.name), evaluated.get(run))))
    with atomic_write(root / "timings.csv") as file:
        file.write(table(TIMINGS, lambda run: _timings(summaries[run], records.get(run.name))))


def _results(run: Run, summary: Mapping[str, Any], record: Record | None, evaluated: float | None) -> dict[str, Any]:
    if not covers(summary, run):
        return {"status": "failed" if record is not None and record.error else "unfinished", "folder": run.name}
    values = {name: summary.get(name) for name in RESULTS} | {"folder": run.name}
    values |= {} if evaluated is None else {EVALUATED: evaluated}
    return {name: "" if value is None else value for name, value in values.items()}


def _timings(summary: Mapping[str, Any], record: Record | None) -> dict[str, Any]:
    attempts = record.attempts if record else []
    elapsed, steps = summary.get("time_elapsed"), summary.get("total_timesteps")
    return {
        "attempts": len(attempts),
        "resumed": sum(attempt.resumed for attempt in attempts),
        "wall_seconds": _digits(sum(attempt.seconds or 0.0 for attempt in attempts)),
        "time_elapsed": "" if elapsed is None else _digits(elapsed),
        "steps_per_second": _digits(steps / elapsed) if elapsed and steps else "",
        "host": attempts[-1].host if attempts else "",
    }


def _digits(value: float) -> str:
    """Six digits that count, so that neither a short time nor a slow run becomes zero."""
    return f"{value:.6g}"


def _place(run: Run) -> tuple:
    return run.env, run.alg, [_number_first(value) for _, value in run.axes], run.seed


def _number_first(text: str) -> tuple[int, float, str]:
    """Sorts 5e-5 before 1e-4, and words after numbers."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
