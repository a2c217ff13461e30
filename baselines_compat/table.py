"""Columns read back from the files that logger and monitor write, without pandas.

A `Table` answers to `table["eprewmean"]`, `table.r`, `len(table)` and `table.columns` as a pandas frame does;
`pandas.DataFrame(dict(table.items()))` makes one of it.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from baselines_compat import whole_rows
from baselines_compat.files import absolute


class Table:
    """Named columns of one length, each a NumPy array [rows] of int64, float64 (missing: NaN) or str.

    `headers` holds what stood before the columns in each file that the table was read from (monitor files).
    """

    def __init__(self, columns: Mapping[str, np.ndarray], headers: Sequence[Mapping[str, Any]] = ()):
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"Columns of one length wanted, not of {sorted(lengths)}.")
        self._columns = dict(columns)
        self.headers = list(headers)
        self._rows = lengths.pop() if lengths else 0

    @property
    def columns(self) -> list[str]:
        """Names, in the order of the file."""
        return list(self._columns)

    def rows(self, chosen: np.ndarray) -> Table:
        """The rows that a mask [rows] or positions choose, with the same headers."""
        return Table({name: column[chosen] for name, column in self._columns.items()}, self.headers)

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        return iter(self._columns.items())

    def get(self, name: str, default: Any = None) -> Any:
        return self._columns.get(name, default)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.__dict__["_columns"][name]
        except KeyError:
            raise AttributeError(f"No column named '{name}'.") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"Table({self._rows} rows: {', '.join(self._columns)})"


def complete_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file without their ends; a last line with no end, torn by a kill, is left out."""
    with open(absolute(path), encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")
    return [line.removesuffix("\r") for line in lines[:-1]]


def parse_csv(lines: Sequence[str]) -> Table:
    """A header line and rows, as columns. Rows shorter than the header end in missing values."""
    rows = list(csv.reader(lines))
    if not rows:
        return Table({})
    return of_rows(rows[0], rows[1:])


def read_csv(path: str | os.PathLike[str]) -> Table:
    """A csv file as columns; the line of JSON that begins a monitor file is skipped.

    Rows that are not whole are left out with a `DamagedFileWarning`, see `whole_rows`.
    """
    lines, damaged = whole_rows.read_lines(path)
    if lines and re.match(r"#\s*\{", lines[0][1]):
        lines = lines[1:]
    names, below = whole_rows.split_header(lines)
    rows, others = whole_rows.rows_of(below, names)
    whole_rows.warn_of_lines(path, [*damaged, *others])
    return of_rows(names, rows)


def of_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Columns of those names from rows of cells; of two columns of one name the last is taken."""
    cells = [[row[i] if i < len(row) else "" for row in rows] for i in range(len(names))]
    return Table({name: _column(cell) for name, cell in zip(names, cells, strict=True)})


def read_json(path: str | os.PathLike[str]) -> Table:
    """A file with one JSON object a line, as columns for all keys; null and absent are missing.

    Lines that are not whole are left out with a `DamagedFileWarning`, see `whole_rows`.
    """
    lines, damaged = whole_rows.read_lines(path, need_end=False)
    rows, others = whole_rows.objects_of(lines)
    whole_rows.warn_of_lines(path, [*damaged, *others])
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table({name: _values([row.get(name) for row in rows]) for name in names})


def _column(cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([int(cell) for cell in cells], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells], np.float64)
    except ValueError:
        return np.array(cells, dtype=str)


def _values(values: Sequence[object]) -> np.ndarray:
    if all(type(value) is int and -(2**63) <= value < 2**63 for value in values):
        return np.array(values, np.int64)
    numbers = [np.nan if value is None else value for value in values]
    if all(isinstance(value, (int, float)) for value in numbers):
        return np.array(numbers, np.float64)
    return np.array(["" if value is None else str(value) for value in values], dtype=str)
