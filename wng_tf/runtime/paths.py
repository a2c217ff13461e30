"""Paths as users write them, made into the one path that everything then uses."""

from __future__ import annotations

import os
from pathlib import Path

from wng_tf.errors import UserError

_NAME, _PATH = 255, 4096
_BELOW = 256
"""Bytes left for what is put below a folder."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with `~` and `~user` in place of the home folders that they stand for; relative ones stay relative.

    Raises:
      UserError: a path that no file can have, or that could not be written down again: too long, with a null byte, an end of
        a line or bytes that are no UTF-8, of a user without a home, or in a circle of links; or it is no path.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise UserError(f"A file or folder is named by its path, not by {path!r:.100}.")
    text = os.fsdecode(path)
    shown = text.encode("unicode_escape" if not text.isprintable() else "utf-8", "backslashreplace").decode()
    if len(shown) > 100:
        shown = f"{shown[:97]}..."
    if any(end in text for end in "\0\r\n"):
        raise UserError(f"The path '{shown}' holds a null byte or the end of a line: choose another name.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"The path '{shown}' holds bytes that are not UTF-8: rename it.") from None
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"The path '{shown}' is below the home folder of a user who has none: write it out.") from None
    if any(len(part.encode()) > _NAME for part in path.parts) or len(str(path.absolute()).encode()) > _PATH - _BELOW:
        raise UserError(f"The path '{shown}' is too long: a name has {_NAME} bytes at most, a path {_PATH - _BELOW}.")
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # whoever writes or reads there says so better
    except OSError as error:
        raise UserError(f"The path '{shown}' cannot be used ({error.strerror}).") from None
    return path
