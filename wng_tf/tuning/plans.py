"""The studies that the flags of `python -m wng_tf.tune` ask for, checked before the first run starts. No Optuna needed."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence

from wng_tf import algorithms, families
from wng_tf.cli.parse import check_trust, is_typed
from wng_tf.errors import UserError
from wng_tf.sweeps import flags as given
from wng_tf.sweeps.check import check_settings, config_of
from wng_tf.sweeps.grid import Grid, Run
from wng_tf.training.columns import comes_with
from wng_tf.training.settings import field_type
from wng_tf.tuning.plan import DETERMINISTIC, RETURN, Options, Plan, steps_of
from wng_tf.tuning.space import Axis, Range, grid_points, parse, parse_mapping


def plans(options: Options, search: Sequence[str], settings: Mapping[str, str]) -> list[Plan]:
    """A study for each task and algorithm.

    Args:
      search: the texts of --search; none: each algorithm's own space.
      settings: flags of every run.

    Raises:
      UserError: a text of another form, a name that is unknown, flags that a run would refuse, or code that the user did not
        ask for.
    """
    axes = parse(search)
    grid = given.grid({}, settings)
    grid.runs()  # refuses what a sweep would
    typed = {axis.name for axis, text in zip(axes, _latest(search), strict=True) if _is_typed(text)}
    made = []
    for env, alg in itertools.product(dict.fromkeys(grid.envs), dict.fromkeys(grid.algs)):
        check_trust(settings=[dict(grid.run(env, alg, grid.seeds[0], ()).settings)])  # before they are looked up
        own = axes or _own_axes(grid, env, alg, options)
        if options.sampler == "grid":
            grid_points(own)
        steps = steps_of(grid, env, alg, own)
        of_pair = dataclasses.replace(grid, envs=[env], algs=[alg], axes={axis.name: axis.probes() for axis in own})
        of_pair.runs()
        plan = Plan(env, alg, own, of_pair, steps)
        runs = probes(plan)
        untyped = [{k: v for k, v in (*run.settings, *run.axes) if k not in typed} for run in runs]
        check_trust(settings=untyped)
        if options.runner == given.RUNNER:
            _check_whole(alg, own)
        given.check_runs(runs, {axis.name: "search" for axis in axes})
        if options.runner == given.RUNNER:
            _check_column(options.column, runs)
        made.append(plan)
    return made


def probes(plan: Plan) -> list[Run]:
    """Runs in which every axis has each of its probes once, the others having their first."""
    first = {axis.name: axis.probes()[0] for axis in plan.axes}
    tried = [{**first, axis.name: text} for axis in plan.axes for text in axis.probes()]
    return [plan.runs(flags)[0] for flags in tried]


def points(plans: Sequence[Plan]) -> list[Run]:
    """Every run of grids, in the order of a sweep: task, seed, algorithm, axes."""
    found = []
    for _, of_env in itertools.groupby(plans, key=lambda plan: plan.env):
        trials = [plan.runs(flags) for plan in of_env for flags in grid_points(plan.axes)]
        found += [run for of_seed in zip(*trials, strict=True) for run in of_seed]
    return found


def _check_whole(alg: str, axes: Sequence[Axis]) -> None:
    """UserError for a range of numbers of any size on a flag that is a whole number: its ends may be whole by chance."""
    config = families.find(alg).config
    whole = {field.name for field in dataclasses.fields(config) if field_type(config, field.name) is int}
    for axis in axes:
        if axis.name in whole and isinstance(axis, Range) and not axis.gives_whole:
            kind = "logint" if axis.is_log else "int"
            raise UserError(
                f"--search={axis.text}: --{axis.name} is a whole number. Write {axis.name}={kind}:{axis.low:g}:{axis.high:g}."
            )


def _check_column(column: str, runs: Sequence[Run]) -> None:
    """UserError if the log of one of the runs will not have the column that they are to be compared by."""
    family = families.find(runs[0].alg)
    for run in runs:
        config = config_of(run)
        there = family.logged(config)
        if column in there or family.has_own_parts(config):
            continue
        if column.startswith("eval/") and column in family.columns:
            raise UserError(f"--objective={column} is of evaluations during training: give --set=eval_interval=STEPS, too.")
        decide = {name for condition in family.columns.get(column, ()) for name in condition}
        which = " ".join([run.alg, *(f"--{name}={text}" for name, text in run.axes if name in decide)])
        needs = comes_with(family.columns, column)
        near = [] if needs else difflib.get_close_matches(column, there, n=3)
        why = f": it goes with {needs}" if needs else ""
        others = f"Name {RETURN}, {DETERMINISTIC}, or one of {', '.join(sorted(there - {RETURN}))}."
        hint = f"Did you mean {' or '.join(near)}?" if near else others
        raise UserError(f"--objective={column}: the log of {which} has no column of that name{why}. {hint}")


def _own_axes(grid: Grid, env: str, alg: str, options: Options) -> tuple[Axis, ...]:
    """The algorithm's own space, without what the user has fixed and what then has no effect."""
    fixed = {name for name, _ in grid.run(env, alg, grid.seeds[0], ()).settings}
    fixed |= {name for override in grid.overrides for name in override.settings}
    axes = tuple(axis for axis in parse_mapping(algorithms.SEARCH.get(alg, {})) if axis.name not in fixed)
    if axes and options.runner == given.RUNNER:
        values = tuple((axis.name, axis.probes()[0]) for axis in axes)
        idle = check_settings(grid.run(env, alg, grid.seeds[0], values))
        axes = tuple(axis for axis in axes if axis.name not in idle)
    if not axes:
        raise UserError(f"There is nothing to search for {alg}: name a flag, --search='lr=log:1e-5:1e-3'.")
    return axes


def _latest(search: Sequence[str]) -> list[str]:
    """Of several texts on one flag the last, in the order in which the flags come first."""
    return list({text.strip().partition("=")[0]: text for text in search}.values())


def _is_typed(text: str) -> bool:
    """Whether the user typed it as --search=TEXT or --search TEXT."""
    return is_typed(text) or is_typed(text.partition("=")[2])
