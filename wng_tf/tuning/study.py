"""One study in Optuna's storage: its trials asked for, reported, told, and found again after a kill.

One process writes in the storage, the one that conducts the study. A trial that was at work when it was killed is `RUNNING`
in the storage, and goes on from what its runs have left in their folders.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from wng_tf.errors import UserError
from wng_tf.tuning.plan import Options, Plan
from wng_tf.tuning.progress import final_value, objective, value_at
from wng_tf.tuning.pruners import pruner, report_steps
from wng_tf.tuning.space import grid_points

STORAGE = "study.db"
IDENTITY = "identity"
ERROR = "error"
RETRIES = "retries"
"""Attribute of a trial that repeats one that failed: the number of that one."""

Flags = Mapping[str, str]


def open_storage(root: Path) -> optuna.storages.BaseStorage:
    """The storage in the folder, made if there is none.

    Raises:
      UserError: it is damaged, or of another version of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    path = root / STORAGE
    url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    try:
        return optuna.storages.RDBStorage(url)
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise UserError(f"{path} cannot be used ({reason}): move it away, or choose another --log_path.") from error


class Study:
    """A plan and what Optuna has of it.

    Raises:
      UserError: there is another study of that name in the storage.
    """

    def __init__(self, plan: Plan, options: Options, storage: optuna.storages.BaseStorage, root: Path):
        self.plan, self.options, self.root = plan, options, root
        self.study = optuna.create_study(
            storage=storage,
            study_name=plan.name,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner(plan, options),
            sampler=optuna.samplers.RandomSampler(seed=0),  # `ask` has a sampler of its own for each trial
        )
        self._refuse_another()
        self._plan_trials()

    def _refuse_another(self) -> None:
        identity = self.plan.identity(self.options)
        known = self.study.user_attrs.get(IDENTITY)
        if known is None:
            self.study.set_user_attr(IDENTITY, json.dumps(identity))
            return
        before = json.loads(known)
        for name in dict.fromkeys([*before, *identity]):
            if before.get(name) != identity.get(name):
                raise UserError(
                    f"The study of {self.plan.title} in {self.root} was begun with --{name}={_shown(before.get(name))}, not "
                    f"{_shown(identity.get(name))}: choose another --log_path."
                )

    def _plan_trials(self) -> None:
        """Every point of a grid, and again what failed, waits to be asked for."""
        trials = self.trials()
        repeated = {trial.user_attrs.get(RETRIES) for trial in trials}
        for trial in trials:
            if trial.state == TrialState.FAIL and trial.number not in repeated:
                self.study.enqueue_trial(trial.params, user_attrs={RETRIES: trial.number})
        if self.options.sampler == "grid":
            for flags in grid_points(self.plan.axes):
                params = {axis.name: axis.value(flags[axis.name]) for axis in self.plan.axes}
                self.study.enqueue_trial(params, skip_if_exists=True)

    def trials(self) -> list[FrozenTrial]:
        """Every trial, in order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def counted(self) -> list[FrozenTrial]:
        """The trials without those that were begun again as other ones."""
        trials = self.trials()
        repeated = {trial.user_attrs.get(RETRIES) for trial in trials}
        return [trial for trial in trials if trial.number not in repeated]

    @property
    def size(self) -> int:
        """How many trials it is to have."""
        if self.options.sampler == "grid":
            return len(self.counted())
        return max(self.options.n_trials or 0, len(self.counted()))

    def left_behind(self) -> Iterator[Trial]:
        """Trials that were at work when an earlier process was killed or stopped."""
        for frozen in self.trials():
            if frozen.state == TrialState.RUNNING:
                yield self._trial(optuna.trial.Trial(self.study, frozen._trial_id))

    def ask(self) -> Trial | None:
        """The next trial; None if all have been begun."""
        trials = self.trials()
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        if not waiting and (self.options.sampler == "grid" or len(self.counted()) >= (self.options.n_trials or 0)):
            return None
        # The trial's number gives its stream: one that is asked for after a kill is the one that it would have been.
        self.study.sampler = self._sampler(waiting[0] if waiting else len(trials))
        return self._trial(self.study.ask())

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = int(np.random.SeedSequence([self.options.sampler_seed, number]).generate_state(1)[0])
        if self.options.sampler == "tpe":
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self.options.n_startup_trials, multivariate=True, constant_liar=True
            )
        return optuna.samplers.RandomSampler(seed=seed)

    def _trial(self, trial: optuna.trial.Trial) -> Trial:
        return Trial(self, trial, self.flags_of({axis.name: axis.suggest(trial) for axis in self.plan.axes}))

    def flags_of(self, params: Mapping[str, Any]) -> dict[str, str]:
        """The flags of a trial's parameters."""
        return {axis.name: axis.flag(params[axis.name]) for axis in self.plan.axes if axis.name in params}

    def best(self) -> FrozenTrial | None:
        """The trial with the highest value that was not given up; the first of equal ones. None if there is none."""
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


class Trial:
    """A trial at work.

    Attributes:
      flags: what it tries, as the texts of flags.
      runs: one a seed.
      state: None until it has been told.
    """

    def __init__(self, study: Study, trial: optuna.trial.Trial, flags: Flags):
        self.study, self.flags = study, flags
        self.number = trial.number
        self.runs = study.plan.runs(flags)
        self.state: TrialState | None = None
        self._trial = trial
        reported = study.trials()[trial.number].intermediate_values
        self._steps = [step for step in report_steps(study.plan, study.options) if step not in reported]
        if reported and self._prune_now():  # killed between the report and its consequence
            self.prune()

    @property
    def title(self) -> str:
        return " ".join([self.study.plan.title, *(f"{name}={text}" for name, text in self.flags.items())])

    @property
    def last_step(self) -> int:
        """Steps over all seeds at which it reported last."""
        return self.frozen.last_step or 0

    @property
    def frozen(self) -> FrozenTrial:
        """What the storage has of it."""
        return self.study.trials()[self.number]

    def advance(self) -> None:
        """Reports what its runs have come to since; by the reports, the pruner may give it up."""
        while self.state is None and self._steps:
            value = self._value(self._steps[0])
            if value is None:
                return
            step = self._steps.pop(0)
            if math.isfinite(value):
                self._trial.report(value, step)
                if self._prune_now():
                    self.prune()

    def _prune_now(self) -> bool:
        at_its_end = self.last_step >= self.study.plan.total_steps
        return not self.study.options.in_rounds and not at_its_end and self._trial.should_prune()

    def prune_after_round(self) -> bool:
        """Gives it up if the pruner says so, now that all others have come as far. Returns whether it did."""
        if self.state is None and self._trial.should_prune():
            self.prune()
        return self.state is not None

    def prune(self) -> None:
        """Tells that it was given up."""
        self._tell(TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """Tells that it broke, and why."""
        self._trial.set_user_attr(ERROR, reason)
        self._tell(TrialState.FAIL)

    def complete(self) -> None:
        """Tells what it came to: the mean over its seeds."""
        values = [objective(self.study.root / run.name, run, self.study.options) for run in self.runs]
        if all(map(math.isfinite, values)):
            self._tell(TrialState.COMPLETE, math.fsum(values) / len(values))
        else:
            self.fail(f"it ended without a value of '{self.study.options.objective}'")

    def _tell(self, state: TrialState, value: float | None = None) -> None:
        self.study.study.tell(self._trial, value, state=state)
        self.state = state

    def _value(self, step: int) -> float | None:
        """The mean over the seeds that have come so far."""
        steps, column = self.study.plan.steps, self.study.options.column
        seed, within = divmod(step, steps)
        if step and not within:
            seed, within = seed - 1, steps
        folders = [self.study.root / run.name for run in self.runs]
        values = [final_value(folders[i], self.runs[i], column) for i in range(seed)]
        if within == steps:
            values.append(final_value(folders[seed], self.runs[seed], column))
        else:
            values.append(value_at(folders[seed], self.runs[seed], within, column))
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if len(known) == len(values) else None


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
