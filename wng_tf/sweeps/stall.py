"""Tells a run that hangs from one that works: its folder's files change."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


class Stall:
    """Tells when a folder's files have stood still for `seconds`; never, for 0."""

    def __init__(self, folder: Path, seconds: float):
        self._folder, self._seconds = folder, seconds
        self._seen: set = set()
        self._since = time.monotonic()

    def is_over(self) -> bool:
        if self._seconds <= 0:
            return False
        seen = set()
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            seen = {(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries if e.is_file()}
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since > self._seconds
