"""The Baselines logger: `configure()` once, then `logkv`, `logkv_mean` and `dumpkvs`.

    logger.configure("runs/hopper", ["stdout", "log", "csv", "tensorboard"])
    logger.logkv("misc/total_timesteps", 2048)
    logger.logkv_mean("loss/value_loss", 0.3)
    logger.dumpkvs()

One difference from Baselines: there is no MPI here, so `configure` takes no `comm`. One addition:
`resume_from`.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from baselines_compat.files import absolute
from baselines_compat.log_formats import (
    CSVOutputFormat,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    ResumeFrom,
    SeqWriter,
    TensorBoardOutputFormat,
    Writer,
    check_resume,
    make_output_format,
)
from baselines_compat.log_values import plain
from baselines_compat.table import Table, read_csv, read_json

__all__ = [
    "CSVOutputFormat",
    "HumanOutputFormat",
    "JSONOutputFormat",
    "KVWriter",
    "Logger",
    "SeqWriter",
    "TensorBoardOutputFormat",
    "check_resume",
    "configure",
    "debug",
    "dump_tabular",
    "dumpkvs",
    "error",
    "get_current",
    "get_dir",
    "getkvs",
    "info",
    "log",
    "logkv",
    "logkv_mean",
    "logkvs",
    "make_output_format",
    "profile",
    "profile_kv",
    "read_csv",
    "read_json",
    "read_tb",
    "record_tabular",
    "reset",
    "scoped_configure",
    "set_level",
    "warn",
    "write_hparams",
]

DEBUG = 10
INFO = 20
WARN = 30
ERROR = 40
DISABLED = 50


# What people call.


def logkv(key: str, val: Any) -> None:
    """Log a value for this key; called twice before a dump, the last value is used.

    One number from whichever library, or text (`log_values.plain`). Raises TypeError, naming the key, on an array.
    """
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
    start = time.perf_counter()
    try:
        yield
    finally:
        get_current().name2val[f"wait_{scopename}"] += time.perf_counter() - start


def profile(n: str) -> Callable[[Callable], Callable]:
    """Decorate a function so that its seconds add up in `wait_<n>`."""

    def decorator(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with profile_kv(n):
                return function(*args, **kwargs)

        return wrapped

    return decorator


# The logger behind them.


class Logger:
    """Values since the last dump, and the formats they go to."""

    DEFAULT: Logger | None = None
    """What `get_current` makes by itself where nobody called `configure`."""
    CURRENT: Logger | None = None
    """What the functions above write to."""

    def __init__(self, dir: str | None, output_formats: Sequence[Writer]):
        self.name2val: dict[str, Any] = defaultdict(float)
        self.name2cnt: dict[str, int] = defaultdict(int)
        self.level = INFO
        self.dir = dir
        self.output_formats = list(output_formats)

    def logkv(self, key: str, val: Any) -> None:
        self.name2val[key] = plain(key, val)

    def logkv_mean(self, key: str, val: float) -> None:
        number = plain(key, val)
        if number is None or isinstance(number, str):
            raise TypeError(f"'{key}' has no mean: {number!r} is not a number.")
        count = self.name2cnt[key]
        self.name2val[key] = self.name2val[key] * (count / (count + 1)) + number / (count + 1)
        self.name2cnt[key] = count + 1

    def dumpkvs(self) -> dict[str, Any]:
        kvs = dict(self.name2val)
        self.name2val.clear()
        self.name2cnt.clear()
        if kvs and self.level < DISABLED:
            for fmt in self.output_formats:
                if isinstance(fmt, KVWriter):
                    fmt.writekvs(kvs)
        return kvs

    def log(self, *args: Any, level: int = INFO) -> None:
        if self.level <= level and self.level < DISABLED:
            for fmt in self.output_formats:
                if isinstance(fmt, SeqWriter):
                    fmt.writeseq(args)

    def set_level(self, level: int) -> None:
        self.level = level

    def get_dir(self) -> str | None:
        return self.dir

    def close(self) -> None:
        for fmt in self.output_formats:
            fmt.close()


def get_current() -> Logger:
    """The current logger; one configured by the defaults if there is none yet."""
    if Logger.CURRENT is None:
        configure()
        Logger.DEFAULT = Logger.CURRENT
    assert Logger.CURRENT is not None  # `configure` made it
    return Logger.CURRENT


def configure(
    dir: str | os.PathLike[str] | None = None,
    format_strs: Sequence[str] | None = None,
    log_suffix: str = "",
    resume_from: ResumeFrom | None = None,
) -> None:
    """Start logging to the folder `dir` in the formats `format_strs`: stdout, log, csv, json, tensorboard.

    `dir` defaults to $OPENAI_LOGDIR, then to a new folder `openai-<time>` in the temporary folder;
    `format_strs` to $OPENAI_LOG_FORMAT (separated by commas), then to stdout, log and csv. `log_suffix` goes
    into the files' names.

    Existing files are replaced. With `resume_from=("misc/total_timesteps", value)` they are continued: rows
    up to that value stay, later ones (and a line torn by a kill) are dropped, and new ones are appended.

    Raises ValueError for an unknown format, or where the rows there do not have the key to resume from.
    """
    if dir is None:
        dir = os.getenv("OPENAI_LOGDIR")
    if dir is None:
        name = datetime.datetime.now().strftime("openai-%Y-%m-%d-%H-%M-%S-%f")
        dir = os.path.join(tempfile.gettempdir(), name)
    dir = str(absolute(dir))
    os.makedirs(dir, exist_ok=True)
    if format_strs is None:
        format_strs = os.getenv("OPENAI_LOG_FORMAT", "stdout,log,csv").split(",")
    names = [name.strip() for name in format_strs if name.strip()]
    with contextlib.ExitStack() as opened:
        formats = []
        for name in names:
            formats.append(make_output_format(name, dir, log_suffix, resume_from))
            opened.callback(formats[-1].close)
        opened.pop_all()
    Logger.CURRENT = Logger(dir=dir, output_formats=formats)
    log(f"Logging to {dir}")


def reset() -> None:
    """Close the current logger and go back to the default one."""
    if Logger.CURRENT is not None and Logger.CURRENT is not Logger.DEFAULT:
        Logger.CURRENT.close()
        Logger.CURRENT = Logger.DEFAULT


@contextlib.contextmanager
def scoped_configure(
    dir: str | os.PathLike[str] | None = None,
    format_strs: Sequence[str] | None = None,
    log_suffix: str = "",
    resume_from: ResumeFrom | None = None,
) -> Iterator[None]:
    """`configure` for a block; afterwards its files are closed and the logger before it is current again."""
    previous = Logger.CURRENT
    configure(dir=dir, format_strs=format_strs, log_suffix=log_suffix, resume_from=resume_from)
    scoped = get_current()
    try:
        yield
    finally:
        scoped.close()
        Logger.CURRENT = previous


# TensorBoard.


def read_tb(path: str | os.PathLike[str]) -> Table:
    """Scalars of an event file, or of a folder of them: a row for each step, columns `step` and the tags."""
    from baselines_compat.tensorboard_events import read_scalars

    steps = read_scalars(path)
    tags = sorted({tag for scalars in steps.values() for tag in scalars})
    columns = {tag: np.array([scalars.get(tag, np.nan) for scalars in steps.values()]) for tag in tags}
    return Table({**columns, "step": np.array(list(steps), np.int64)})


def write_hparams(dir: str | os.PathLike[str], hparams: Mapping[str, object], metrics: Sequence[str] = ()) -> None:
    """Describe a run for TensorBoard's HParams table, in the folder `dir` of its scalars.

    `hparams` are the run's settings: bool, int, float or str; anything else is shown as `str(value)`. The
    first five are shown at first, the others on a click. `metrics` are the tags of the scalars to show beside
    them. The table has the columns of the first run that names metrics; if no run does, it has every setting
    of every run, those that differ in front, and every scalar. Calling it again replaces what was written.
    """
    from baselines_compat import tensorboard_events

    tensorboard_events.write_hparams(dir, hparams, metrics)
