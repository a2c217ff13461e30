"""What `logger` writes to: stdout and log.txt for people, progress.csv, progress.json, TensorBoard.

Every format has its row on the disk when `writekvs` returns, so that a killed run loses no row; a row torn by
the kill is dropped when the run is resumed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from baselines_compat.files import absolute, atomic_write
from baselines_compat.log_values import Plain, plain
from baselines_compat.table import complete_lines, parse_csv

FORMATS = ("stdout", "log", "csv", "json", "tensorboard")

FILES = {"csv": "progress.csv", "json": "progress.json"}
"""The files of rows that other programs read, and that a resumed run continues."""

STEP_KEY = "misc/total_timesteps"
"""TensorBoard's horizontal axis. Rows without it are counted 1, 2, 3, ... as Baselines counts all of them."""

ResumeFrom = tuple[str, float]
"""(key, value): rows up to this value of this key belong to the run that goes on, later ones are dropped."""


class KVWriter:
    """Takes the key-value pairs of each dump."""

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Closes what the writer opened; by default nothing."""


class SeqWriter:
    """Takes the lines of `log`."""

    def writeseq(self, seq: Sequence[Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Closes what the writer opened; by default nothing."""


Writer: TypeAlias = KVWriter | SeqWriter


class HumanOutputFormat(KVWriter, SeqWriter):
    """The boxed table and the log lines, to an open text file or to a path (replaced, or appended to)."""

    def __init__(self, filename_or_file: str | os.PathLike[str] | TextIO, append: bool = False):
        self.file: TextIO
        self.own_file = isinstance(filename_or_file, (str, os.PathLike))
        if isinstance(filename_or_file, (str, os.PathLike)):
            self.file = open(absolute(filename_or_file), "a" if append else "w", encoding="utf-8")  # noqa: SIM115
        elif hasattr(filename_or_file, "write"):
            self.file = filename_or_file
        else:
            raise TypeError(f"Expected a file name or a file, got {filename_or_file!r}.")

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        cells = sorted(
            ((_truncate(key), _truncate(_for_people(value))) for key, value in _plain_values(kvs).items()),
            key=lambda cell: cell[0].lower(),
        )
        key_width = max((len(key) for key, _ in cells), default=0)
        value_width = max((len(value) for _, value in cells), default=0)
        dashes = "-" * (key_width + value_width + 7)
        rows = [f"| {key:<{key_width}} | {value:<{value_width}} |" for key, value in cells]
        self.file.write("\n".join([dashes, *rows, dashes]) + "\n")
        self.file.flush()

    def writeseq(self, seq: Sequence[Any]) -> None:
        self.file.write(" ".join(str(part) for part in seq) + "\n")
        self.file.flush()

    def close(self) -> None:
        if self.own_file:
            self.file.close()


class JSONOutputFormat(KVWriter):
    """One strict JSON object a line; NaN and infinity become null, as other readers stop at them."""

    def __init__(self, filename: str | os.PathLike[str], resume_from: ResumeFrom | None = None):
        path = absolute(filename)
        _start_file(path, resume_from, _values_in_json)
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        row = {key: _for_json(value) for key, value in sorted(_plain_values(kvs).items())}
        self.file.write(json.dumps(row, allow_nan=False) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class CSVOutputFormat(KVWriter):
    """One line a dump, floats to their last digit, an empty cell where there is no number.

    Keys that appear later widen the header: the file is then rewritten as a whole, atomically. Line ends
    inside keys and values become spaces.
    """

    def __init__(self, filename: str | os.PathLike[str], resume_from: ResumeFrom | None = None):
        self.filename = absolute(filename)
        _start_file(self.filename, resume_from, _values_in_csv, header=1)
        lines = complete_lines(self.filename)
        self.keys: list[str] = next(csv.reader(lines)) if lines else []
        self.file = self._open()

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        cells = {_one_line(key): _for_csv(value) for key, value in _plain_values(kvs).items()}
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
    """Numbers as TensorBoard scalars in the folder `dir`, without TensorFlow. The step is STEP_KEY."""

    def __init__(self, dir: str | os.PathLike[str], resume_from: ResumeFrom | None = None):
        from baselines_compat.tensorboard_events import EventFile

        if resume_from is not None and resume_from[0] != STEP_KEY:
            raise ValueError(f"TensorBoard's steps are '{STEP_KEY}', so a run cannot resume from '{resume_from[0]}'.")
        self.step = 0 if resume_from is None else int(resume_from[1])
        self.writer = EventFile(dir, resume_step=None if resume_from is None else self.step)

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        numbers = {key: _number(value) for key, value in _plain_values(kvs).items()}
        scalars = {key: number for key, number in numbers.items() if number is not None}
        self.step = int(scalars.get(STEP_KEY, self.step + 1))
        self.writer.add_scalars(self.step, scalars)

    def close(self) -> None:
        self.writer.close()


def make_output_format(
    format: str, ev_dir: str | os.PathLike[str], log_suffix: str = "", resume_from: ResumeFrom | None = None
) -> KVWriter:
    """The writer named `format` (one of FORMATS) in the folder `ev_dir`, which is made if absent.

    Raises ValueError for another name, or where there is nothing to resume from.
    """
    folder = absolute(ev_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if format == "stdout":
        return HumanOutputFormat(sys.stdout or os.devnull)  # None: a process without a console
    if format == "log":
        return HumanOutputFormat(folder / f"log{log_suffix}.txt", append=resume_from is not None)
    if format == "csv":
        return CSVOutputFormat(folder / f"progress{log_suffix}.csv", resume_from)
    if format == "json":
        return JSONOutputFormat(folder / f"progress{log_suffix}.json", resume_from)
    if format == "tensorboard":
        return TensorBoardOutputFormat(folder / f"tb{log_suffix}", resume_from)
    raise ValueError(f"Unknown log format '{format}'; choose from {', '.join(FORMATS)}.")


def check_resume(
    folder: str | os.PathLike[str], formats: Sequence[str], resume_from: ResumeFrom, rows: int | None = None
) -> None:
    """What `make_output_format` refuses to resume from, without writing anything.

    Raises ValueError; also if a file has less than `rows` rows up to there (None: whatever it has). One that is gone
    or has none at all is no fault: it is begun anew.
    """
    kinds = {"csv": (_values_in_csv, 1), "json": (_values_in_json, 0)}
    for format, name in FILES.items():
        path = absolute(folder) / name
        if format not in formats or not path.exists():
            continue
        values_of, header = kinds[format]
        kept = len(_kept_lines(path, resume_from, values_of, header)) - header
        if rows is not None and kept < rows and _holds_rows(path, header):
            raise ValueError(
                f"'{path}' has {kept} of the {rows} rows that were logged: restore it, or delete it to continue without them."
            )


# Values.


def _plain_values(kvs: Mapping[str, Any]) -> dict[str, Plain]:
    return {key: plain(key, value) for key, value in kvs.items()}


def _number(value: Plain) -> float | None:
    """The value as a float; None where it is not a number."""
    return None if value is None or isinstance(value, str) or math.isnan(value) else float(value)


def _for_people(value: Plain) -> str:
    return f"{value:<8.3g}" if isinstance(value, (int, float)) else str(value)


def _for_csv(value: Plain) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return "" if value is None else _one_line(str(value))


def _for_json(value: Plain) -> Plain:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _truncate(text: str, width: int = 30) -> str:
    return text[: width - 3] + "..." if len(text) > width else text


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n]+", " ", text)


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


# Continuing a file.


def _start_file(
    path: Path, resume_from: ResumeFrom | None, values_of: Callable[[list[str], str], list], header: int = 0
) -> None:
    """Leave at `path` the lines to append to: none, or those of the run that goes on.

    `values_of(lines, key)` is the key's value in each row (None: not there); `header` lines come before the
    rows.
    """
    if resume_from is None or not path.exists():
        path.write_text("")
        return
    lines = _kept_lines(path, resume_from, values_of, header)
    with atomic_write(path) as file:
        file.writelines(line + "\n" for line in lines)


def _kept_lines(path: Path, resume_from: ResumeFrom, values_of: Callable[[list[str], str], list], header: int) -> list[str]:
    key, limit = resume_from
    try:
        lines = [line for line in complete_lines(path) if line.strip()]
        values = values_of(lines, key)
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged ({error}): restore it, or delete it to continue without it.") from error
    if values and all(value is None for value in values):
        raise ValueError(f"'{path}' has no '{key}' to resume from.")
    # A row without the key goes with the one before it.
    beyond = (row for row, value in enumerate(values) if value is not None and value > limit)
    return lines[: header + next(beyond, len(values))]


def _holds_rows(path: Path, header: int) -> bool:
    return sum(bool(line.strip()) for line in complete_lines(path)) > header


def _values_in_csv(lines: list[str], key: str) -> list[float | None]:
    table = parse_csv(lines)
    if key not in table:
        return [None] * len(table)
    return [None if math.isnan(value) else value for value in table[key].astype(float)]


def _values_in_json(lines: list[str], key: str) -> list[float | None]:
    return [json.loads(line).get(key) for line in lines]
