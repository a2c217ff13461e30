"""What a trial's runs have come to so far, read from their folders."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np

from baselines_compat.table import read_csv
from baselines_compat.whole_rows import DamagedFileWarning
from wng_tf.sweeps.execute import is_finished, read_summary
from wng_tf.sweeps.grid import Run
from wng_tf.sweeps.progress import STEPS_COLUMN, steps_done
from wng_tf.tuning.plan import DETERMINISTIC, RETURN, Options

EVALUATION = "evaluation.json"
#: Seed of the start states of the episodes that are played after training.
EVALUATION_SEED = 0


def value_at(folder: Path, run: Run, steps: int, column: str) -> float | None:
    """What the run's log has of a column when it had made so many steps; at 0 what it has first, the untrained policy's.

    Returns:
      None if the run has not come so far; NaN if it has, and no episode had ended by then.
    """
    finished = is_finished(folder, run)
    if not finished and steps_done(folder) < max(1, steps):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DamagedFileWarning)  # the last row of a run at work may be half written
            log = read_csv(folder / "progress.csv")
        made, values = np.asarray(log[STEPS_COLUMN], float), np.asarray(log[column], float)
    except (OSError, KeyError, ValueError):
        return math.nan if finished else None
    there = np.isfinite(values)
    if steps > 0:
        there &= made <= steps
    if not there.any():
        return math.nan if finished or steps > 0 else None
    return float(values[there][-1 if steps > 0 else 0])


def final_value(folder: Path, run: Run, column: str) -> float | None:
    """What the finished run ended with; None if it is not finished, NaN if it ended no episode."""
    if not is_finished(folder, run):
        return None
    if column == RETURN:
        value = read_summary(folder).get(RETURN)
        return float(value) if isinstance(value, int | float) else math.nan
    return value_at(folder, run, run.total_timesteps() or 0, column)


def objective(folder: Path, run: Run, options: Options) -> float:
    """What the finished run counts as; NaN if it has nothing to count."""
    if options.objective != DETERMINISTIC:
        value = final_value(folder, run, options.column)
        return math.nan if value is None else value
    return read_evaluation(folder, options.eval_episodes)


def read_evaluation(folder: Path, episodes: int) -> float:
    """Mean return of the deterministic policy, as `python -m wng_tf.evaluate` wrote it; NaN if it did not, or for others."""
    try:
        found = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
        same = (found["episodes"], found["seed"], found["which"]) == (episodes, EVALUATION_SEED, "latest")
        newer = (folder / EVALUATION).stat().st_mtime_ns >= (folder / "summary.json").stat().st_mtime_ns
        return float(found["deterministic"]["mean"]) if same and newer else math.nan
    except (OSError, ValueError, KeyError, TypeError):
        return math.nan
