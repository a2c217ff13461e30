"""Studies from beginning to end: trials to the engine, what they report to Optuna, files kept up to date."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from wng_tf.errors import UserError
from wng_tf.runtime import faults, output
from wng_tf.sweeps.conduct import FAILED, INTERRUPTED, Engine, only_one, run_all
from wng_tf.sweeps.execute import Job, Outcome
from wng_tf.sweeps.records import BOOK_FOLDER
from wng_tf.tuning import report
from wng_tf.tuning.display import StudyProgress
from wng_tf.tuning.leg import Leg, work
from wng_tf.tuning.plan import DETERMINISTIC, Options, Plan
from wng_tf.tuning.study import STORAGE, Study, Trial, open_storage

_LOOK_SECONDS = 0.5


def conduct(
    plans: Sequence[Plan], options: Options, root: Path, engine: Callable[[], Engine], *, show_bar: bool | None = None
) -> int:
    """Brings every study to its end, and keeps `trials.csv` and the flagfiles of the best in their folder.

    Args:
      engine: makes the engine; called once the folder is locked.
      show_bar: the progress bar; None: on a terminal.

    Returns:
      Exit code: 0, 1 if a trial failed, 130 if the study was interrupted.

    Raises:
      UserError: another study or sweep is at work in the folder, it was begun with other flags, or it cannot be written to.
    """
    with faults.naming(root, "make room, or choose another --log_path"), output.made(root / BOOK_FOLDER), only_one(root):
        try:
            storage = open_storage(root)
            studies = [Study(plan, options, storage, root) for plan in plans]
            conductor = _Conductor(studies, options, root, engine, show_bar)
            interrupted = conductor.run()
            report.write(studies, root)
            report.draw(studies, root)
        except StorageInternalError as error:
            raise UserError(
                f"{root / STORAGE} cannot be written to ({_reason(error)}): make room, and start again."
            ) from error
    return report.conclude(studies, root, INTERRUPTED if interrupted else FAILED if conductor.failed else 0)


class _Conductor:
    """The trials of some studies on one engine."""

    def __init__(
        self, studies: Sequence[Study], options: Options, root: Path, engine: Callable[[], Engine], show_bar: bool | None
    ):
        self._studies, self._options, self._root, self._make_engine = studies, options, root, engine
        self._at_work: dict[tuple[str, int], Trial] = {}
        self._last_look = 0.0
        self.failed = 0
        self._display = StudyProgress(studies, show_bar=show_bar)

    def run(self) -> bool:
        """Returns whether the user stopped it."""
        try:
            return self._in_rounds() if self._options.in_rounds else self._as_they_come()
        finally:
            self._display.close()

    def _as_they_come(self) -> bool:
        """Every trial with all its seeds; the next one is asked for when there is room for it."""
        legs = (self._leg(trial, trial.runs) for trial in self._trials(self._studies) if self._is_open(trial))
        return run_all(work, legs, self._make_engine(), self._tick, self._settle)

    def _in_rounds(self) -> bool:
        """Task by task every trial with its first seed, then those that are left with their second."""
        engine: Engine | None = None
        for _, of_task in itertools.groupby(self._studies, key=lambda study: study.plan.env):
            trials = [trial for trial in self._trials(list(of_task)) if self._is_open(trial)]
            for seed in range(len(trials[0].runs) if trials else 0):
                trials = [trial for trial in trials if trial.state is None]
                legs = [self._leg(trial, trial.runs[seed : seed + 1]) for trial in trials]
                engine = engine or self._make_engine()
                if run_all(work, legs, engine, self._tick, self._settle):
                    return True
                for trial in trials:
                    if seed + 1 < len(trial.runs) and trial.state is None and trial.prune_after_round():
                        self._conclude(trial)
        return False

    def _trials(self, studies: Sequence[Study]) -> Iterator[Trial]:
        """What an earlier process left, then new ones, of the studies in turn."""
        for study in studies:
            yield from study.left_behind()
        while asked := [trial for study in studies if (trial := study.ask()) is not None]:
            yield from asked

    def _is_open(self, trial: Trial) -> bool:
        if trial.state is not None:
            self._conclude(trial)
        return trial.state is None

    def _leg(self, trial: Trial, runs: Sequence) -> Leg:
        options, study = self._options, trial.study.plan.name
        self._at_work[study, trial.number] = trial
        self._display.begin(trial)
        episodes = options.eval_episodes if options.objective == DETERMINISTIC else 0
        jobs = tuple(Job(run, self._root, options.runner, options.retries, options.stall_seconds, episodes) for run in runs)
        given_up = self._root / BOOK_FOLDER / study / f"trial{trial.number}.given_up"
        return Leg(study, trial.number, jobs, given_up)

    def _tick(self) -> None:
        """Lets the trials at work report, at most every half second; those that the pruner gives up are told to end."""
        if time.monotonic() - self._last_look < _LOOK_SECONDS:
            return
        self._last_look = time.monotonic()
        for trial in list(self._at_work.values()):
            self._advance(trial)
        self._display.tick()

    def _advance(self, trial: Trial) -> None:
        if trial.state is not None:
            return
        trial.advance()
        if trial.state == TrialState.PRUNED:
            given_up = self._root / BOOK_FOLDER / trial.study.plan.name / f"trial{trial.number}.given_up"
            given_up.parent.mkdir(parents=True, exist_ok=True)
            given_up.touch()
            self._conclude(trial)

    def _settle(self, leg: Leg, result: list[Outcome] | Exception, stopped: bool) -> None:
        trial = self._at_work.pop((leg.study, leg.number))
        self._advance(trial)
        if trial.state is not None:
            return
        if isinstance(result, Exception):
            reason = f"{type(result).__name__}: {(str(result).strip().splitlines() or [''])[0]}"
            status = "interrupted" if stopped else "failed"
        else:
            ended = next((outcome for outcome in result if outcome.status != "finished"), None)
            whole = len(result) == len(leg.jobs)
            status = ended.status if ended else "finished" if whole else "interrupted"
            reason = ended.error if ended else ""
        if status == "finished":
            if leg.jobs[-1].run == trial.runs[-1]:
                trial.complete()
                self._conclude(trial)
            else:
                self._display.tell_seed(trial, trial.runs.index(leg.jobs[-1].run))
        elif status == "failed" or not stopped:
            trial.fail(reason or "interrupted")
            self._conclude(trial)

    def _conclude(self, trial: Trial) -> None:
        """Says what came of the trial, and brings the files up to date."""
        self.failed += trial.state == TrialState.FAIL
        self._display.tell(trial)
        report.write(self._studies, self._root)


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(getattr(cause, "orig", None) or cause).splitlines()[0]
