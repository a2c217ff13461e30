"""What a study is to find out: an algorithm on a task, the axes, the seeds and the length of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wng_tf.errors import UserError
from wng_tf.sweeps.grid import Grid, Run
from wng_tf.tuning.space import Axis

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("halving", "coverage", "none")
#: The objective that is played after training; any other one is a column of progress.csv.
DETERMINISTIC = "deterministic"
RETURN = "eprewmean"


@dataclass(frozen=True)
class Options:
    """How studies are conducted.

    Attributes:
      n_trials: of each study; None for a grid, which has as many as points.
      sampler, sampler_seed, n_startup_trials: who proposes the values; the last for tpe, which begins at random.
      pruner: who gives trials up: by successive halving from `min_steps` on by the factor `reduction_factor`, by `coverage`
        after a seed, or nobody.
      min_steps: None: a ninth of a trial's steps.
      objective: `eprewmean`, a column of progress.csv, or `deterministic`: the mean return of the deterministic policy
        over `eval_episodes`.
      runner, retries, stall_seconds: see `sweeps.execute.Job`.
    """

    n_trials: int | None = 20
    sampler: str = "tpe"
    sampler_seed: int = 0
    n_startup_trials: int = 10
    pruner: str = "halving"
    reduction_factor: int = 3
    min_steps: int | None = None
    coverage: float = 0.6
    objective: str = RETURN
    eval_episodes: int = 20
    runner: str = "wng_tf.run"
    retries: int = 1
    stall_seconds: float = 0.0

    @property
    def column(self) -> str:
        """The column of progress.csv that trials are compared by while they run."""
        return RETURN if self.objective == DETERMINISTIC else self.objective

    @property
    def in_rounds(self) -> bool:
        """Whether every trial has its first seed before any has its second, as a comparison after a seed wants it.

        A sampler that learns from trials cannot propose all of them at once.
        """
        return self.pruner == "coverage" and self.sampler != "tpe"


@dataclass(frozen=True)
class Plan:
    """One study.

    Attributes:
      env, alg: the task and the algorithm.
      axes: what is searched.
      grid: the sweep that the runs are of; its seeds are those of each trial.
      steps: environment steps of a run.
    """

    env: str
    alg: str
    axes: tuple[Axis, ...]
    grid: Grid
    steps: int

    @property
    def name(self) -> str:
        """The study's folder, relative to the root: the one that its runs are below."""
        return self.runs({axis.name: axis.probes()[0] for axis in self.axes})[0].name.rsplit("/", 2)[0]

    @property
    def title(self) -> str:
        return f"{self.env} {self.alg}"

    @property
    def total_steps(self) -> int:
        """Environment steps of a trial that is not pruned."""
        return self.steps * len(self.grid.seeds)

    def runs(self, flags: Mapping[str, str]) -> tuple[Run, ...]:
        """The runs of a trial, one a seed, as a sweep over the same values would have them."""
        axes = tuple((axis.name, flags[axis.name]) for axis in self.axes)
        return tuple(self.grid.run(self.env, self.alg, seed, axes) for seed in self.grid.seeds)

    def identity(self, options: Options) -> dict[str, Any]:
        """What makes it this study: one that is continued must have the same."""
        played = {"eval_episodes": options.eval_episodes} if options.objective == DETERMINISTIC else {}
        first = self.runs({axis.name: axis.probes()[0] for axis in self.axes})[0]
        return {
            "search": [axis.text for axis in self.axes],
            "seeds": list(self.grid.seeds),
            "set": [f"{name}={value}" for name, value in first.settings],
            "objective": options.objective,
            "runner": options.runner,
            **played,
        }


def steps_of(grid: Grid, env: str, alg: str, axes: tuple[Axis, ...]) -> int:
    """Environment steps of a study's runs.

    Raises:
      UserError: they differ from trial to trial, or are none.
    """
    searched = {axis.name for axis in axes}
    of_trials = {"seed", *searched}
    for override in grid.overrides:
        if "num_timesteps" in override.settings and of_trials & override.conditions.keys():
            raise UserError(f"--override='{override.text}': trials must be of one length to be compared.")
    if "num_timesteps" in searched:
        raise UserError("--search=num_timesteps: trials must be of one length to be compared.")
    steps = grid.run(env, alg, grid.seeds[0], ()).total_timesteps()
    if steps is None or steps < 1:
        raise UserError(f"{env} {alg}: --num_timesteps must be a positive number, and a whole one.")
    return steps
