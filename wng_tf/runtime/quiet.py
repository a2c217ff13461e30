"""Silence for C and C++ code that prints by itself, so that what a program says can be read and piped."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Sequence

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def quiet(descriptors: Sequence[int] = (STDOUT, STDERR)) -> Iterator[None]:
    """Sends what is written to the file descriptors to the null device for the duration.

    The redirection holds for the whole process: keep the body short. Exceptions pass unchanged. Without a usable
    descriptor (a daemon) nothing is redirected.
    """
    try:
        saved = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    except OSError:
        yield
        return
    _flush_c_buffers()
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in saved:
            os.dup2(null, descriptor)
        yield
    finally:
        _flush_c_buffers()  # what C code printed into its buffer must not surface later
        for descriptor, copy in saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)


def _flush_c_buffers() -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no C library to load by this name
        ctypes.CDLL(None).fflush(None)
