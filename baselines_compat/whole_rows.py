"""Rows that are whole, out of files that lost something: what is left out is named in a warning, with the file.

Logs and monitor files lose rows in a crash, a copy, a full disk or an editor. A row is left out where its line has no end, is
not UTF-8, has more or fewer cells than the header (half a row, two glued together), repeats the header, or has something
else than a number in a column of numbers. Empty lines, a byte order mark and either line end say nothing.
"""

from __future__ import annotations

import csv
import json
import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from baselines_compat.files import absolute

_SHOWN = 5


class DamagedFileWarning(UserWarning):
    """A file has lost something; the message names the file and what of it was left out."""


class Lines(NamedTuple):
    """Lines with their numbers, from 1, and the numbers of those that are not whole."""

    whole: list[tuple[int, str]]
    damaged: list[int]


def warn(path: str | os.PathLike[str], what: str) -> None:
    """Warn that of the file `path` something is missing."""
    warnings.warn(f"'{os.fspath(path)}' is damaged: {what}.", DamagedFileWarning, stacklevel=3)


def warn_of_lines(path: str | os.PathLike[str], damaged: Sequence[int]) -> None:
    """Warn of lines that were left out, if there are any."""
    if damaged:
        numbers = ", ".join(map(str, sorted(damaged)[:_SHOWN])) + (", ..." if len(damaged) > _SHOWN else "")
        warn(path, f"{len(damaged)} line{'s' if len(damaged) > 1 else ''} left out ({numbers})")


def read_lines(path: str | os.PathLike[str], *, need_end: bool = True) -> Lines:
    """The lines of a file that are not empty; with `need_end` a last one without its end is not whole."""
    data = absolute(path).read_bytes()
    pieces = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    whole, damaged = [], []
    for number, piece in enumerate(pieces, start=1):
        try:
            line = piece.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            damaged.append(number)
            continue
        if not line:
            continue
        if not line.strip("\0") or (number == len(pieces) and need_end):
            damaged.append(number)  # torn, or what a file system fills up with
        else:
            whole.append((number, line))
    return Lines(whole, damaged)


def rows_of(
    lines: Sequence[tuple[int, str]], names: Sequence[str], needed: Sequence[str] | None = None
) -> tuple[list[list[str]], list[int]]:
    """The cells of the lines that are whole rows below a header of those names, and the numbers of the others.

    Args:
      needed: columns that hold a number in every row, and the only ones that must; None: where most cells of a column are
        numbers, all are, if they are not empty.
    """
    rows, damaged = [], []
    for number, line in lines:
        cells = _cells(line)
        if len(cells) != len(names) or (cells == list(names) and not all(map(_is_number, cells))):
            damaged.append(number)
        else:
            rows.append((number, cells))
    if needed is not None:
        places = [names.index(name) for name in needed]
        whole = [all(_is_number(cells[i]) for i in places) for _, cells in rows]
        damaged += [number for (number, _), fine in zip(rows, whole, strict=True) if not fine]
        return [cells for (_, cells), fine in zip(rows, whole, strict=True) if fine], damaged
    for i in range(len(names)):
        filled = [_is_number(cells[i]) for _, cells in rows if cells[i]]
        if 2 * sum(filled) > len(filled):  # a column of numbers
            damaged += [number for number, cells in rows if cells[i] and not _is_number(cells[i])]
            rows = [(number, cells) for number, cells in rows if not cells[i] or _is_number(cells[i])]
    return [cells for _, cells in rows], damaged


def split_header(lines: Sequence[tuple[int, str]]) -> tuple[list[str], Sequence[tuple[int, str]]]:
    """The names in the first line, and the lines below it."""
    return (_cells(lines[0][1]), lines[1:]) if lines else ([], lines)


def objects_of(lines: Sequence[tuple[int, str]]) -> tuple[list[dict[str, Any]], list[int]]:
    """The JSON objects in the lines, also of several glued together, and the numbers of lines that hold something else."""
    objects: list[dict[str, Any]] = []
    damaged = []
    decoder = json.JSONDecoder()
    for number, line in lines:
        text = line.strip()
        while text:
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                damaged.append(number)
                break
            if not isinstance(value, dict):
                damaged.append(number)
                break
            objects.append(value)
            text = text[end:].lstrip()
    return objects, damaged


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
