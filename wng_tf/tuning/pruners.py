"""Who gives trials up early, by the returns that they have reported at steps counted over all their seeds."""

from __future__ import annotations

import math

from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from wng_tf.tuning.plan import Options, Plan


class CoveragePruner(BasePruner):
    """Gives up a trial that, at the end of a seed, has covered too little of the way from the untrained return to the best.

    The untrained return is what the trial reported at step 0, the best one what any trial reported at the same step.

    Args:
      share: of the way that a trial must have covered.
      steps: environment steps of a seed.
    """

    def __init__(self, share: float, steps: int):
        self._share, self._steps = share, steps

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up after what it reported last."""
        step = trial.last_step
        if not step or step % self._steps or 0 not in trial.intermediate_values:
            return False
        untrained, reached = trial.intermediate_values[0], trial.intermediate_values[step]
        of_all = [other.intermediate_values.get(step, -math.inf) for other in study.get_trials(deepcopy=False)]
        best = max(reached, *of_all)
        # Where nobody has learned anything, there is no way to have covered.
        return best > untrained and reached - untrained < self._share * (best - untrained)


def pruner(plan: Plan, options: Options) -> BasePruner:
    """The pruner of a study."""
    if options.pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=first_rung(plan, options), reduction_factor=options.reduction_factor)
    if options.pruner == "coverage":
        return CoveragePruner(options.coverage, plan.steps)
    return NopPruner()


def first_rung(plan: Plan, options: Options) -> int:
    """Steps of a trial after which halving compares it for the first time."""
    return options.min_steps or math.ceil(plan.total_steps / options.reduction_factor**2)


def report_steps(plan: Plan, options: Options) -> list[int]:
    """Steps of a trial, over all its seeds, at which it reports: the beginning, the rungs, the end of each seed."""
    steps = {0, *(plan.steps * (seed + 1) for seed in range(len(plan.grid.seeds)))}
    if options.pruner == "halving":
        rung = first_rung(plan, options)
        while rung < plan.total_steps:
            steps.add(rung)
            rung *= options.reduction_factor
    return sorted(steps)
