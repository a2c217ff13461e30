"""Worker processes: started, deaf to the signals that ask to stop, and ended without leaving a zombie.

Ctrl-C, Slurm's SIGTERM and a closed terminal's SIGHUP reach a whole process group. They are the parent's business: it
saves, and then closes its workers.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import stat
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

#: Signals that ask a run to stop.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def start_process(process: BaseProcess) -> None:
    """Start a spawned process that calls `ignore_stop_signals` first; until it does, they wait.

    A process takes the signal mask of its parent: so none can end it while Python starts in it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        # Starting it unblocks some of them, so it must not happen later, within `start`.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals() -> None:
    """For a worker: whoever wants it to end closes its pipe, or kills it.

    By a handler that does nothing: what an environment starts would inherit SIG_IGN, and could not be asked to end.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def leave_terminal() -> None:
    """After a hangup: send what is printed nowhere instead of to a terminal that is gone, where every write fails."""
    with open(os.devnull, "wb") as nowhere:
        for fd in (1, 2):
            with contextlib.suppress(OSError):
                if stat.S_ISCHR(os.fstat(fd).st_mode):
                    os.dup2(nowhere.fileno(), fd)


def ending(process: BaseProcess) -> str:
    """How a dead process ended: its exit code, and the signal that killed it."""
    process.join(timeout=5)
    code = process.exitcode
    if code is None or code >= 0:
        return f"(exit code {code})"
    name = f"signal {-code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    return f"(exit code {code}), killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"


def end(process: BaseProcess, patience: float) -> None:
    """Wait so many seconds for the process to end by itself, then kill it."""
    process.join(timeout=patience)
    if process.is_alive():
        process.kill()
        process.join()


def survives_pickling(error: BaseException) -> bool:
    """Whether an exception comes out of a pipe as it went in; those with a constructor of their own may not."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False
