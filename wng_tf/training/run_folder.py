"""A run is a folder that can be repeated from itself: flags, versions, curves, checkpoints, a summary.

    flags.txt    versions.json  progress.csv  progress.json  log.txt  N.monitor.csv
    tb/          checkpoints/   export/       summary.json

`summary.json` is written last: a folder that has it holds a finished run. One process at a time writes in it, see `writing`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from baselines_compat.files import atomic_write, temporary_of
from wng_tf.errors import UserError
from wng_tf.runtime.paths import expanded
from wng_tf.training import locks, run_flags

FLAGS = "flags.txt"
VERSIONS = "versions.json"
SUMMARY = "summary.json"
EVALUATION = "evaluation.json"
CHECKPOINTS = "checkpoints"
START = "start.npz"
"""The policy that a run began from, where it did not begin untrained."""
EXPORT = "export"
SAVED_MODEL = "saved_model.pb"
"""What a folder with an exported model has."""
TENSORBOARD = "tb"
LOCK = ".lock"

#: Flags that may differ when a run is resumed, besides settings of its algorithm.
MAY_CHANGE = run_flags.may_change_on_resume()

_ABSOLUTE_PATH = re.compile(r"(?:(?<=^)|(?<=[=,:]))/[^,:=]+")

#: Under each key the names that a package is distributed by.
_PACKAGES = {
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    "tfp": ("tensorflow-probability",),
    "gymnasium": ("gymnasium",),
    "mujoco": ("mujoco",),
    "pybullet": ("pybullet", "pybullet-arm64"),
    "numpy": ("numpy",),
    "wng_tf": ("wng_tf",),
}


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Be the one process that writes in the folder of a run, which is made if absent.

    Raises UserError if another process is at work in it, or if it cannot be written to. A folder that was made, and in
    which nothing came to be, is removed at the end.
    """
    path = expanded(path)
    made = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        unusable = f"Cannot write to '{path}' ({{reason}}): give another --log_path."
        with locks.holding(path / LOCK, busy=_busy(path), unusable=unusable):
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()


def clear(path: str | os.PathLike[str]) -> None:
    """Remove what a run wrote to its folder, as far as the system allows. The folder must be locked, see `writing`."""
    for entry in Path(path).iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            with contextlib.suppress(OSError):
                entry.unlink()


def check_free(path: str | os.PathLike[str]) -> None:
    """UserError if another process is at work in the folder. Nothing is written."""
    with contextlib.suppress(OSError):  # what cannot be written to is said where it is written to
        if locks.is_locked(expanded(path) / LOCK):
            raise UserError(_busy(expanded(path)))


def create(
    path: str | os.PathLike[str],
    flags_text: str,
    *,
    resume: bool,
    may_change: Collection[str] = MAY_CHANGE,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Make the folder of a run, or reopen it, and write `flags.txt`. Returns the folder.

    Args:
      flags_text: one `--name=value` a line, enough to repeat the run with `--flagfile`.
      resume: reopen a folder that holds a run. Its summary is removed, as the run is no longer finished.
      may_change: names of flags that may differ from those of the run that is resumed; `flags.txt` takes the
        new values.
      defaults: what flags stand for that the resumed run does not have, because it is of an older version.

    Raises UserError, and changes nothing: without `resume` if the folder holds anything; with it if there is
    no run, or if its flags were different.
    """
    path = expanded(path)
    check(path, flags_text, resume=resume, may_change=may_change, defaults=defaults)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with atomic_write(path / FLAGS) as file:
            file.write(flags_text.rstrip("\n") + "\n")
        (path / SUMMARY).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def check(
    path: str | os.PathLike[str],
    flags_text: str,
    *,
    resume: bool,
    may_change: Collection[str] = MAY_CHANGE,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """What `create` refuses, without making or changing anything."""
    path = expanded(path)
    if resume:
        _check_same_flags(read_flags(path), run_flags.lines(flags_text), may_change, defaults, path)
        _read_versions(path)
    else:
        check_new(path)


def check_new(path: str | os.PathLike[str]) -> None:
    """UserError if there is something in the folder already, so that a new run cannot have it.

    What a run leaves that was killed before its flags were whole is nothing.
    """
    path = expanded(path)
    nothing = {LOCK, temporary_of(path / FLAGS).name}
    if path.is_dir() and any(entry.name not in nothing for entry in path.iterdir()):
        raise UserError(f"'{path}' is not empty: continue its run with --resume, or give another --log_path.")


def read_flags(path: str | os.PathLike[str]) -> list[str]:
    """The flags of a run, each `--name=value`. UserError if the folder holds no run."""
    folder = expanded(path)
    file = folder / FLAGS
    if not file.is_file():
        what = "a file" if folder.is_file() else "an exported model" if (folder / SAVED_MODEL).is_file() else None
        if what is not None:
            raise UserError(
                f"'{path}' is {what} and not the folder of a run: name the run that it is from. A policy that is kept so is "
                "taken by wng_tf.load, and by --load_path of a new run."
            )
        raise UserError(f"There is no run in '{path}': it has no {FLAGS}.")
    try:
        return run_flags.lines(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"'{file}' is damaged ({error.reason} at byte {error.start}): restore it.") from None


def flag_values(path: str | os.PathLike[str], known: Collection[str] = ()) -> dict[str, str]:
    """The flags of a run by name, see `run_flags.parse`. UserError as `read_flags`."""
    return run_flags.parse(read_flags(path), known)


def write_versions(path: str | os.PathLike[str], argv: Sequence[str] | None = None) -> None:
    """Write `versions.json`: Python, platform, packages, git commit and command line; no path of the machine.

    A resumed run keeps what it started with, and adds itself to the list "resumed". `argv` defaults to the
    command line of this process.
    """
    record = versions(argv)
    started = _read_versions(expanded(path))
    if started is not None:
        record = {**started, "resumed": [*started.get("resumed", []), record]}
    _write_json(expanded(path) / VERSIONS, record)


def versions(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """What `write_versions` records of this process. A package that is not installed is None."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": _command(sys.orig_argv if argv is None else argv),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(names) for name, names in _PACKAGES.items()},
    }


def write_summary(path: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Mark the run as finished: write `summary.json`, atomically. NaN and infinity become null."""
    _write_json(expanded(path) / SUMMARY, {key: _plain(value) for key, value in summary.items()})


def read_summary(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The summary of a finished run; None if the run is not finished. UserError if the file is damaged."""
    file = expanded(path) / SUMMARY
    return _read_json(file) if file.exists() else None


def _read_versions(path: Path) -> dict[str, Any] | None:
    file = path / VERSIONS
    if not file.exists():
        return None
    record = _read_json(file)
    if not isinstance(record.get("resumed", []), list):
        raise _damaged(file, "'resumed' is no list")
    return record


def _busy(path: Path) -> str:
    return f"Another process is at work in '{path}': wait until it ends, or give another --log_path."


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"Cannot write to '{path}' ({error.strerror}): give another --log_path.")


def _check_same_flags(
    before: list[str], now: list[str], may_change: Collection[str], defaults: Mapping[str, str], path: Path
) -> None:
    new = run_flags.parse(now)
    old = run_flags.parse(before, known=new)
    for name in dict.fromkeys([*old, *new]):
        if name not in may_change and old.get(name, defaults.get(name)) != new.get(name):
            raise UserError(
                f"The run in '{path}' has {_shown(name, old)}, not {_shown(name, new)}: resume it with the "
                f"flags in its {FLAGS}, or start another run with another --log_path."
            )


def _shown(name: str, flags: Mapping[str, str]) -> str:
    return f"--{name}={flags[name]}" if name in flags else f"no --{name}"


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(file) as out:
        json.dump(content, out, indent=2, allow_nan=False)
        out.write("\n")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(file, error) from error
    if not isinstance(content, dict):
        raise _damaged(file, "it holds no JSON object")
    return content


def _damaged(file: Path, why: object) -> UserError:
    return UserError(f"'{file}' is damaged ({why}): delete it, and continue with --resume.")


def _plain(value: Any) -> Any:
    """A NumPy number as Python's; None for NaN and infinity, which JSON does not have."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _version(names: tuple[str, ...]) -> str | None:
    """Of the first of the names that is installed; None if none is."""
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _git_commit() -> str | None:
    """Commit of the checkout this package is in, "+changes" if files differ from it; None if in none."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _command(argv: Sequence[str]) -> str:
    """The command line; absolute paths become relative, or outside the working folder their last name.

    The interpreter is its name alone, however it was started: where it lies says nothing of the run.
    """
    interpreter, arguments = argv[:1], argv[1:]
    return shlex.join(
        [
            *map(os.path.basename, interpreter),
            *(_ABSOLUTE_PATH.sub(lambda match: _relative(match[0]), argument) for argument in arguments),
        ]
    )


def _relative(path: str) -> str:
    inside = os.path.relpath(path)
    return os.path.basename(path.rstrip("/")) if inside.startswith("..") else inside


def evaluated_return(folder: Path, summary: Mapping[str, Any], episodes: int = 1) -> float | None:
    """Mean return of the deterministic policy in the last checkpoint; None where so many episodes of it were not played.

    Args:
      folder: the run's.
      summary: what the run wrote when it finished.
      episodes: how many there have to be.
    """
    try:
        there = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
        fits = there["step"] == summary.get("total_timesteps") and there["episodes"] >= episodes
        mean = float(there["deterministic"]["mean"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or damaged: to be made again
    return mean if fits and math.isfinite(mean) else None
