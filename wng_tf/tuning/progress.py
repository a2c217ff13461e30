"""What a trial's runs have come to so far, read from their folders."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np

from baselines_compat.table import read_csv
from baselines_compat.whole_rows import DamagedFileWarning
from wng_tf.sweeps.execute import is_finished, read_summary
from wng_tf.sweeps.grid import Run
from wng_tf.sweeps.progress import STEPS_COLUMN, steps_done
from wng_tf.training import run_folder
from wng_tf.tuning.plan import DETERMINISTIC, RETURN, Options


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
    value = run_folder.evaluated_return(folder, read_summary(folder), options.eval_episodes)
    return math.nan if value is None else value
