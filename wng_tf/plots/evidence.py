"""What the updates of each method did to the policy: medians of the columns that runs log beside their returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wng_tf.plots.runs import LoadedRun
from wng_tf.plots.style import Method, method_name, ordered, task_name
from wng_tf.plots.tables import markdown, to_csv

#: Column of progress.csv -> its name in the report.
COLUMNS = {
    "loss/kl_moved": "KL moved",
    "loss/w2_squared_moved": "W2² moved",
    "loss/clipfrac": "ratios beyond 0.2",
    "loss/policy_entropy": "entropy",
    "wng/wasserstein_estimate": "estimated W2²",
    "wng/cosine": "cosine g, g_W",
    "wng/effective_rank": "effective rank",
    "wng/cg_iterations": "CG iterations",
    "wng/epsilon": "ε",
    "wng/reduction_ratio": "reduction ratio",
    "wng/guarded": "guarded",
}

#: (task, method, medians by column).
Row = tuple[str, Method, dict[str, float]]


def title(column: str) -> str:
    """A column of progress.csv in the words of the report, capitalised; as it is, if the report does not have it."""
    words = COLUMNS.get(column, column)
    return words[0].upper() + words[1:] if column in COLUMNS and words[0].isascii() else words


def medians(runs: Sequence[LoadedRun]) -> list[Row]:
    """For each task and method the median over its runs of each run's median over updates."""
    rows = []
    for env in dict.fromkeys(run.env for run in runs):
        for method in ordered(run.method for run in runs if run.env == env):
            logs = [run.progress for run in runs if (run.env, run.method) == (env, method) and run.progress is not None]
            found = {}
            for name in COLUMNS:
                values = [np.nanmedian(log[name]) for log in logs if name in log and np.isfinite(log[name]).any()]
                if values:
                    found[name] = float(np.median(values))
            rows.append((env, method, found))
    return rows if any(found for *_, found in rows) else []


def evidence_csv(rows: Sequence[Row]) -> str:
    """One row for each task and method."""
    table = [(env, *method, *(found.get(name) for name in COLUMNS)) for env, method, found in rows]
    return to_csv(("env", "alg", "variant", *COLUMNS), table)


def evidence_markdown(rows: Sequence[Row]) -> str:
    """The same as a section of the report, without the columns that no method has."""
    names = [name for name in COLUMNS if any(name in found for *_, found in rows)]
    table = [
        [task_name(env), method_name(method), *(_short(found.get(name)) for name in names)] for env, method, found in rows
    ]
    return (
        "## What the updates did\n\nMedians over updates, then over runs. KL and W2² per state between the policies before "
        "and after an update.\n\n" + markdown(["Task", "Method", *(COLUMNS[name] for name in names)], table) + "\n"
    )


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
