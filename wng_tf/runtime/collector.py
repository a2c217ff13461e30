"""Python's garbage collector kept out of what makes many objects that stay: imports, and functions while they are traced."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["paused"]


@contextlib.contextmanager
def paused(freeze: bool = False) -> Iterator[None]:
    """Nothing is collected inside; afterwards the collector is as it was before.

    Args:
      freeze: later collections pass over all there is at the end. For imports, which leave next to no garbage: the
        collector would go through a million objects of modules again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if enabled:
            gc.enable()
