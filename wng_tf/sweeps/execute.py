"""One run of a sweep in a process of its own: started, watched, resumed, retried, given up with its last words kept.

What counts is on disk. A run is finished when its folder has a `summary.json` of as many steps as are asked for; it is
alive while its lock is held; it can be resumed when it has a checkpoint. So it does not matter which sweep, on which engine,
started the process, and a sweep that asks for more steps than an earlier one goes on from where that ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wng_tf
from wng_tf.errors import UserError
from wng_tf.sweeps import evaluation
from wng_tf.sweeps.grid import Run
from wng_tf.sweeps.records import Attempt, Record, RunPaths, read_record, write_record
from wng_tf.sweeps.stall import Stall
from wng_tf.training import checkpoint, run_folder, unused
from wng_tf.training.locks import try_lock

#: Exit code of a run that refuses its flags: trying again would change nothing.
BAD_INPUT = 2

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 60.0
_TAIL_LINES = 200


@dataclass(frozen=True)
class Job:
    """One run to be brought to its end.

    Attributes:
      run: its place in the grid.
      root: the sweep's folder, absolute.
      runner: module run with `python -m`; it keeps the contract of a run folder, exits with 0 when done and with 2 for
        flags that it refuses, and saves a checkpoint on SIGINT.
      retries: how often a run that broke is started again.
      stall_seconds: a run whose folder does not change for so long is killed and counts as broken; 0: never.
      episodes: of an evaluation of the deterministic policy when the run is finished; 0: none.
    """

    run: Run
    root: Path
    runner: str = "wng_tf.run"
    retries: int = 1
    stall_seconds: float = 0.0
    episodes: int = 0

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.root, self.run.name)


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
      status: `finished`, `failed` or `interrupted`.
      earlier: the run was found finished.
      attempts: processes started for it by this job.
      seconds: time this job took, in seconds.
      error: the reason, for a run that failed.
    """

    run: Run
    status: str
    earlier: bool = False
    attempts: int = 0
    seconds: float = 0.0
    error: str = ""


class _Stopped(Exception):
    """The sweep is being stopped."""


def execute(job: Job, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Brings a run to its end, and evaluates it where that is asked for.

    A process that an earlier sweep left behind is waited for, not doubled.

    Args:
      job: what to run.
      stopped: polled; once it is true, the run is asked to save and end (SIGINT). KeyboardInterrupt does the same.
    """
    outcome = _bring_to_end(job, stopped)
    if outcome.status != "finished" or is_done(job):
        return outcome
    start = time.monotonic()
    try:
        reason = evaluation.evaluate(job.paths.folder, job.episodes, environment(), stopped)
    except KeyboardInterrupt:
        return dataclasses.replace(outcome, status="interrupted", earlier=False)
    seconds = outcome.seconds + time.monotonic() - start
    status = "finished" if reason is None else "failed"
    return dataclasses.replace(outcome, status=status, earlier=False, seconds=seconds, error=reason or "")


def _bring_to_end(job: Job, stopped: Callable[[], bool]) -> Outcome:
    start = time.monotonic()

    def outcome(status: str, **values: Any) -> Outcome:
        return Outcome(job.run, status, seconds=time.monotonic() - start, **values)

    paths = job.paths
    attempts = 0
    lock = None
    try:
        _refuse_other_flags(job, read_record(paths.record))
        if is_finished(paths.folder, job.run):
            return outcome("finished", earlier=True)
        lock = _wait_for_lock(job, stopped)
        if is_finished(paths.folder, job.run):  # the process left behind got there
            return outcome("finished")
        record = _open_record(job)
        while attempts <= job.retries:
            attempts += 1
            exit_code, reason = _attempt(job, record, lock, stopped)
            if is_finished(paths.folder, job.run):
                return outcome("finished", attempts=attempts)
            record.error = reason
            write_record(paths.record, record)
            _keep_last_words(paths)
            if exit_code == BAD_INPUT:
                break
        return outcome("failed", attempts=attempts, error=record.error)
    except (_Stopped, KeyboardInterrupt):
        return outcome("interrupted", attempts=attempts)
    except UserError as error:
        return outcome("failed", attempts=attempts, error=str(error))
    finally:
        if lock is not None:
            os.close(lock)


def is_done(job: Job) -> bool:
    """Whether the run is finished, and evaluated where that is asked for."""
    summary = read_summary(job.paths.folder)
    if not covers(summary, job.run):
        return False
    return not job.episodes or run_folder.evaluated_return(job.paths.folder, summary, job.episodes) is not None


def is_finished(folder: Path, run: Run) -> bool:
    """Whether the run in `folder` wrote its summary, the completion marker, after all the steps that `run` asks for."""
    return covers(read_summary(folder), run)


def covers(summary: Mapping[str, Any], run: Run) -> bool:
    """Whether that is the summary of a run of as many steps as `run` asks for, or of one that reached its --stop_return."""
    if summary.get("status") == "stopped":
        return str(summary.get("stopped_by")).startswith("stop_return")
    steps = summary.get("total_timesteps") or 0
    return summary.get("status") == "finished" and isinstance(steps, int | float) and steps >= (run.total_timesteps() or 0)


def read_summary(folder: Path) -> Mapping[str, Any]:
    """The run's summary; an empty mapping for a run that is not finished, or whose summary is damaged."""
    try:
        return run_folder.read_summary(folder) or {}
    except UserError:
        return {}


def command(job: Job, *, resume: bool) -> list[str]:
    """The command line of a run."""
    flags = [*job.run.flags(), f"--log_path={job.paths.folder}"]
    return [sys.executable, "-m", job.runner, *flags, *(["--resume"] if resume else [])]


def _open_record(job: Job) -> Record:
    """The run's record, new or from an earlier sweep with the same flags; a record means that the folder is ours."""
    record = read_record(job.paths.record)
    fresh = Record(run=job.run, runner=job.runner, flags=job.run.flags())
    if record is None:
        if job.paths.folder.exists() and any(job.paths.folder.iterdir()):
            raise UserError(f"{job.paths.folder} holds files that no sweep wrote: move them, or choose another --log_path.")
        return fresh
    if (job.run.total_timesteps() or 0) < (record.run.total_timesteps() or 0):
        raise _other_flags(job, record)  # begun as a longer run, and not yet as long as is asked
    record.run, record.flags, record.error = fresh.run, fresh.flags, ""
    return record


def _refuse_other_flags(job: Job, record: Record | None) -> None:
    """UserError if the job is another run than the one on record; how many steps it takes makes no difference."""
    if record is not None and (record.runner, _flags_but_length(record.run)) != (job.runner, _flags_but_length(job.run)):
        raise _other_flags(job, record)


def _flags_but_length(run: Run) -> set[str]:
    return {flag for flag in run.flags() if not flag.startswith("--num_timesteps=")}


def _other_flags(job: Job, record: Record) -> UserError:
    changed = " ".join(sorted(set(record.flags).symmetric_difference(job.run.flags()))) or record.runner
    return UserError(
        f"{job.paths.folder} was begun with other flags (they differ in {changed}): choose another --log_path, or "
        f"delete it and {job.paths.book}."
    )


def _attempt(job: Job, record: Record, lock: int, stopped: Callable[[], bool]) -> tuple[int, str]:
    """Starts the run's process and waits for it; returns its exit code and, in words, why it did not finish."""
    paths = job.paths
    resume = checkpoint.latest_step(paths.folder / run_folder.CHECKPOINTS) is not None
    if not resume and paths.folder.exists():
        with run_folder.writing(paths.folder):  # not while somebody trains there by hand
            shutil.rmtree(paths.folder)  # it died before its first checkpoint: nothing to continue from
    paths.folder.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    # The attempt is on record before the process exists, so a kill between the two cannot orphan a folder.
    attempt = Attempt(datetime.datetime.now().isoformat(timespec="seconds"), socket.gethostname(), 0, resume)
    record.attempts.append(attempt)
    write_record(paths.record, record)
    with open(paths.stderr, "ab") as stderr:
        stderr.write(f"--- {attempt.started} attempt {len(record.attempts)}{', resumed' if resume else ''}\n".encode())
        stderr.flush()
        first_word = stderr.tell()
        process = subprocess.Popen(
            command(job, resume=resume),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(),
            pass_fds=[lock],  # the run holds its lock for as long as it lives
            start_new_session=True,  # the terminal's Ctrl-C reaches the sweep alone, which passes it on once
        )
    try:
        attempt.pid = process.pid
        write_record(paths.record, record)
        stalled = _watch(process, Stall(paths.folder, job.stall_seconds), stopped)
    finally:
        _kill_group(process.pid)  # what is left of it after the run's own end
        process.wait()
        attempt.seconds = time.monotonic() - start
        attempt.exit_code = process.returncode
        write_record(paths.record, record)
    return process.returncode, _reason(process.returncode, stalled, _last_line(paths.stderr, first_word))


def _watch(process: subprocess.Popen, stall: Stall, stopped: Callable[[], bool]) -> bool:
    """Waits until the process ends by itself, or ends it; returns whether it was killed for standing still."""
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                return False
            if stopped():
                raise _Stopped
            if stall.is_over():
                return True
    except (_Stopped, KeyboardInterrupt):
        _interrupt(process)
        raise


def _interrupt(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_GRACE_SECONDS)


def _wait_for_lock(job: Job, stopped: Callable[[], bool]) -> int:
    stall = Stall(job.paths.folder, job.stall_seconds)
    while (lock := try_lock(job.paths.lock)) is None:
        if stopped():
            _signal_left_behind(job, signal.SIGINT)
            raise _Stopped
        if stall.is_over():
            _signal_left_behind(job, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return lock


def _signal_left_behind(job: Job, number: int) -> None:
    """Signals the process that holds the run's lock, if it is on this machine."""
    record = read_record(job.paths.record)
    if record is None or not record.attempts:
        return
    last = record.attempts[-1]
    # The lock is held, so the process that was given it lives and the number is still its own.
    if last.pid and last.host == socket.gethostname():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(last.pid, number)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def environment() -> dict[str, str]:
    """Environment variables of a process that a sweep starts."""
    # A worker of a cluster starts elsewhere: let it find this package even where it is not installed.
    package_parent = str(Path(wng_tf.__file__).parents[1])
    path = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **ONE_THREAD, unused.VARIABLE: "allow", "PYTHONPATH": os.pathsep.join(path)}


def _keep_last_words(paths: RunPaths) -> None:
    paths.folder.mkdir(parents=True, exist_ok=True)
    lines = paths.stderr.read_text(errors="replace").splitlines(keepends=True)
    (paths.folder / "stderr.txt").write_text("".join(lines[-_TAIL_LINES:]))


def _last_line(path: Path, offset: int) -> str:
    with open(path, "rb") as file:
        file.seek(offset)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _reason(exit_code: int, stalled: bool, last_line: str) -> str:
    if stalled:
        return "stood still and was killed"
    if exit_code == 0:
        return "ended without a summary.json"
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return last_line or f"exit code {exit_code}"
