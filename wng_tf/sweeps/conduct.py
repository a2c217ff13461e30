"""A sweep from beginning to end: one at a time in a folder, unfinished runs to the engine, tables kept up to date."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from baselines_compat.vec_env.processes import STOP_SIGNALS, leave_terminal
from wng_tf.runtime import faults, output
from wng_tf.sweeps.execute import Job, Outcome, execute, is_done, read_summary
from wng_tf.sweeps.progress import SweepProgress
from wng_tf.sweeps.records import BOOK_FOLDER
from wng_tf.sweeps.report import write_tables
from wng_tf.training.locks import holding, is_locked

#: What a run's last words say of a full disk.
_FULL = re.compile(r"disk is full|No space left on device|Disk quota exceeded")
FAILED = 1
INTERRUPTED = 130


class Engine(Protocol):
    """Where the jobs run: `LocalEngine` or `RayEngine`."""

    def map(self, function: Callable, items: Iterable[Any], tick: Callable[[], None]) -> Iterator[tuple[Any, Any]]: ...

    def stop(self) -> None: ...


def conduct(jobs: Sequence[Job], engine: Callable[[], Engine], *, show_bar: bool | None = None) -> int:
    """Brings every job to its end and keeps `sweep.csv` and `timings.csv` in their folder.

    Args:
      jobs: of one folder.
      engine: makes the engine; called once the folder is locked.
      show_bar: the progress bar; None: on a terminal.

    Returns:
      Exit code: 0, 1 if a run failed, 130 if the sweep was interrupted.

    Raises:
      UserError: another sweep is at work in the folder, or it cannot be written to.
    """
    root = jobs[0].root
    runs = [job.run for job in jobs]
    advice = "make room, or choose another --log_path"
    with faults.naming(root, advice), output.made(root / BOOK_FOLDER), only_one(root):
        progress = SweepProgress(root, runs, show_bar=show_bar)
        write_tables(root, runs)
        failed: list[Outcome] = []

        def report(outcome: Outcome) -> None:
            progress.report(outcome, _return_text(root / outcome.run.name))
            if outcome.status == "failed":
                failed.append(outcome)

        def settle(job: Job, result: Outcome | Exception, stopped: bool) -> None:
            report(result if isinstance(result, Outcome) else _lost(job, result, stopped))
            write_tables(root, runs)

        for job in jobs:
            if is_done(job):
                report(execute(job))
        unfinished = [job for job in jobs if not is_done(job)]
        # Runs that an earlier sweep left alive come first: they use their cores already.
        unfinished.sort(key=lambda job: not is_locked(job.paths.lock))
        interrupted = bool(unfinished) and run_all(execute, unfinished, engine(), progress.tick, settle)
        progress.close()
        write_tables(root, runs)
    return _conclude(root, len(jobs), failed, interrupted)


def run_all(
    function: Callable,
    items: Iterable[Any],
    engine: Engine,
    tick: Callable[[], None],
    settle: Callable[[Any, Any, bool], None],
) -> bool:
    """Gives the items to the engine; returns whether the user stopped them.

    Args:
      settle: called with each item, what the function returned (or the exception, if it raised, or if the engine lost the
        item), and whether the user has stopped.

    Raises:
      OSError: the books cannot be kept any more; those at work have been told to save and end.
    """
    with StopRequest(engine) as request:

        def on_tick() -> None:
            request.pass_on()
            tick()

        fault: OSError | None = None
        for item, result in engine.map(function, items, on_tick):
            try:
                if isinstance(result, OSError):
                    raise result
                settle(item, result, request.made)
            except OSError as error:
                if fault is None:
                    fault = error
                    engine.stop()  # the runs save and end
        if fault is not None:
            raise fault
        return request.made


class StopRequest:
    """Ctrl-C, SIGTERM or SIGHUP: the first asks every run to save and end, the same one again leaves at once.

    A flag instead of an exception, which would tear down the engine's loop wherever it stands.
    """

    def __init__(self, engine: Engine):
        self._received: set[int] = set()
        self._passed_on = False
        self._engine = engine
        self._previous: dict[int, Any] = {}

    @property
    def made(self) -> bool:
        return bool(self._received)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                # Under nohup a hangup stays ignored.
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def pass_on(self) -> None:
        """Tells the engine, once."""
        if self.made and not self._passed_on:
            self._passed_on = True
            with contextlib.suppress(OSError):
                print("Stopping: the runs save and end. Again to leave at once.", file=sys.stderr, flush=True)
            self._engine.stop()

    def _on_signal(self, number: int, _: object) -> None:
        if number in self._received:
            os._exit(INTERRUPTED)  # the runs have been told, and their locks outlive this process
        self._received.add(number)
        if number not in (signal.SIGINT, signal.SIGTERM):
            leave_terminal()


def _lost(job: Job, error: Exception, stopped: bool) -> Outcome:
    """The outcome of a job that the engine itself lost."""
    reason = (str(error).strip().splitlines() or [""])[0]
    return Outcome(job.run, "interrupted" if stopped else "failed", error=f"{type(error).__name__}: {reason}")


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Be the one sweep, or study, at work in the folder. UserError if another one is."""
    path = root / BOOK_FOLDER / "lock"
    busy = f"Another sweep is at work in {root}: wait for it, or choose another --log_path."
    unusable = f"{root} cannot be used for a sweep ({{reason}}): choose another --log_path."
    with holding(path, busy=busy, unusable=unusable):
        yield


def _return_text(folder: Path) -> str:
    value = read_summary(folder).get("eprewmean")
    return "none" if value is None else f"{value:.2f}"


def _conclude(root: Path, count: int, failed: Sequence[Outcome], interrupted: bool) -> int:
    if interrupted:
        print(f"Interrupted. The same command continues the sweep. Table so far: {root / 'sweep.csv'}")
        return INTERRUPTED
    print(f"{count - len(failed)} of {count} runs finished. Table: {root / 'sweep.csv'}")
    for outcome in failed:
        print(f"failed: {outcome.run.title}: see {root / outcome.run.name / 'stderr.txt'}")
    if any(_FULL.search(outcome.error) for outcome in failed):
        print(f"The disk of {root} is full: make room, and the same command continues the sweep.", file=sys.stderr)
    return FAILED if failed else 0
