"""Memory that processes share and that has no name: nothing is left in /dev/shm, however they end."""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from multiprocessing.connection import Connection


class SharedMemory:
    """Memory of `size` bytes, mapped for as long as `buf` or an array in it is used.

    The process that makes it hands it to others with `send`; they take it with `receive`.
    """

    def __init__(self, size: int, fd: int | None = None):
        self._fd = _nameless_file() if fd is None else fd
        if fd is None:
            os.ftruncate(self._fd, size)
        self.name = f"shared-{os.getpid()}-{self._fd}"
        self.buf = mmap.mmap(self._fd, size)

    def send(self, pipe: Connection, pid: int) -> None:
        """Hand it to the process `pid` at the other end of the pipe, which must `receive` next."""
        reduction.send_handle(pipe, self._fd, pid)

    @classmethod
    def receive(cls, pipe: Connection, size: int) -> SharedMemory:
        """What the other end sends."""
        return cls(size, reduction.recv_handle(pipe))

    def close(self) -> None:
        """Let go of the file; the memory goes with the last array in it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rollouts")
    with tempfile.TemporaryFile() as file:  # unlinked at once
        return os.dup(file.fileno())
