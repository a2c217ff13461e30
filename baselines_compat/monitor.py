"""Episodes in Baselines' `N.monitor.csv`: a line of JSON, then return `r`, length `l` and seconds `t`."""

from __future__ import annotations

import csv
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from baselines_compat import whole_rows
from baselines_compat.conform import number, truth
from baselines_compat.files import absolute, atomic_write
from baselines_compat.table import Table, complete_lines, of_rows


class Monitor(gymnasium.Wrapper):
    """Records each episode of `env` to a file, and puts it into the last step's `info["episode"]`.

    Args:
      env: a Gymnasium environment.
      filename: see `ResultsWriter`; None records nothing on disk.
      allow_early_resets: whether `reset` may come before the end of an episode, which is then not recorded.
      reset_keywords: names that `reset` must be given (as arguments or in `options`); recorded as columns.
      info_keywords: names to take out of the last `info`; recorded as columns.
      resume_rows: continue the file after this many episodes, see `ResultsWriter`.
    """

    EXT = "monitor.csv"

    def __init__(
        self,
        env: gymnasium.Env,
        filename: str | os.PathLike[str] | None,
        allow_early_resets: bool = False,
        reset_keywords: Sequence[str] = (),
        info_keywords: Sequence[str] = (),
        resume_rows: int | None = None,
    ):
        super().__init__(env)
        self.tstart = time.time()
        self.results_writer: ResultsWriter | None = None
        if filename:
            self.results_writer = ResultsWriter(
                filename,
                header={"t_start": self.tstart, "env_id": env.spec and env.spec.id},
                extra_keys=(*reset_keywords, *info_keywords),
                resume_rows=resume_rows,
            )
            self.tstart = self.results_writer.header.get("t_start", self.tstart)
        self.reset_keywords = tuple(reset_keywords)
        self.info_keywords = tuple(info_keywords)
        self.allow_early_resets = allow_early_resets
        self.rewards: list[float] = []
        self.needs_reset = True
        self.episode_rewards: list[float] = []
        self.episode_lengths: list[int] = []
        self.episode_times: list[float] = []
        self.total_steps = 0
        self.current_reset_info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None, **kwargs: Any):
        """As the environment's. RuntimeError before the end of an episode unless `allow_early_resets`."""
        if not self.allow_early_resets and not self.needs_reset:
            raise RuntimeError(
                "The environment was reset before its episode ended; to allow it, wrap it in "
                "Monitor(env, path, allow_early_resets=True)."
            )
        for key in self.reset_keywords:
            value = kwargs.get(key, (options or {}).get(key))
            if value is None:
                raise ValueError(f"reset() needs the keyword '{key}', which this Monitor records.")
            self.current_reset_info[key] = value
        self.rewards = []
        self.needs_reset = False
        return self.env.reset(seed=seed, options=options, **kwargs)

    def step(self, action: Any):
        """As the environment's. RuntimeError after the end of an episode."""
        if self.needs_reset:
            raise RuntimeError("The episode is over: reset the environment before the next step.")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.rewards.append(number(reward))
        self.total_steps += 1
        if truth(terminated) or truth(truncated):
            self.needs_reset = True
            info = dict(info or {})
            info["episode"] = self._finish(info)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        super().close()
        if self.results_writer is not None:
            self.results_writer.close()

    def get_total_steps(self) -> int:
        return self.total_steps

    def get_episode_rewards(self) -> list[float]:
        return self.episode_rewards

    def get_episode_lengths(self) -> list[int]:
        return self.episode_lengths

    def get_episode_times(self) -> list[float]:
        """Seconds since `t_start` at the end of each episode."""
        return self.episode_times

    def _finish(self, info: Mapping[str, Any]) -> dict[str, Any]:
        total, seconds = sum(self.rewards), time.time() - self.tstart
        # Rounded as in Baselines: short files, and the same number in the file as in `info`.
        episode = {"r": round(total, 6), "l": len(self.rewards), "t": round(seconds, 6)}
        episode |= {key: info[key] for key in self.info_keywords} | self.current_reset_info
        self.episode_rewards.append(total)
        self.episode_lengths.append(len(self.rewards))
        self.episode_times.append(seconds)
        if self.results_writer is not None:
            self.results_writer.write_row(episode)
        return episode


_COLUMNS = ("r", "l", "t")


class LoadMonitorResultsError(Exception):
    """No monitor files where they were looked for."""


class ResultsWriter:
    """Appends episodes to a monitor file, each on the disk when `write_row` returns.

    Args:
      filename: the file; a folder gets `monitor.csv` inside, another name gets `.monitor.csv` after it.
      header: what the first line says, usually `{"t_start": seconds since 1970, "env_id": id}`.
      extra_keys: columns after `r`, `l`, `t`.
      resume_rows: None replaces an existing file. A number keeps its header and that many rows, and appends
        to them; ValueError if the file has fewer rows, or other columns. A file that is gone or has no row is
        begun anew.

    `rows` counts the episodes in the file: the number to resume from. `header` is the header in force: on
    resumption that of the file, whose `t_start` the column `t` counts from.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        header: Mapping[str, Any] | None = None,
        extra_keys: Sequence[str] = (),
        resume_rows: int | None = None,
    ):
        self.filename = _with_extension(absolute(filename))
        self.header = dict(header or {})
        self.keys = ("r", "l", "t", *extra_keys)
        rows: list[str] = []
        if resume_rows is not None:
            found, rows = _kept_rows(self.filename, self.keys, resume_rows)
            self.header = found or self.header
        self.rows = len(rows)
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.filename) as file:
            file.write(f"#{json.dumps(self.header, default=_plain)}\n")
            csv.writer(file, lineterminator="\n").writerow(self.keys)
            file.writelines(row + "\n" for row in rows)
        self.f = open(self.filename, "a", encoding="utf-8", newline="")  # noqa: SIM115
        self.logger = csv.DictWriter(self.f, fieldnames=self.keys, lineterminator="\n")

    def write_row(self, epinfo: Mapping[str, Any]) -> None:
        """Append an episode: "r", "l", "t" and each of `extra_keys`. ValueError on other keys."""
        self.logger.writerow({key: _one_line(value) for key, value in epinfo.items()})
        self.f.flush()
        self.rows += 1

    def close(self) -> None:
        self.f.close()

    @staticmethod
    def check_resume(filename: str | os.PathLike[str], resume_rows: int, extra_keys: Sequence[str] = ()) -> None:
        """ValueError or LoadMonitorResultsError where `ResultsWriter(..., resume_rows=...)` raises it; writes nothing."""
        _kept_rows(_with_extension(absolute(filename)), ("r", "l", "t", *extra_keys), resume_rows)


def _kept_rows(file: Path, keys: Sequence[str], count: int) -> tuple[dict[str, Any] | None, list[str]]:
    """The header and the first `count` rows of a monitor file; None and none if it is gone or has none at all."""
    rows = [line for line in complete_lines(file)[2:] if line.strip()] if file.exists() else []
    if not rows:
        return None, []
    if len(rows) < count:
        raise ValueError(
            f"'{file}' has {len(rows)} of the {count} episodes that were recorded: restore it, or delete it to continue "
            "without them."
        )
    with warnings.catch_warnings():
        # The row that a kill tore is not among those that are kept.
        warnings.simplefilter("ignore", whole_rows.DamagedFileWarning)
        header, table = _parse(file)
    if tuple(table.columns) != tuple(keys):
        raise ValueError(f"'{file}' has the columns {table.columns}, not {list(keys)}.")
    return header, rows[:count]


def get_monitor_files(dir: str | os.PathLike[str]) -> list[str]:
    """Paths of the monitor files in a folder, sorted."""
    return sorted(str(path) for path in absolute(dir).glob(f"*{Monitor.EXT}"))


def load_results(dir: str | os.PathLike[str]) -> Table:
    """Episodes of all monitor files of a folder, in the order in which they ended.

    Columns `r`, `l`, `t` (seconds since the earliest `t_start`) and those that all files have in common;
    `.headers` are the files' first lines. Rows, and files, that are not whole are left out with a
    `whole_rows.DamagedFileWarning`. Raises LoadMonitorResultsError if there is no file, or none that can be read.
    """
    files = get_monitor_files(dir)
    if not files:
        raise LoadMonitorResultsError(f"No files named *{Monitor.EXT} in {dir}.")
    parsed, problems = [], []
    for file in files:
        try:
            parsed.append(_parse(file))
        except LoadMonitorResultsError as error:
            problems.append((file, error))
    if not parsed:
        raise problems[0][1]
    for file, problem in problems:
        whole_rows.warn(file, f"left out ({problem})")
    headers, tables = zip(*parsed, strict=True)
    known = [header["t_start"] for header in headers if _is_number(header.get("t_start"))]
    starts = [header["t_start"] if _is_number(header.get("t_start")) else min(known, default=0.0) for header in headers]
    names = [name for name in tables[0].columns if all(name in table for table in tables)]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in names}
    # Relative to the first start before adding: seconds since 1970 would cost the microseconds.
    ended = [table["t"] + (start - min(starts)) for table, start in zip(tables, starts, strict=True)]
    columns["t"] = np.concatenate(ended)
    order = np.argsort(columns["t"], kind="stable")
    return Table({name: column[order] for name, column in columns.items()}, headers)


def read_monitor(file: str | os.PathLike[str]) -> Table:
    """The episodes in one monitor file; rows that are not whole are left out with a `whole_rows.DamagedFileWarning`.

    Raises LoadMonitorResultsError if it does not begin as one, or cannot be read.
    """
    header, table = _parse(file)
    return Table(dict(table.items()), [header])


def _parse(file: str | os.PathLike[str]) -> tuple[dict[str, Any], Table]:
    try:
        lines, damaged = whole_rows.read_lines(file)
    except OSError as error:
        raise LoadMonitorResultsError(f"{file} cannot be read ({error.strerror}).") from error
    header, lines, others = _header(lines)
    if header is None:
        raise LoadMonitorResultsError(f"{file} does not begin with a monitor header.")
    names, below = whole_rows.split_header(lines)
    if not names:
        whole_rows.warn(file, "it ends before the line of names")
    if not set(_COLUMNS) <= set(names):
        # The line of names is lost, or glued to a row: what is below it may be whole.
        others += [number for number, _ in lines[:1]]
        names = list(_COLUMNS)
    rows, more = whole_rows.rows_of(below, names, needed=_COLUMNS)
    whole_rows.warn_of_lines(file, [*damaged, *others, *more])
    table = of_rows(names, rows)
    if not len(table):
        table = Table({**dict(table.items()), **{name: np.zeros(0) for name in _COLUMNS}})
    return header, table


def _header(lines: list[tuple[int, str]]) -> tuple[dict[str, Any] | None, list[tuple[int, str]], list[int]]:
    """What the first line says, the lines below it, and its number if it is damaged. None: it is no header, nor names.

    The line of names may be glued to it, or stand in its place.
    """
    if not lines:
        return None, [], []
    number, first = lines[0]
    if not first.startswith("#"):
        names, _ = whole_rows.split_header(lines)
        return ({}, lines, [number]) if set(_COLUMNS) <= set(names) and lines[1:] else (None, lines, [])
    text = first[1:].lstrip()
    try:
        header, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        header, end = None, len(text)
    rest = [(number, text[end:].strip())] if text[end:].strip() else []
    if not isinstance(header, dict):
        return {}, [*rest, *lines[1:]], [number] if text else []
    return header, [*rest, *lines[1:]], []


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know: numbers of NumPy's, else text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _one_line(value: Any) -> Any:
    """Text without ends of lines: a row is one line, so that one that is torn is known."""
    return value if value is None or isinstance(value, int | float) else " ".join(str(value).split())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and np.isfinite(value)


def _with_extension(path: Path) -> Path:
    if path.name.endswith(Monitor.EXT):
        return path
    return path / Monitor.EXT if path.is_dir() else path.with_name(f"{path.name}.{Monitor.EXT}")
