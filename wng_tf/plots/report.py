"""All that `python -m wng_tf.plot` writes, from the folders of the runs."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wng_tf import algorithms
from wng_tf.envs.ids import SHORT_NAMES
from wng_tf.errors import UserError
from wng_tf.plots import evidence, figures, tables
from wng_tf.plots.curves import bands, final_value, metric_curve, return_curve
from wng_tf.plots.paper import TABLES
from wng_tf.plots.rates import minutes_at, read_rates
from wng_tf.plots.runs import LoadedRun, load_runs, minutes, total_reward
from wng_tf.plots.statistics import performance_profile
from wng_tf.plots.style import ordered, save
from wng_tf.runtime import output

#: Below so many runs a method, the report warns of its intervals.
FEW_RUNS = 5


@dataclass(frozen=True)
class Options:
    """What to write; see the flags of `wng_tf.plot`."""

    figures: Sequence[str] = ("curves", "wallclock", "improvement", "profile", "efficiency")
    metrics: Sequence[str] = ()
    source: str = "auto"
    window: int = 100
    algs: Sequence[str] = ()
    envs: Sequence[str] = ()
    unfinished: bool = False
    max_steps: float | None = None
    paper: str | None = None
    rates: Path | None = None


def write_report(folders: Sequence[str | os.PathLike[str]], out: Path, options: Options) -> list[Path]:
    """Writes figures and tables to `out`. Returns the paths.

    Raises:
      UserError: no runs, or runs without what is asked for, or `out` cannot be written to; nothing is written then.
    """
    runs, left_out = load_runs(folders, unfinished=options.unfinished, max_steps=options.max_steps)
    algs, envs = (sorted({getattr(run, name) for run in runs}) for name in ("alg", "env"))
    runs = [run for run in runs if _wanted(run.alg, options.algs, algorithms.plain) and _wanted(run.env, options.envs, _env)]
    if not runs:
        raise UserError(
            "No run is left: --algs or --envs name none of those in the folders, which are of "
            f"{', '.join(algs)} on {', '.join(envs)}."
        )
    absent = [f"--algs={name}" for name in options.algs if not any(_wanted(name, [alg], algorithms.plain) for alg in algs)]
    absent += [f"--envs={name}" for name in options.envs if not any(_wanted(name, [env], _env) for env in envs)]
    curves = [(run, return_curve(run, source=options.source, window=options.window)) for run in runs]
    metrics = {name: [(run, metric_curve(run, name)) for run in _that_log(runs, name)] for name in options.metrics}
    for name, pairs in metrics.items():
        if not any(len(curve.values) for _, curve in pairs):
            raise UserError(f"--metrics={name}: no run has a finite number in that column. Leave it out.")
    returns = tables.collect_returns((run, final_value(curve)) for run, curve in curves)
    if not returns:
        raise UserError("No run has finished an episode: there is nothing to plot.")
    paper = TABLES[options.paper] if options.paper else None
    notes = _notes(runs, curves, left_out, absent)
    clock: Callable[[LoadedRun], float] = minutes
    if options.rates is not None:
        clock = partial(minutes_at, read_rates(options.rates))
        timed = sum(bool(clock(run) > 0.0) for run in runs)
        if not timed:
            raise UserError(f"None of the runs has a rate in {options.rates}: its algorithm on its task, as it was set.")
        notes.append(f"Rewards per minute are at the rates in {options.rates}, those of {timed} of {len(runs)} runs.")

    with output.staged(out) as folder:
        written: list[Path] = []

        def write(name: str, text: str) -> None:
            written.append(folder / name)
            written[-1].write_text(text, encoding="utf-8")

        def draw(name: str, figure: Figure, text: str) -> None:
            written.extend(save(figure, folder / name))
            write(f"{name}.csv", text)

        def draw_bands(name: str, pairs: Sequence, axis: str, ylabel: str) -> None:
            tasks = bands(pairs, axis=axis)
            xlabel = {"steps": figures.STEPS, "minutes": figures.MINUTES}[axis]
            if tasks:
                draw(name, figures.draw_curves(tasks, ylabel=ylabel, xlabel=xlabel), tables.curves_csv(tasks, axis))

        drawings: dict[str, Callable[[], None]] = {
            "curves": lambda: draw_bands("curves", curves, "steps", "Return"),
            "wallclock": lambda: draw_bands("wallclock", curves, "minutes", "Return"),
            "improvement": lambda: _improvement(returns, draw),
            "profile": lambda: _profile(returns, draw),
            "efficiency": lambda: _efficiency(runs, clock, draw),
        }
        for name in options.figures:
            drawings[name]()
        for name, pairs in metrics.items():
            draw_bands(f"metric_{re.sub(r'[^0-9A-Za-z]+', '_', name)}", pairs, "steps", evidence.title(name))
        write("returns.csv", _returns_csv(curves))
        summaries = tables.summarise(returns)
        write("summary.csv", tables.summary_csv(summaries, paper))
        if chosen := tables.best_flags(returns):
            write("best.flags", chosen)
        evaluated = tables.summarise(tables.collect_returns((run, run.eval_return) for run in runs))
        text = tables.report(returns, summaries, window=options.window, notes=notes, paper=paper, evaluated=evaluated)
        if rows := evidence.medians(runs):
            write("evidence.csv", evidence.evidence_csv(rows))
            text += "\n" + evidence.evidence_markdown(rows)
        write("table.md", text)
    return [out / path.relative_to(folder) for path in written]


def _improvement(returns: tables.Returns, draw: Callable[[str, Figure, str], None]) -> None:
    pairs = tables.all_pairs(returns)
    if not pairs:
        return
    found = {pair: tables.improvement(returns, *pair) for pair in pairs}
    intervals = [interval for interval in found.values() if interval is not None]
    rows = [(*ours, *theirs, *interval) for (ours, theirs), interval in zip(pairs, intervals, strict=True)]
    columns = ("alg", "variant", "other_alg", "other_variant", "probability", "low", "high")
    draw("improvement", figures.draw_improvement(pairs, intervals), tables.to_csv(columns, rows))


def _profile(returns: tables.Returns, draw: Callable[[str, Figure, str], None]) -> None:
    """Over the tasks that all methods ran on; in returns for a single task, else in normalized ones."""
    methods = ordered(method for by_method in returns.values() for method in by_method)
    tasks = tables.shared_tasks(returns, *methods)
    if not tasks:
        return
    scores = returns if len(tasks) == 1 else tables.normalized(returns)
    every = np.concatenate([scores[env][method] for env in tasks for method in methods])
    margin = 0.02 * (np.ptp(every) or 1.0)
    thresholds = np.linspace(every.min() - margin, every.max() + margin, 201)
    profiles = {method: performance_profile([scores[env][method] for env in tasks], thresholds) for method in methods}
    xlabel = f"Return on {tasks[0]}" if len(tasks) == 1 else "Normalized return (0: worst run, 1: best run of a task)"
    rows = [
        (*method, threshold, *point)
        for method, profile in profiles.items()
        for threshold, *point in zip(thresholds, *profile, strict=True)
    ]
    text = tables.to_csv(("alg", "variant", "threshold", "share", "low", "high"), rows)
    draw("profile", figures.draw_profile(thresholds, profiles, xlabel=xlabel), text)


def _efficiency(
    runs: Sequence[LoadedRun], clock: Callable[[LoadedRun], float], draw: Callable[[str, Figure, str], None]
) -> None:
    rates: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    rows = []
    for run in runs:
        reward, time = total_reward(run), clock(run)
        if np.isfinite(reward) and time > 0:
            rates[run.env][run.method].append(reward / time)
            rows.append((run.env, *run.method, run.seed, reward, time, reward / time))
    if not rows:
        return
    columns = ("env", "alg", "variant", "seed", "total_reward", "minutes", "reward_per_minute")
    tasks = {env: {method: np.array(values) for method, values in of.items()} for env, of in rates.items()}
    draw("efficiency", figures.draw_efficiency(tasks), tables.to_csv(columns, rows))


def _returns_csv(curves: Sequence) -> str:
    columns = ("env", "alg", "variant", "seed", "steps", "final_return", "eval_return", "minutes", "folder")
    rows = [
        (run.env, *run.method, run.seed, int(curve.steps[-1]) if len(curve.steps) else 0, final_value(curve),
         run.eval_return, minutes(run), run.folder.as_posix())
        for run, curve in curves
    ]  # fmt: skip
    return tables.to_csv(columns, rows)


def _notes(runs: Sequence[LoadedRun], curves: Sequence, left_out: int, absent: Sequence[str]) -> list[str]:
    notes = [f"{left_out} runs are not finished and left out."] if left_out else []
    notes += [f"There is no run of {name}." for name in absent]
    unfinished = sum(not run.finished for run in runs)
    if unfinished:
        notes.append(f"{unfinished} of the runs are not finished: their last return so far stands for the final one.")
    silent = sum(not np.isfinite(final_value(curve)) for _, curve in curves)
    if silent:
        notes.append(f"{silent} runs ended no episode and have no return.")
    seeds = Counter((run.env, run.method) for run in runs)
    if min(seeds.values()) < FEW_RUNS:
        notes.append(f"Some methods have fewer than {FEW_RUNS} runs: bootstrap intervals are too narrow then.")
    return notes


def _that_log(runs: Sequence[LoadedRun], name: str) -> Sequence[LoadedRun]:
    """The runs that log `name`, which not every method does; all of them if none does, for the error to say so."""
    return [run for run in runs if run.progress is not None and name in run.progress] or runs


def _wanted(name: str, chosen: Sequence[str], plain: Callable[[str], str]) -> bool:
    """Whether nothing is chosen, or the name is, in whatever spelling `plain` makes one."""
    return not chosen or plain(name) in map(plain, chosen)


def _env(name: str) -> str:
    return SHORT_NAMES.get(name, name)
