"""Whether something fits into the memory of this machine, said before it is tried."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Mapping
from pathlib import Path

from wng_tf.errors import UserError

_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


@functools.cache
def total() -> float:
    """Bytes of memory of this machine, or of the container; infinite where the system does not say."""
    limits = [math.inf]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in map(Path, _CONTAINER):
        try:
            limits.append(int(file.read_text()))
        except (ValueError, OSError):  # "max", or no container
            continue
    return float(min(limit for limit in limits if limit > 0))


def check(needs: Mapping[str, float]) -> None:
    """UserError if one of the needs, from the settings that cause it to bytes at least, is more than there is memory."""
    settings, most = max(needs.items(), key=lambda need: need[1])
    if most > total():
        raise UserError(
            f"{settings} would take {in_words(most)} of memory or more, and this machine has {in_words(total())}: "
            "choose smaller values."
        )


def in_words(size: float) -> str:
    """A number of bytes for people."""
    power = max(0, min(int(math.log(max(size, 1), 1000)), len(_UNITS) - 1)) if math.isfinite(size) else len(_UNITS) - 1
    return f"{size / 1000**power:.3g} {_UNITS[power]}"
