"""Faults of the machine in words: what the disk, a device or the memory refused, and where."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wng_tf.errors import UserError


def reason(error: BaseException) -> str:
    """Why, in the system's own words and on one line."""
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__


def sentence(error: OSError) -> str:
    """An error of the system as one sentence that names the file."""
    named = [str(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes, Path))]
    if named:
        return f"Cannot read or write {' or '.join(map(repr, named))} ({reason(error)})."
    return f"Cannot write to the standard output, or to a file that was open ({reason(error)})."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or TensorFlow could not get the memory that it asked for."""
    tensorflow = sys.modules.get("tensorflow")
    exhausted = getattr(getattr(tensorflow, "errors", None), "ResourceExhaustedError", None)
    return isinstance(error, MemoryError) or (exhausted is not None and isinstance(error, exhausted))


@contextmanager
def naming(target: object, advice: str) -> Iterator[None]:
    """Turns an error of the system or of TensorFlow's file access in the block into a `UserError` that names `target`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write to '{target}' ({reason(error)}): {advice}.") from error
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError) or "OOM" in str(error):
            raise
        raise UserError(f"Cannot write to '{target}' ({_short(reason(error))}): {advice}.") from error


def _short(text: str) -> str:
    """What TensorFlow's file access says of the system's reason: it is the last part."""
    return re.sub(r" \[Op:\w+\]", "", text).rpartition("; ")[2]
