"""Evaluations in files: one that is there is kept, or is in the way, and is never lost."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baselines_compat.files import atomic_write
from wng_tf.errors import UserError
from wng_tf.runtime import faults, output
from wng_tf.runtime.paths import expanded

FORMATS = (".json", ".csv")
#: The policies that an evaluation has returns of.
POLICIES = ("deterministic", "stochastic")


def check(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path of a file to write an evaluation to, checked before anything is played.

    Raises:
      UserError: neither .json nor .csv, a folder, or a file that is there and must not be overwritten.
    """
    file = expanded(path)
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"--output={file}: an evaluation is a .json or a .csv file.")
    if file.is_dir():
        raise UserError(f"--output={file} is a folder: name a file.")
    if file.exists() and not overwrite:
        raise UserError(f"--output={file} is there already: give another name, or --overwrite to replace it.")
    return file


def write(file: Path, result: Mapping[str, Any]) -> None:
    """Write an evaluation, whole or not at all: JSON, or, as `.csv`, a row for each episode.

    Raises:
      UserError: it cannot be written.
    """
    text = _csv(result) if file.suffix.lower() == ".csv" else json.dumps(result, indent=2, allow_nan=False) + "\n"
    with faults.naming(file, "give another --output"), output.made(file.parent), atomic_write(file) as out:
        out.write(text)


def _csv(result: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    about = [name for name in result if name not in POLICIES]
    writer.writerow([*about, "policy", "episode", "return", "length"])
    for policy in POLICIES:
        part = result[policy]
        for episode, row in enumerate(zip(part["returns"], part["lengths"], strict=True)):
            writer.writerow([*(result[name] for name in about), policy, episode, *row])
    return text.getvalue()


def keep_another(file: Path, result: Mapping[str, Any]) -> Path | None:
    """Rename `file` if it holds another evaluation than that of `result`. Returns its new name, if it has one.

    Raises:
      UserError: it cannot be renamed.
    """
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        there = None  # damaged, or something else: not ours to throw away

    def settings(of: Mapping[str, Any]) -> dict[str, Any]:
        # Two names of one checkpoint are one policy.
        return {name: value for name, value in of.items() if name not in ("which", *POLICIES)}

    if isinstance(there, dict) and settings(there) == settings(result):
        return None
    parts = there if isinstance(there, dict) else {}
    what = [f"{name}{parts[name]}" for name in ("step", "seed", "episodes") if isinstance(parts.get(name), int)]
    stem = "-".join([file.stem, *(what or ["earlier"])])
    suffixes = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    names = (f"{stem}{suffix}{file.suffix}" for suffix in suffixes)
    kept = next(path for path in map(file.with_name, names) if not path.exists())
    try:
        file.rename(kept)
    except OSError as error:
        raise UserError(f"Cannot keep '{file}' as '{kept.name}' ({error.strerror}).") from error
    return kept
