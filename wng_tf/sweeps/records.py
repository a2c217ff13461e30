"""What a sweep keeps on disk beside its runs: who is at work, with which flags a run was started, what came of it.

    <log_path>/sweep.csv timings.csv          the tables
    <log_path>/<env>/<alg>/.../seed0/         a run's folder, written by the run itself
    <log_path>/.sweep/lock                    held while a sweep works in the folder
    <log_path>/.sweep/<env>/.../seed0/        lock, record.json and stderr.txt of one run

The locks are those of `wng_tf.training.locks`. A run's process inherits its lock, so the lock of a run tells whether the
run is alive, whatever became of the sweep that started it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from baselines_compat.files import atomic_write
from wng_tf.errors import UserError
from wng_tf.sweeps.grid import Run
from wng_tf.training.locks import is_locked, try_lock

__all__ = ["Attempt", "Record", "RunPaths", "all_records", "is_locked", "read_record", "try_lock", "write_record"]

BOOK_FOLDER = ".sweep"


@dataclass
class Attempt:
    """One start of a run's process.

    Attributes:
      started: local time, ISO 8601.
      host, pid: where it runs.
      resumed: whether it continued from a checkpoint.
      seconds, exit_code: None while it runs, and for a process that outlived its sweep.
    """

    started: str
    host: str
    pid: int
    resumed: bool
    seconds: float | None = None
    exit_code: int | None = None


@dataclass
class Record:
    """A run that a sweep has started: its place in the grid, its command line, every attempt.

    Attributes:
      error: why the run was given up, else empty.
    """

    run: Run
    runner: str
    flags: list[str]
    attempts: list[Attempt] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class RunPaths:
    """Where one run of a sweep lives. `root` is the sweep's folder, `name` the run's, relative to it."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def book(self) -> Path:
        return self.root / BOOK_FOLDER / self.name

    @property
    def lock(self) -> Path:
        return self.book / "lock"

    @property
    def record(self) -> Path:
        return self.book / "record.json"

    @property
    def stderr(self) -> Path:
        return self.book / "stderr.txt"


def read_record(path: Path) -> Record | None:
    """The record in `path`, or None if the run was never started.

    Raises:
      UserError: a damaged record.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        run = values.pop("run")
        pairs: dict[str, Any] = {name: tuple(map(tuple, run.pop(name))) for name in ("axes", "settings")}
        attempts = [Attempt(**attempt) for attempt in values.pop("attempts")]
        return _checked(Record(run=Run(**run, **pairs), attempts=attempts, **values))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (AttributeError, KeyError, TypeError, ValueError):  # not JSON, or JSON of another shape
        raise UserError(f"{path} is damaged: delete it and the run's folder, and start the sweep again.") from None


def _checked(record: Record) -> Record:
    """The record, its fields of the types they are declared with; TypeError otherwise."""
    run = record.run
    texts = [run.env, run.alg, record.runner, record.error, *record.flags, *(a.started for a in record.attempts)]
    texts += [text for pair in (*run.axes, *run.settings) for text in pair]
    numbers = [run.seed, *(attempt.pid for attempt in record.attempts)]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise TypeError("a field of another type")
    if not all(len(pair) == 2 for pair in (*run.axes, *run.settings)):
        raise TypeError("a pair of another length")
    return record


def write_record(path: Path, record: Record) -> None:
    """Replaces the record in `path` at once, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(asdict(record), indent=1) + "\n")


def all_records(root: Path) -> Iterator[Record]:
    """Every run that any sweep started in the folder, in no particular order."""
    for path in (root / BOOK_FOLDER).glob("**/record.json"):
        record = read_record(path)
        if record is not None:
            yield record
