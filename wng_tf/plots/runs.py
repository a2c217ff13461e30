"""Run folders read back: which run it is, its episodes and its log.

A folder is a run if it has a `flags.txt` or a `summary.json` that names `alg`, `env` and `seed`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path

import numpy as np

from baselines_compat import whole_rows
from baselines_compat.monitor import LoadMonitorResultsError, get_monitor_files, read_monitor
from baselines_compat.table import Table, read_csv
from wng_tf import algorithms, families
from wng_tf.errors import UserError
from wng_tf.runtime.paths import expanded
from wng_tf.training import run_flags, run_folder

STEPS = "misc/total_timesteps"
SECONDS = "misc/time_elapsed"
RETURN = "eprewmean"


@dataclass(frozen=True)
class LoadedRun:
    """One run.

    Attributes:
      settings: its other flags.
      progress: its log, if it has one.
      monitors: the episodes of each environment, in the order of the files.
      variant: the settings in which it differs from other runs of the same algorithm on the same task, as `lr=1e-4`.
      eval_return: mean return of the deterministic policy of its end; NaN where it was not evaluated.
    """

    folder: Path
    alg: str
    env: str
    seed: int
    finished: bool
    settings: Mapping[str, str] = field(default_factory=dict)
    progress: Table | None = None
    monitors: Sequence[Table] = ()
    variant: str = ""
    eval_return: float = float("nan")

    @property
    def method(self) -> tuple[str, str]:
        """Algorithm and variant: runs that share both differ in their seed alone."""
        return self.alg, self.variant

    @property
    def is_evolution(self) -> bool:
        return self.alg in families.EVOLUTION.table


def load_runs(
    folders: Iterable[str | os.PathLike[str]], *, unfinished: bool = False, max_steps: float | None = None
) -> tuple[list[LoadedRun], int]:
    """Every run in the folders and below them, in order of their paths.

    Args:
      unfinished: keep runs without a summary.
      max_steps: leave out what came after so many environment steps, as if the runs had ended there.

    Returns:
      the runs, with variants told apart, and how many were left out because they are not finished.

    Raises:
      UserError: a folder that is not there, or no runs.
    """
    found: dict[Path, LoadedRun] = {}
    for folder in map(expanded, folders):
        if not folder.is_dir():
            raise UserError(f"There is no folder '{folder}'.")
        for place, below, files in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if run_folder.FLAGS in files or run_folder.SUMMARY in files:
                try:
                    run = load_run(Path(place))
                except UserError as error:
                    whole_rows.warn(place, f"left out ({error})")
                    continue
                if run is not None:
                    found[run.folder.resolve()] = run if max_steps is None else up_to(run, max_steps)
    kept = [run for run in found.values() if unfinished or run.finished]
    if not kept:
        names = ", ".join(str(folder) for folder in folders)
        hint = f" {len(found)} are not finished: --unfinished plots them." if found else ""
        raise UserError(f"There are no finished runs in {names}.{hint}")
    return _with_variants(kept), len(found) - len(kept)


def load_run(folder: Path) -> LoadedRun | None:
    """The run in a folder, or None if what is there does not say which run it is.

    What is not whole is left out with a `whole_rows.DamagedFileWarning`: rows, a log, a summary (the run is then taken as
    unfinished).

    Raises:
      UserError: its flags cannot be read.
    """
    try:
        summary = run_folder.read_summary(folder) or {}
    except UserError as error:
        whole_rows.warn(folder / run_folder.SUMMARY, f"left out ({error})")
        summary = {}
    flags = _flags(folder) if (folder / run_folder.FLAGS).is_file() else {}
    identity = {**flags, **summary}
    if not all(name in identity for name in ("alg", "env", "seed")):
        return None
    if not str(identity["seed"]).strip().isdecimal():
        raise UserError(f"its seed is '{identity['seed']}', not a number")
    return LoadedRun(
        folder=folder,
        alg=str(identity["alg"]),
        env=str(identity["env"]),
        seed=int(identity["seed"]),
        finished=bool(summary),
        settings={name: value for name, value in flags.items() if name not in _beside_the_method()},
        progress=_log(folder / "progress.csv", bool(summary)),
        monitors=_unless_empty([_episodes(file) for file in get_monitor_files(folder)]),
        eval_return=nan if (evaluated := run_folder.evaluated_return(folder, summary)) is None else evaluated,
    )


def _log(file: Path, finished: bool) -> Table | None:
    """The log of a run; without rows where it has just started or the log is lost, None where a finished run has none."""
    nothing = Table({STEPS: np.zeros(0), RETURN: np.zeros(0)})
    if not file.is_file():
        return None if finished else nothing
    try:
        table = read_csv(file)
    except OSError as error:
        whole_rows.warn(file, f"left out ({error.strerror})")
        return nothing
    if STEPS in table:
        return table
    if table.columns or finished:
        whole_rows.warn(file, f"left out (it has no column '{STEPS}')")
    return nothing


def _episodes(file: str) -> Table:
    """The episodes of an environment: none where the file cannot be read, because the number of files counts."""
    try:
        return read_monitor(file)
    except LoadMonitorResultsError as error:
        whole_rows.warn(file, f"left out ({error})")
        return Table({name: np.zeros(0) for name in ("r", "l", "t")})


def up_to(run: LoadedRun, steps: float) -> LoadedRun:
    """The run as it was after so many environment steps: the rows of its log and the episodes that ended by then."""
    progress, evaluated = run.progress, run.eval_return
    if progress is not None and STEPS in progress:
        within = progress[STEPS] <= steps
        progress = progress.rows(within)
        evaluated = evaluated if all(within) else nan  # what was evaluated came later
    cut = [table.rows(ends <= steps) for table, ends in zip(run.monitors, episode_ends(run), strict=True)]
    return replace(run, progress=progress, monitors=_unless_empty(cut), eval_return=evaluated)


def episode_ends(run: LoadedRun) -> list[np.ndarray]:
    """Steps of the run at which the episodes of each environment ended.

    The environments step together, so after k steps of one the run has made k times their number.
    """
    return [len(run.monitors) * np.cumsum(table["l"]) for table in run.monitors]


def _unless_empty(monitors: Sequence[Table]) -> tuple[Table, ...]:
    """All of them, because their number counts, also those of environments without an episode; none if none has one."""
    return tuple(monitors) if any(map(len, monitors)) else ()


@functools.cache
def _beside_the_method() -> frozenset[str]:
    """Flags that do not make it another method."""
    return families.beside_the_numbers() | {name for name, role in run_flags.ROLES.items() if role != "result"}


def _flags(folder: Path) -> dict[str, str]:
    return run_folder.flag_values(folder, known=families.settings())


def _with_variants(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    groups: dict[tuple[str, str], list[LoadedRun]] = defaultdict(list)
    for run in runs:
        groups[run.env, run.alg].append(run)
    varying = {key: _varying_settings(group) for key, group in groups.items()}
    return [_named(run, varying[run.env, run.alg]) for run in runs]


def _varying_settings(runs: Sequence[LoadedRun]) -> list[str]:
    """Settings of which the runs of an algorithm have several values. A run of a version that did not know a setting has what
    is its default now."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    defaults = _defaults(runs[0].alg)
    return [name for name in names if len({run.settings.get(name, defaults.get(name)) for run in runs}) > 1]


@functools.cache
def _defaults(alg: str) -> Mapping[str, str]:
    """The settings of an algorithm that nobody gave, as a run's flags have them; none of an algorithm that is not known."""
    try:
        algorithm = algorithms.find(alg)
    except UserError:
        return {}
    fields = {field.name: field.default for field in dataclasses.fields(families.of(algorithm).config)}
    return {name: str(value) for name, value in {**fields, **algorithm.defaults}.items()}


def _named(run: LoadedRun, names: Sequence[str]) -> LoadedRun:
    settings = {**_defaults(run.alg), **run.settings}
    variant = ", ".join(f"{name}={settings[name]}" for name in names if name in settings)
    return replace(run, variant=variant)


def total_reward(run: LoadedRun) -> float:
    """Sum of all rewards of the run: its episodes' returns, or, without monitor files, return per step times steps."""
    if run.monitors:
        return float(sum(np.sum(table["r"]) for table in run.monitors))
    if run.progress is None or RETURN not in run.progress or "eplenmean" not in run.progress:
        return float("nan")
    steps = np.diff(run.progress[STEPS], prepend=0)
    return float(np.nansum(run.progress[RETURN] / run.progress["eplenmean"] * steps))


def minutes(run: LoadedRun) -> float:
    """Wall-clock time of the run in minutes; NaN if it did not log it."""
    if run.progress is not None and SECONDS in run.progress and len(run.progress):
        return float(run.progress[SECONDS][-1]) / 60.0
    return float("nan")
