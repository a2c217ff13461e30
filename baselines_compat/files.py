"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root on, with the home folder in place of `~`: one file, wherever the process goes later.

    An environment may change the working folder of the process that it is stepped in.
    """
    return Path(os.path.expanduser(os.fspath(path))).absolute()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO]:
    """A file to write to, which takes the place of `path` when the block ends without an exception.

    The new content goes to a temporary file in the same folder, is flushed to the disk and renamed over
    `path`: a process killed at any moment leaves the old file or the new one. `mode` is "w" (UTF-8, newlines
    as given) or "wb".
    """
    path = Path(path)
    temporary = temporary_of(path)
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    try:
        with open(temporary, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(path), None  # what the caller knows; a failed write names no file
        raise
    _sync_folder(path.parent)


def temporary_of(path: Path) -> Path:
    """The name `atomic_write` writes to before the rename; what a killed process may leave behind."""
    return path.with_name(f".{path.name}.tmp")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can (Windows cannot open a folder)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
