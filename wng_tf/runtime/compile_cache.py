"""Compiled updates kept on disk, so that the second run of a kind starts some seconds sooner than the first.

TensorFlow does the keeping: it looks programs up by a hash of what they compute, and writes them under another name before
it renames them, so that runs side by side and runs that are killed do no harm. What the hash leaves out is in the
folder's name: TensorFlow's version, the processor, and the number of threads.

A program that TensorFlow can neither read nor write stops it, and one that was altered might run. So there is room for what
a run compiles before it starts, or it runs without; and a program is kept only beside its checksum, which is written once
the first update has run, and when the process ends. (Not at the end alone: what starts in the meantime would remove the
programs of runs that are still at work, or that were killed.)
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

from baselines_compat.files import atomic_write

VARIABLE = "WNG_TF_CACHE"
_FLAGS = "TF_XLA_FLAGS"
_DIRECTORY = "--tf_xla_persistent_cache_directory"
_CHECKSUM = ".sha256"
_folder: Path | None = None
"""Where this process keeps what it compiles, until `keep` is called."""
_ROOM = 32 * 2**20
"""Bytes: some times what the largest run compiles."""


def enable(num_threads: int) -> Path | None:
    """Have TensorFlow, which must not be loaded yet, keep compiled programs. Returns the folder.

    The folder is in $WNG_TF_CACHE, or in wng_tf of the user's cache folder. None, and nothing is kept: WNG_TF_CACHE=off,
    TF_XLA_FLAGS that name a folder already, or, with a line that says so, a folder that cannot be used.
    """
    global _folder
    chosen = os.environ.get(VARIABLE, "")
    flags = os.environ.get(_FLAGS, "")
    if chosen.lower() == "off" or _DIRECTORY in flags:
        return None
    folder = None
    try:
        root = Path(chosen).expanduser() if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "wng_tf"
        folder = (root.expanduser() / f"xla-{_fingerprint(num_threads)}").absolute()
        if str(folder).split() != [str(folder)]:
            raise ValueError("TensorFlow takes no folder with spaces")
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unsound(folder)
        _require_room(folder)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: there is no such home
        where = f" in {str(folder)!r}" if folder else ""
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        print(f"Compiled programs are not kept{where} ({why}); {VARIABLE} names another folder, or off.", flush=True)
        return None
    os.environ[_FLAGS] = f"{flags} {_DIRECTORY}={folder}".strip()
    _folder = folder
    atexit.register(seal, folder)
    return folder


def keep() -> None:
    """Write the checksums of what this process has compiled, if it keeps that; the first time this is called."""
    global _folder
    folder, _folder = _folder, None
    if folder is not None:
        seal(folder)


def seal(folder: Path) -> None:
    """Write the checksums of the programs that have none."""
    with contextlib.suppress(OSError):
        for program in folder.glob("*.pb"):
            if not _checksum_file(program).exists():
                digest = _digest(program)
                with atomic_write(_checksum_file(program)) as file:
                    file.write(digest)


def _remove_unsound(folder: Path) -> None:
    """Remove every program that is not what its checksum says, or has none. Raises OSError where that cannot be done."""
    for program in folder.glob("*.pb"):
        try:
            sound = _checksum_file(program).read_text() == _digest(program)
        except (OSError, ValueError):
            sound = False
        if not sound:
            program.unlink(missing_ok=True)  # first: the other order would leave a program that `seal` takes for sound
            _checksum_file(program).unlink(missing_ok=True)


def _require_room(folder: Path) -> None:
    """Raises OSError where no file of `_ROOM` bytes can be written: read-only, full, over quota or over a limit."""
    probe = folder / f".room-{os.getpid()}"
    try:
        with open(probe, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, _ROOM)
            else:  # macOS
                file.write(bytes(_ROOM))
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _checksum_file(program: Path) -> Path:
    return program.with_name(program.name + _CHECKSUM)


def _digest(program: Path) -> str:
    return hashlib.sha256(program.read_bytes()).hexdigest()


def _fingerprint(num_threads: int) -> str:
    """Of what a compiled program fits."""
    parts = [importlib.metadata.version("tensorflow"), platform.machine(), platform.processor(), str(num_threads)]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        parts.append(platform.node())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
