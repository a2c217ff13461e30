"""What an engine does of a trial at a stretch: some of its runs, one after the other, until it is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wng_tf.sweeps.execute import Job, Outcome, execute


@dataclass(frozen=True)
class Leg:
    """Some of a trial's runs.

    Attributes:
      study: name of the study; `number` of the trial in it.
      given_up: a file that the one who conducts the study makes when the trial is pruned. It is a file because the engine
        may be another machine's.
    """

    study: str
    number: int
    jobs: tuple[Job, ...]
    given_up: Path


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
        outcomes.append(outcome)
        if outcome.status != "finished":
            break
    return outcomes
