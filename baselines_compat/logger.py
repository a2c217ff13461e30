"""The Baselines logger: `configure()` once, then `logkv`, `logkv_mean` and `dumpkvs`.

    logger.configure("runs/hopper", ["stdout", "log", "csv", "tensorboard"])
    logger.logkv("misc/total_timesteps", 2048)
    logger.logkv_mean("loss/value_loss", 0.3)
    logger.dumpkvs()

Where a value is not a number (the mean return before the first episode ends), csv has an empty cell, json null and
TensorBoard nothing. The one difference from Baselines: there is no MPI here, so `configure` takes no `comm`.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import functools
import io
import json
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from baselines_compat.files import atomic_write
from baselines_compat.table import Table, complete_lines, parse_csv, read_csv, read_json

__all__ = [
    "DEBUG", "INFO", "WARN", "ERROR", "DISABLED", "CSVOutputFormat", "HumanOutputFormat", "JSONOutputFormat", "KVWriter",
    "Logger", "SeqWriter", "TensorBoardOutputFormat", "configure", "debug", "dump_tabular", "dumpkvs", "error",
    "get_current", "get_dir", "getkvs", "info", "log", "logkv", "logkv_mean", "logkvs", "make_output_format", "profile",
    "profile_kv", "read_csv", "read_json", "read_tb", "record_tabular", "reset", "scoped_configure", "set_level", "warn",
    "write_hparams",
]  # fmt: skip

DEBUG = 10
INFO = 20
WARN = 30
ERROR = 40
DISABLED = 50

FORMATS = ("stdout", "log", "csv", "json", "tensorboard")
STEP_KEY = "misc/total_timesteps"
"""TensorBoard's horizontal axis; rows without it are counted 1, 2, 3, ... as Baselines counts all of them."""

ResumeFrom = tuple[str, float]
"""(key, value): rows up to this value of this key belong to the run that goes on; later ones are dropped."""


# ---------------------------------------------------------------------------------------------------------------------
# Formats
# ---------------------------------------------------------------------------------------------------------------------


class KVWriter:
    """Takes the key-value pairs of each dump."""

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        raise NotImplementedError


class SeqWriter:
    """Takes the lines of `log`."""

    def writeseq(self, seq: Any) -> None:
        raise NotImplementedError


class HumanOutputFormat(KVWriter, SeqWriter):
    """The boxed table and the log lines, for people. `filename_or_file`: a path (see `append`) or an open text file."""

    def __init__(self, filename_or_file: str | os.PathLike[str] | TextIO, append: bool = False):
        self.own_file = isinstance(filename_or_file, (str, os.PathLike))
        if self.own_file:
            self.file = open(filename_or_file, "a" if append else "w", encoding="utf-8")  # noqa: SIM115
        elif hasattr(filename_or_file, "write"):
            self.file = filename_or_file
        else:
            raise TypeError(f"Expected a file name or a file, got {filename_or_file!r}.")

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        if not kvs:
            return
        cells = sorted(((_truncate(key), _truncate(_short(value))) for key, value in kvs.items()), key=_alphabetical)
        key_width = max(len(key) for key, _ in cells)
        value_width = max(len(value) for _, value in cells)
        dashes = "-" * (key_width + value_width + 7)
        rows = [f"| {key:<{key_width}} | {value:<{value_width}} |" for key, value in cells]
        self.file.write("\n".join([dashes, *rows, dashes]) + "\n")
        self.file.flush()

    def writeseq(self, seq: Any) -> None:
        self.file.write(" ".join(str(part) for part in seq) + "\n")
        self.file.flush()

    def close(self) -> None:
        if self.own_file:
            self.file.close()


class JSONOutputFormat(KVWriter):
    """One strict JSON object a line, on the disk after each dump."""

    def __init__(self, filename: str | os.PathLike[str], resume_from: ResumeFrom | None = None):
        _start_file(filename, resume_from, _json_lines_to_keep)
        self.file = open(filename, "a", encoding="utf-8")  # noqa: SIM115

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        row = {key: _json_value(_plain(value)) for key, value in sorted(kvs.items())}
        self.file.write(json.dumps(row, allow_nan=False) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class CSVOutputFormat(KVWriter):
    """One line a dump, on the disk after each dump. Keys that appear later widen the header; the file is then rewritten
    as a whole, atomically. Line ends inside keys and values become spaces, so that a torn last line can be told."""

    def __init__(self, filename: str | os.PathLike[str], resume_from: ResumeFrom | None = None):
        self.filename = Path(filename)
        _start_file(self.filename, resume_from, _csv_lines_to_keep)
        lines = complete_lines(self.filename)
        self.keys: list[str] = next(csv.reader(lines[:1])) if lines else []
        self.file = self._open()

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        cells = {_one_line(key): _csv_cell(_plain(value)) for key, value in kvs.items()}
        new = sorted(cells.keys() - set(self.keys))
        if new:
            self._widen(new)
        self.file.write(_csv_line([cells.get(key, "") for key in self.keys]))
        self.file.flush()

    def close(self) -> None:
        self.file.close()

    def _widen(self, new: list[str]) -> None:
        self.file.close()
        rows = complete_lines(self.filename)[1:]
        self.keys += new
        with atomic_write(self.filename) as file:
            file.write(_csv_line(self.keys))
            file.writelines(row + "," * len(new) + "\n" for row in rows)
        self.file = self._open()

    def _open(self) -> TextIO:
        return open(self.filename, "a", encoding="utf-8", newline="")


class TensorBoardOutputFormat(KVWriter):
    """Numbers as TensorBoard scalars in folder `dir`, without TensorFlow. The step is `misc/total_timesteps` where the row has it."""

    def __init__(self, dir: str | os.PathLike[str], resume_from: ResumeFrom | None = None):
        from baselines_compat.tensorboard_events import EventFile

        if resume_from is not None and resume_from[0] != STEP_KEY:
            raise ValueError(f"TensorBoard's steps are '{STEP_KEY}', so a run cannot resume from '{resume_from[0]}'.")
        self.dir = os.fspath(dir)
        self.step = 0 if resume_from is None else int(resume_from[1])
        self.writer = EventFile(dir, resume_step=None if resume_from is None else self.step)

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        scalars = {key: number for key, value in kvs.items() if (number := _number(value)) is not None}
        self.step = int(scalars.get(STEP_KEY, self.step + 1))
        self.writer.add_scalars(self.step, scalars)

    def close(self) -> None:
        self.writer.close()


def make_output_format(
    format: str, ev_dir: str, log_suffix: str = "", resume_from: ResumeFrom | None = None
) -> KVWriter:
    """The writer named `format` ("stdout", "log", "json", "csv", "tensorboard") in folder `ev_dir`.

    Raises ValueError for another name.
    """
    os.makedirs(ev_dir, exist_ok=True)
    if format == "stdout":
        return HumanOutputFormat(sys.stdout)
    if format == "log":
        return HumanOutputFormat(os.path.join(ev_dir, f"log{log_suffix}.txt"), append=resume_from is not None)
    if format == "json":
        return JSONOutputFormat(os.path.join(ev_dir, f"progress{log_suffix}.json"), resume_from)
    if format == "csv":
        return CSVOutputFormat(os.path.join(ev_dir, f"progress{log_suffix}.csv"), resume_from)
    if format == "tensorboard":
        return TensorBoardOutputFormat(os.path.join(ev_dir, f"tb{log_suffix}"), resume_from)
    raise ValueError(f"Unknown log format '{format}'; choose from {', '.join(FORMATS)}.")


# ---------------------------------------------------------------------------------------------------------------------
# The functions people call
# ---------------------------------------------------------------------------------------------------------------------


def logkv(key: str, val: Any) -> None:
    """Log a value for this key; called twice before a dump, the last value is used."""
    get_current().logkv(key, val)


def logkv_mean(key: str, val: float) -> None:
    """Like `logkv`, but called several times before a dump the mean is used."""
    get_current().logkv_mean(key, val)


def logkvs(d: Mapping[str, Any]) -> None:
    """Log each pair of a dictionary."""
    for key, value in d.items():
        logkv(key, value)


def dumpkvs() -> dict[str, Any]:
    """Write what was logged since the last dump to every format, forget it, and return it."""
    return get_current().dumpkvs()


def getkvs() -> dict[str, Any]:
    """What was logged since the last dump."""
    return get_current().name2val


def log(*args: Any, level: int = INFO) -> None:
    """Write a line to stdout and log.txt, unless `level` is below `set_level`'s."""
    get_current().log(*args, level=level)


def debug(*args: Any) -> None:
    log(*args, level=DEBUG)


def info(*args: Any) -> None:
    log(*args, level=INFO)


def warn(*args: Any) -> None:
    log(*args, level=WARN)


def error(*args: Any) -> None:
    log(*args, level=ERROR)


def set_level(level: int) -> None:
    """Drop log lines below this level; DISABLED stops tables and files too."""
    get_current().set_level(level)


def get_dir() -> str | None:
    """The folder being logged to; None if there is none."""
    return get_current().get_dir()


record_tabular = logkv
dump_tabular = dumpkvs


@contextlib.contextmanager
def profile_kv(scopename: str) -> Iterator[None]:
    """Add the seconds that the block takes to `wait_<scopename>`."""
    logkey = "wait_" + scopename
    start = time.perf_counter()
    try:
        yield
    finally:
        get_current().name2val[logkey] += time.perf_counter() - start


def profile(n: str) -> Callable:
    """Decorate a function so that its seconds add up in `wait_<n>`."""

    def decorator(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with profile_kv(n):
                return function(*args, **kwargs)

        return wrapped

    return decorator


# ---------------------------------------------------------------------------------------------------------------------
# The logger behind them
# ---------------------------------------------------------------------------------------------------------------------


class Logger:
    """Values since the last dump, and the formats they go to."""

    DEFAULT: Logger | None = None
    """What `get_current` makes by itself where nobody called `configure`."""
    CURRENT: Logger | None = None
    """What the functions above write to."""

    def __init__(self, dir: str | None, output_formats: list[KVWriter]):
        self.name2val: dict[str, Any] = defaultdict(float)
        self.name2cnt: dict[str, int] = defaultdict(int)
        self.level = INFO
        self.dir = dir
        self.output_formats = output_formats

    def logkv(self, key: str, val: Any) -> None:
        self.name2val[key] = val

    def logkv_mean(self, key: str, val: float) -> None:
        count = self.name2cnt[key]
        self.name2val[key] = self.name2val[key] * count / (count + 1) + val / (count + 1)
        self.name2cnt[key] = count + 1

    def dumpkvs(self) -> dict[str, Any]:
        kvs = dict(self.name2val)
        self.name2val.clear()
        self.name2cnt.clear()
        if self.level < DISABLED and kvs:
            for fmt in self.output_formats:
                if isinstance(fmt, KVWriter):
                    fmt.writekvs(kvs)
        return kvs

    def log(self, *args: Any, level: int = INFO) -> None:
        if self.level <= level:
            for fmt in self.output_formats:
                if isinstance(fmt, SeqWriter):
                    fmt.writeseq(map(str, args))

    def set_level(self, level: int) -> None:
        self.level = level

    def get_dir(self) -> str | None:
        return self.dir

    def close(self) -> None:
        for fmt in self.output_formats:
            fmt.close()


def get_current() -> Logger:
    """The current logger; `configure()` with its defaults if there is none yet."""
    if Logger.CURRENT is None:
        configure()
        Logger.DEFAULT = Logger.CURRENT
    return Logger.CURRENT


def configure(
    dir: str | os.PathLike[str] | None = None,
    format_strs: list[str] | None = None,
    log_suffix: str = "",
    resume_from: ResumeFrom | None = None,
) -> None:
    """Start logging to folder `dir` in the formats `format_strs`.

    `dir` defaults to $OPENAI_LOGDIR, then to a new folder `openai-<time>` in the temporary folder; `format_strs` to
    $OPENAI_LOG_FORMAT (separated by commas), then to stdout,log,csv. `log_suffix` goes into the names of the files.
    Existing files are replaced. With `resume_from=("misc/total_timesteps", value)` they are continued: rows up to that
    value stay, later ones (and a line torn by a kill) are dropped, and new ones are appended.

    Raises ValueError for an unknown format, or where rows to resume from do not have the key.
    """
    if dir is None:
        dir = os.getenv("OPENAI_LOGDIR")
    if dir is None:
        name = datetime.datetime.now().strftime("openai-%Y-%m-%d-%H-%M-%S-%f")
        dir = os.path.join(tempfile.gettempdir(), name)
    dir = os.path.expanduser(os.fspath(dir))
    if format_strs is None:
        format_strs = os.getenv("OPENAI_LOG_FORMAT", "stdout,log,csv").split(",")
    format_strs = [format for format in format_strs if format]
    os.makedirs(dir, exist_ok=True)
    with contextlib.ExitStack() as opened:
        formats = []
        for format in format_strs:
            formats.append(make_output_format(format, dir, log_suffix, resume_from))
            opened.callback(formats[-1].close)
        opened.pop_all()
    Logger.CURRENT = Logger(dir=dir, output_formats=formats)
    if formats:
        log(f"Logging to {dir}")


def reset() -> None:
    """Close the current logger and go back to the default one."""
    if Logger.CURRENT is not Logger.DEFAULT:
        Logger.CURRENT.close()
        Logger.CURRENT = Logger.DEFAULT


@contextlib.contextmanager
def scoped_configure(
    dir: str | os.PathLike[str] | None = None,
    format_strs: list[str] | None = None,
    log_suffix: str = "",
    resume_from: ResumeFrom | None = None,
) -> Iterator[None]:
    """`configure` for a block; afterwards its files are closed and the logger before it is the current one again."""
    previous = Logger.CURRENT
    configure(dir=dir, format_strs=format_strs, log_suffix=log_suffix, resume_from=resume_from)
    current = Logger.CURRENT
    try:
        yield
    finally:
        current.close()
        Logger.CURRENT = previous


# ---------------------------------------------------------------------------------------------------------------------
# Reading back, TensorBoard's table
# ---------------------------------------------------------------------------------------------------------------------


def read_tb(path: str | os.PathLike[str]) -> Table:
    """Scalars of an event file, or of a folder of them: one row a step, column `step` and a column for each tag."""
    from baselines_compat.tensorboard_events import read_scalars

    steps = read_scalars(path)
    tags = sorted({tag for scalars in steps.values() for tag in scalars})
    columns = {"step": np.array(list(steps), np.int64)}
    columns |= {tag: np.array([row.get(tag, np.nan) for row in steps.values()]) for tag in tags if tag != "step"}
    return Table(columns)


def write_hparams(dir: str | os.PathLike[str], hparams: Mapping[str, object], metrics: list[str] = ()) -> None:
    """Describe a run for TensorBoard's HParams table, in the folder of its scalars: see `tensorboard_events`."""
    from baselines_compat import tensorboard_events

    tensorboard_events.write_hparams(dir, hparams, metrics)


# ---------------------------------------------------------------------------------------------------------------------
# Values as text
# ---------------------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A Python int, float, bool or None for whatever is one number (NumPy, TensorFlow, size-1 arrays); str otherwise."""
    if value is None or isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic):
        return value
    if hasattr(value, "dtype") and hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biuf":
            return array.item()
    elif hasattr(value, "__float__"):
        return float(value)
    return str(value)


def _number(value: Any) -> float | None:
    """The value as a float; None if it is not a number."""
    value = _plain(value)
    if value is None or isinstance(value, str) or math.isnan(value):
        return None
    return float(value)


def _short(value: Any) -> str:
    value = _plain(value)
    return str(value) if value is None or isinstance(value, (str, bool)) else f"{value:<8.3g}"


def _truncate(text: str, width: int = 30) -> str:
    return text[: width - 3] + "..." if len(text) > width else text


def _alphabetical(cell: tuple[str, str]) -> str:
    return cell[0].lower()


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()) if len(text.splitlines()) > 1 else text.strip("\r\n")


def _csv_cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else _one_line(str(value))


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _json_value(value: Any) -> Any:
    # JSON knows no NaN and no infinity; Python would write both and other readers would stop at them.
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------------------------------------------------------
# Continuing files
# ---------------------------------------------------------------------------------------------------------------------


def _start_file(
    filename: str | os.PathLike[str],
    resume_from: ResumeFrom | None,
    lines_to_keep: Callable[[list[str], ResumeFrom, str], list[str]],
) -> None:
    """Leave at `filename` the lines to append to: none, or those of the run that goes on."""
    if resume_from is None or not os.path.exists(filename):
        open(filename, "w").close()
        return
    lines = lines_to_keep(complete_lines(filename), resume_from, os.fspath(filename))
    with atomic_write(filename) as file:
        file.writelines(line + "\n" for line in lines)


def _csv_lines_to_keep(lines: list[str], resume_from: ResumeFrom, filename: str) -> list[str]:
    key, value = resume_from
    if len(lines) < 2:
        return lines
    table = parse_csv(lines)
    if key not in table:
        raise ValueError(f"{filename} has no column '{key}' to resume from.")
    return lines[: 1 + _rows_up_to(list(table[key]), value)]


def _json_lines_to_keep(lines: list[str], resume_from: ResumeFrom, filename: str) -> list[str]:
    key, value = resume_from
    rows = [json.loads(line) for line in lines]
    if rows and not any(key in row for row in rows):
        raise ValueError(f"{filename} has no key '{key}' to resume from.")
    return lines[: _rows_up_to([row.get(key) for row in rows], value)]


def _rows_up_to(values: list[float | None], limit: float) -> int:
    """How many rows come before the first that is beyond `limit`; a row without the key goes with the one before it."""
    beyond = (i for i, value in enumerate(values) if value is not None and value > limit)
    return next(beyond, len(values))
