"""What a study's folder has for people: a table of trials, flagfiles of the best, figures.

trials.csv        a row a trial, those that were given up and those that failed too. Nothing of the clock
best.flags        python -m wng_tf.run --flagfile=best.flags repeats the best trial (where there is one study)
best_sweep.flags  the same as --override lines, for `wng_tf.sweep`
<env>/<alg>/best.flags
history, importance   PNG, SVG, and the CSV of what is drawn
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from baselines_compat.files import atomic_write
from wng_tf.errors import UserError
from wng_tf.plots.tables import to_csv
from wng_tf.sweeps.check import check_settings
from wng_tf.sweeps.conduct import INTERRUPTED
from wng_tf.sweeps.flags import RUNNER
from wng_tf.tuning.study import ERROR, Study

WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
    TrialState.WAITING: "unfinished",
}
TABLE, BEST, BEST_SWEEP = "trials.csv", "best.flags", "best_sweep.flags"

#: Fewer trials than these say nothing of importance.
FEWEST = 4


def outcome(trial: FrozenTrial) -> str:
    """What came of a trial, in words."""
    if trial.state == TrialState.COMPLETE:
        return f"{trial.value:.2f}"
    if trial.state == TrialState.PRUNED:
        reached = "" if trial.value is None else f", having reached {trial.value:.2f}"
        return f"pruned after {trial.last_step or 0} steps{reached}"
    return f"FAILED: {trial.user_attrs.get(ERROR, '')}"


def write(studies: Sequence[Study], root: Path) -> None:
    """Writes the table and the flagfiles."""
    _replace(root / TABLE, trials_csv(studies))
    overrides = []
    for study in studies:
        best = study.best()
        if best is None:
            continue
        text = best_flags(study, best)
        _replace(root / study.plan.name / BEST, text)
        if len(studies) == 1:
            _replace(root / BEST, text)
        found = ",".join(f"{name}={value}" for name, value in study.flags_of(best.params).items())
        overrides += [f"# {best.value:.2f}", f"--override=env={study.plan.env},alg={study.plan.alg}:{found}"]
    if overrides:
        _replace(root / BEST_SWEEP, "".join(line + "\n" for line in overrides))


def trials_csv(studies: Sequence[Study]) -> str:
    """One row a trial: its state, its value, the steps (over all seeds) that it reported last at, what it tried."""
    names = list(dict.fromkeys(axis.name for study in studies for axis in study.plan.axes))
    rows = []
    for study in studies:
        for trial in study.trials():
            flags = study.flags_of(trial.params or trial.system_attrs.get("fixed_params", {}))
            value = trial.value if trial.state == TrialState.COMPLETE else _last(trial)
            rows.append(
                (study.plan.env, study.plan.alg, trial.number, WORDS[trial.state], value, trial.last_step or 0)
                + tuple(flags.get(name, "") for name in names)
                + (trial.user_attrs.get(ERROR, ""),)
            )
    return to_csv(("env", "alg", "trial", "state", "value", "steps", *names, "error"), rows)


def _last(trial: FrozenTrial) -> float | None:
    return None if trial.last_step is None else trial.intermediate_values[trial.last_step]


def best_flags(study: Study, best: FrozenTrial) -> str:
    """A flagfile of the best trial for `python -m wng_tf.run`: everything but seed and folder."""
    run = study.plan.runs(study.flags_of(best.params))[0]
    flags = [flag for flag in run.flags() if not flag.startswith("--seed=")]
    if study.options.runner == RUNNER:
        # A sweep gives every algorithm the flags of all; a single run refuses those that it does not use.
        idle = check_settings(run)
        flags = [flag for flag in flags if flag.removeprefix("--").partition("=")[0] not in idle]
    seeds = ", ".join(map(str, study.plan.grid.seeds))
    about = f"# Trial {best.number} of {study.plan.title}: {study.options.objective} {best.value:.2f}, seeds {seeds}."
    return "".join(line + "\n" for line in (about, *flags))


def draw(studies: Sequence[Study], root: Path) -> None:
    """Writes the figures; one that has nothing to show is not written."""
    from wng_tf.plots import tuning as figures
    from wng_tf.plots.style import save

    histories = {}
    for study in studies:
        done = [trial for trial in study.trials() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        points = [(t.number, t.value, t.state == TrialState.PRUNED) for t in done if t.value is not None]
        if points:
            histories[study.plan.env, study.plan.alg] = points
    if histories:
        label = {"eprewmean": "Return"}.get(studies[0].options.objective, studies[0].options.objective)
        save(figures.draw_history(histories, ylabel=label), root / "history")
        rows = [(*name, *point) for name, points in histories.items() for point in points]
        _replace(root / "history.csv", to_csv(("env", "alg", "trial", "value", "pruned"), rows))
    found = {(study.plan.env, study.plan.alg): shares for study in studies if (shares := importance(study))}
    if found:
        save(figures.draw_importance(found), root / "importance")
        lines = [(*name, *share) for name, of in found.items() for share in of.items()]
        _replace(root / "importance.csv", to_csv(("env", "alg", "flag", "importance"), lines))


def importance(study: Study) -> dict[str, float]:
    """How much of what the best trials have in common each flag accounts for, summing to 1 (PED-ANOVA, Watanabe et al. 2023).

    Empty where there is nothing to compare: one flag, or too few trials.
    """
    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(study.plan.axes) < 2 or len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    shares = optuna.importance.get_param_importances(study.study, evaluator=evaluator)
    return shares if all(map(math.isfinite, shares.values())) and any(shares.values()) else {}


def conclude(studies: Sequence[Study], root: Path, code: int) -> int:
    """Prints what was found. Returns the exit code, which is given."""
    for study in studies:
        best = study.best()
        if best is not None:
            flags = " ".join(f"--{name}={value}" for name, value in study.flags_of(best.params).items())
            print(f"Best of {study.plan.title}: {best.value:.2f} with {flags}: {root / study.plan.name / BEST}")
        else:
            print(f"No trial of {study.plan.title} was completed.")
    states = [trial.state for study in studies for trial in study.counted()]
    counts = ", ".join(f"{states.count(state)} {WORDS[state]}" for state in tuple(WORDS)[:3] if states.count(state))
    ended, size = sum(state.is_finished() for state in states), sum(study.size for study in studies)
    print(f"{ended} of {size} trials ended{f': {counts}' if counts else ''}. Table: {root / TABLE}")
    if code == INTERRUPTED:
        print("Interrupted. The same command continues the study.")
    return code


def _replace(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"Cannot write '{path}' ({error.strerror}): make room, or choose another --log_path.") from error
