"""Compiled updates kept on disk, so that the second run of a kind starts some seconds sooner than the first.

TensorFlow does the keeping: it looks programs up by a hash of what they compute, and writes them under another name before
it renames them, so that runs side by side and runs that are killed do no harm. What the hash leaves out is in the
folder's name: TensorFlow's version, the processor, and the number of threads.

A program that TensorFlow can neither read nor write stops it, and one that was altered might run. So there is room for what
a run compiles before it starts, or it runs without; and a program is kept only beside its checksum, which is written once
the first update has run, and when the process ends. (Not at the end alone: what starts in the meantime would remove the
programs of runs that are still at work, or that were killed.)

What is kept has a bound, over the folders of all versions, processors and numbers of threads: a run that starts removes the
programs that were least recently used until the rest fits. A program was last used when it was last read, as far as the file
system notes that (`noatime` does not: there it is when it was compiled). A run that has read its programs does not need
the files. One that is about to must not lose them between looking and reading: nothing is removed for the bound while
another run is between its start and its first update, which a lock says that each holds in the meantime.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib.metadata
import math
import os
import platform
import stat
import time
from pathlib import Path

from baselines_compat.files import atomic_write
from wng_tf.errors import UserError

VARIABLE = "WNG_TF_CACHE"
SIZE_VARIABLE = "WNG_TF_CACHE_MB"
"""Environment variable: the megabytes (10^6 bytes) that may be kept when a run starts."""
MEGABYTES = 256
"""Without it; a run compiles one to ten."""
_FLAGS = "TF_XLA_FLAGS"
_DIRECTORY = "--tf_xla_persistent_cache_directory"
_CHECKSUM = ".sha256"
_folder: Path | None = None
"""Where this process keeps what it compiles, until `keep` is called."""
_ROOM = 32 * 2**20
"""Bytes: some times what the largest run compiles."""
_FOLDER = "xla-"
_DIGITS = 16
_LOCK = ".starting"
_STALE_SECONDS = 3600
"""So old is what a process that was killed left half written."""
_lock: int | None = None
"""Descriptor of the lock that this process holds between `enable` and `keep`."""


def enable(num_threads: int) -> Path | None:
    """Have TensorFlow, which must not be loaded yet, keep compiled programs. Returns the folder.

    The folder is in $WNG_TF_CACHE, or in wng_tf of the user's cache folder. None, and nothing is kept: WNG_TF_CACHE=off,
    TF_XLA_FLAGS that name a folder already, or, with a line that says so, a folder that cannot be used.

    Raises:
      UserError: $WNG_TF_CACHE_MB is no number of megabytes.
    """
    global _folder
    chosen = os.environ.get(VARIABLE, "")
    flags = os.environ.get(_FLAGS, "")
    if chosen.lower() == "off" or _DIRECTORY in flags:
        return None
    most = _most()
    folder = None
    try:
        root = Path(chosen).expanduser() if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "wng_tf"
        folder = (root.expanduser() / f"{_FOLDER}{_fingerprint(num_threads)}").absolute()
        if str(folder).split() != [str(folder)]:
            raise ValueError("TensorFlow takes no folder with spaces")
        folder.mkdir(parents=True, exist_ok=True)
        _enter(folder.parent, most)
        _remove_unsound(folder)
        _require_room(folder)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: there is no such home
        if folder is not None:
            _leave(folder.parent)
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
        _leave()


def seal(folder: Path) -> None:
    """Write the checksums of the programs that have none."""
    with contextlib.suppress(OSError):
        for program in folder.glob("*.pb"):
            if not _checksum_file(program).exists():
                digest = _digest(program)
                with atomic_write(_checksum_file(program)) as file:
                    file.write(digest)


def _most() -> float:
    """Bytes that may be kept. UserError if the environment variable says no number of them."""
    text = os.environ.get(SIZE_VARIABLE, "").strip() or str(MEGABYTES)
    try:
        megabytes = float(text)
    except ValueError:
        megabytes = math.nan
    if not 0 <= megabytes < math.inf:
        raise UserError(f"The environment variable {SIZE_VARIABLE} must be a number of megabytes, not '{text}'.")
    return megabytes * 1e6


def _enter(root: Path, most: float) -> None:
    """Take the lock that every run has while it starts; where no other one has it now, see first to what is kept."""
    global _lock
    _leave()
    path = root / _LOCK
    while _lock is None:
        descriptor = _open(path)
        try:
            alone = _try_alone(descriptor)
            if not alone:
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while another one removes programs
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # else `_leave` has removed it since
                    _lock = descriptor
            if alone and _lock is not None:
                _bound(root, most)
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # others may start
        finally:
            if _lock is None:
                os.close(descriptor)


def _open(path: Path) -> int:
    """A descriptor of the file that is locked; also of somebody else's, in a folder that several people keep programs in."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY)


def _leave(root: Path | None = None) -> None:
    """Let the lock go; where nothing is kept in `root`, its file goes, too."""
    global _lock
    descriptor, _lock = _lock, None
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        if root is not None and _try_alone(descriptor):
            (root / _LOCK).unlink()
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # of processes that were forked, too
    os.close(descriptor)


def _bound(root: Path, most: float) -> None:
    """Remove programs of any version, the least recently used first, until those that are kept have `most` bytes or fewer.

    What belongs to somebody else, and cannot be removed, stays.
    """
    programs = []
    stale = time.time() - _STALE_SECONDS
    for file in root.glob(f"{_FOLDER}{'[0-9a-f]' * _DIGITS}/*"):
        with contextlib.suppress(OSError):
            about = file.lstat()
            if not stat.S_ISREG(about.st_mode):
                continue
            if file.suffix == ".pb":
                programs.append((max(about.st_atime_ns, about.st_mtime_ns), file, about.st_size))
            elif about.st_mtime < stale and not (file.suffix == _CHECKSUM and file.with_suffix("").exists()):
                file.unlink()
    kept = sum(size for _, _, size in programs)
    for _, program, size in sorted(programs):
        if kept <= most:
            return
        with contextlib.suppress(OSError):
            _remove(program)
            kept -= size


def _try_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_unsound(folder: Path) -> None:
    """Remove every program that is not what its checksum says, or has none. Raises OSError where that cannot be done."""
    for program in folder.glob("*.pb"):
        try:
            sound = _checksum_file(program).read_text() == _digest(program)
        except (OSError, ValueError):
            sound = False
        if not sound:
            _remove(program)


def _remove(program: Path) -> None:
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
    before = program.stat()
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    # Reading it here is no use of it; and `relatime` notes the next reading of what was changed since the last.
    with contextlib.suppress(OSError):  # it is somebody else's
        os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    return digest


def _fingerprint(num_threads: int) -> str:
    """Of what a compiled program fits."""
    parts = [importlib.metadata.version("tensorflow"), platform.machine(), platform.processor(), str(num_threads)]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        parts.append(platform.node())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]
