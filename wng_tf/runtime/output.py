"""What a command writes to a folder of the user's: all of it, or nothing and one sentence."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wng_tf.runtime import faults

_UNFINISHED = ".unfinished"


def into(out: Path, write: Callable[[Path], Sequence[Path]], option: str = "--out") -> list[Path]:
    """Call `write` with a folder to write to, and move what it returns to `out`; returns where that is then.

    Raises:
      UserError: as `staged`.
    """
    with staged(out, option) as folder:
        written = write(folder)
    return [out / path.relative_to(folder) for path in written]


@contextlib.contextmanager
def staged(out: Path, option: str = "--out") -> Iterator[Path]:
    """A folder whose files take their places in the folder `out` when the block ends without an exception.

    After an exception `out` is as it was, and absent if it was absent.

    Args:
      option: the flag that names `out`, for the sentence.

    Raises:
      UserError: it cannot be written to.
    """
    with faults.naming(out, f"give another {option}"), made(out):
        # Inside of it, because its parent may be another file system, or somebody else's.
        fresh = out / _UNFINISHED
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir()
            yield fresh
            for path in sorted(path for path in fresh.rglob("*") if not path.is_dir()):
                target = out / path.relative_to(fresh)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """The folder and those above it exist in the block; after an exception those that were made for it are gone.

    Raises:
      OSError: one cannot be made.
    """
    absent = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        absent.append(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in absent:
            with contextlib.suppress(OSError):  # something else came to be in it
                path.rmdir()
        raise
