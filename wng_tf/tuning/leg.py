"""What an engine does of a trial at a stretch: some of its runs, one after the other, until it is given up."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from wng_tf.sweeps.execute import Job, Outcome, environment, execute
from wng_tf.tuning.progress import EVALUATION_SEED, read_evaluation

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Leg:
    """Some of a trial's runs.

    Attributes:
      study: name of the study; `number` of the trial in it.
      given_up: a file that the one who conducts the study makes when the trial is pruned. It is a file because the engine
        may be another machine's.
      eval_episodes: play so many with each finished run; 0: none.
    """

    study: str
    number: int
    jobs: tuple[Job, ...]
    given_up: Path
    eval_episodes: int = 0


def work(leg: Leg, stopped: Callable[[], bool]) -> list[Outcome]:
    """Brings the runs to their ends in order, up to the first that does not get there.

    Args:
      stopped: polled; once it is true, the run at work is asked to save and end.

    Returns:
      what came of each run that was begun; none, if the trial had been given up.
    """

    def over() -> bool:
        return stopped() or leg.given_up.exists()

    outcomes: list[Outcome] = []
    for job in leg.jobs:
        if over():
            break
        outcome = execute(job, over)
        if outcome.status == "finished" and leg.eval_episodes:
            outcome = _evaluated(job, outcome, leg.eval_episodes, over)
        outcomes.append(outcome)
        if outcome.status != "finished":
            break
    return outcomes


def _evaluated(job: Job, outcome: Outcome, episodes: int, over: Callable[[], bool]) -> Outcome:
    folder = job.paths.folder
    if math.isfinite(read_evaluation(folder, episodes)):
        return outcome
    # What the run names has been looked at before it was begun.
    flags = [f"--run={folder}", f"--episodes={episodes}", f"--seed={EVALUATION_SEED}", "--trust"]
    command = [sys.executable, "-m", "wng_tf.evaluate", *flags]
    with open(job.paths.stderr, "ab") as stderr:
        begin = stderr.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(),
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
                if over():
                    return replace(outcome, status="interrupted")
        except KeyboardInterrupt:
            return replace(outcome, status="interrupted")
        finally:
            process.kill()
            process.wait()
    if process.returncode == 0:
        return outcome
    words = job.paths.stderr.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
    reason = words[-1] if words else f"exit code {process.returncode}"
    return replace(outcome, status="failed", error=f"its evaluation failed: {reason}")
