"""Flagfiles, read with care: they may come from somebody else, or be no flagfile at all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import wng_tf
from wng_tf.errors import UserError

#: Bytes of a flagfile at most.
LIMIT = 1 << 20
#: Flags that count only where the user types them.
TYPED_ONLY = ("trust",)

#: Folders of the flagfiles that come with the package: in an installed one, and in a checkout.
_SHIPPED = (Path(wng_tf.__file__).parent / "flagfiles", Path(wng_tf.__file__).parents[1] / "runs")

_DIRECTIVE = re.compile(r"--?flagfile(?:[= ](.*))?", re.DOTALL)


def expand(arguments: Sequence[str]) -> list[str]:
    """The arguments with the lines of a file in the place of each `--flagfile=FILE`; files may include others.

    A file that is not there is looked for among those that come with the package: `--flagfile=table1.flags` works anywhere,
    and so do `--flagfile=runs/table1.flags` and `--flagfile=tuned/trpo.flags`.

    Empty lines and those that begin with `#` or `//` are left out, as absl does.

    Raises:
      UserError: a file that cannot be read, is no text, includes itself, or gives what only a user may.
    """
    expanded: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            return [*expanded, argument, *left]
        match = _DIRECTIVE.fullmatch(argument)
        if match is None:
            expanded.append(argument)
            continue
        path = match[1]
        if path is None:
            if not left:
                raise UserError("--flagfile is given without a file.")
            path = left.pop(0)
        expanded.extend(_lines(_found(os.path.expanduser(path)), ()))
    return expanded


def _lines(path: str, opened: tuple[str, ...]) -> list[str]:
    """The flags in a file; `opened` are the files that include it, outermost first."""
    if not path:
        return []
    text = read(path)
    itself = os.path.realpath(path)
    if itself in opened:
        raise UserError(f"The flagfile '{path}' includes itself.")
    lines = []
    for line in map(str.strip, text.splitlines()):
        match = _DIRECTIVE.fullmatch(line)
        if match is not None:
            lines += _lines(_beside(path, (match[1] or "").strip()), (*opened, itself))
        elif line and not line.startswith(("#", "//")):
            name = line.lstrip("-").partition("=")[0]
            if line.startswith("-") and name.removeprefix("no") in TYPED_ONLY:
                raise UserError(f"The flagfile '{path}' has {line}, which counts only on the command line: delete it there.")
            lines.append(_own_folder(path, line))
    return lines


def _beside(including: str, path: str) -> str:
    """Where a file that a flagfile names is: relative to that flagfile, or else where any other is looked for."""
    path = os.path.expanduser(path)
    beside = os.path.join(os.path.dirname(including), path)
    return beside if path and os.path.exists(beside) else _found(path)


def _found(path: str) -> str:
    """The path itself, or that of a file of this name that comes with the package, if there is nothing at the path."""
    name = path.removeprefix("runs/")
    if name.endswith(".flags") and not os.path.isabs(path) and ".." not in path.split("/") and not os.path.lexists(path):
        for shipped in _SHIPPED:
            if (shipped / name).is_file():
                return str(shipped / name)
    return path


def shipped() -> list[str]:
    """The names of the flagfiles that come with the package."""
    found = (
        (folder, file) for folder in _SHIPPED for pattern in ("*.flags", "tuned/*.flags") for file in folder.glob(pattern)
    )
    return sorted({file.relative_to(folder).as_posix() for folder, file in found})


def _own_folder(path: str, line: str) -> str:
    """A run's own flags.txt means the run's own folder, from wherever and to wherever it was moved."""
    folder, name = os.path.split(path)
    key, _, log_path = line.lstrip("-").partition("=")
    own = name == "flags.txt" and key == "log_path" and os.path.exists(os.path.join(folder, "versions.json"))
    if not own or os.path.realpath(os.path.expanduser(log_path)) == os.path.realpath(folder):
        return line
    return f"--log_path={folder or os.curdir}"


def read(path: str) -> str:
    """The text of a flagfile.

    Raises:
      UserError: it cannot be read, is no regular file, is too long, or holds what no flagfile does.
    """
    try:
        # Without O_NONBLOCK a pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise UserError(f"The flagfile '{path}' is a device: name a file of flags, one a line.")
            if stat.S_ISFIFO(mode):
                os.set_blocking(descriptor, True)  # `--flagfile=<(command)`: its writer is there already
            data = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        hint = f" Those of the package are {', '.join(shipped())}." if isinstance(error, FileNotFoundError) else ""
        raise UserError(
            f"The flagfile '{path}' cannot be read ({getattr(error, 'strerror', None) or error}).{hint}"
        ) from None
    if len(data) > LIMIT:
        raise UserError(f"The flagfile '{path}' is longer than {LIMIT} bytes: it is no file of flags.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"The flagfile '{path}' is not UTF-8 text ({error.reason} at byte {error.start}).") from None
    if any(not (character.isprintable() or character.isspace()) for character in text):
        raise UserError(f"The flagfile '{path}' is not text: it holds control characters.")
    return text
