"""One writer at a time: locks that the kernel drops when the process that holds them ends, however it ends.

A lock is a `flock` on a file. The file says nothing by being there: one that a killed process left behind is taken by the
next. It must be on a file system that knows `flock`, and on one that several machines share if they are to see it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from wng_tf.errors import UserError

_POLL_SECONDS = 0.05


def try_lock(path: Path) -> int | None:
    """Takes the lock in `path` and returns its open file descriptor, or None if another process holds it.

    The lock lives as long as any process has the descriptor (or a duplicate that it inherited) open.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of a file that its holder has removed since


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock in `path`."""
    if not path.exists():
        return False
    descriptor = try_lock(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


@contextlib.contextmanager
def holding(path: Path, *, busy: str | None, unusable: str) -> Iterator[None]:
    """The lock in `path` for a block; its file goes with it.

    Raises UserError: `busy` if another process holds it (None: wait until it does not); `unusable` with the system's
    reason if there can be no such file.
    """
    try:
        descriptor = try_lock(path)
        while descriptor is None and busy is None:
            time.sleep(_POLL_SECONDS)
            descriptor = try_lock(path)
    except OSError as error:
        raise UserError(unusable.format(reason=error.strerror)) from error
    if descriptor is None:
        raise UserError(busy)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it before finds out that it is no longer there, see `try_lock`.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
