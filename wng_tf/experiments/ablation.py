"""Which part does the work: the metric, or the trust region?

    python -m wng_tf.sweep --flagfile=runs/ablation.flags
    python -m wng_tf.experiments.ablation runs/out/ablation --out=runs/results/ablation

Every run is a cell of a grid, metric {none, Fisher empirical and exact, Wasserstein exact and kernel-estimated} x step rule
{Adam, Adam with the clipped surrogate, trust region}, whatever its --alg is called. Writes ablation.md, curves and the
record of its runs, runs.csv and returns.csv; the path of such a runs.csv, in place of a folder, stands for those runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.errors import UserError
from wng_tf.experiments.ablation_record import (
    CELLS,
    COLORS,
    METRICS,
    Cell,
    Measured,
    Outcome,
    cell_of_parts,
    name_of,
    read_record,
    write_record,
)
from wng_tf.experiments.ablation_report import report
from wng_tf.runtime import output

if TYPE_CHECKING:
    import numpy as np

    from wng_tf.plots.curves import Curve
    from wng_tf.plots.runs import LoadedRun

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("out", None, "Folder for tables and figure; default: DIR/ablation of the first DIR.")
    flags.DEFINE_list("envs", [], "Only these tasks.")
    flags.DEFINE_bool("unfinished", False, "Take unfinished runs too.")
    flags.DEFINE_float("max_steps", None, "Leave out what came after so many steps; not of a record.", lower_bound=1.0)
    flags.DEFINE_bool(
        "first_wins", False, "Take a cell of a task that several sources have from the first of them, in place of refusing."
    )


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    sources = argv[1:]
    if not sources:
        raise UserError("Name the sweep's folder: python -m wng_tf.experiments.ablation runs/out/ablation.")
    found, left_out = gather(sources, envs=FLAGS.envs, unfinished=FLAGS.unfinished, max_steps=FLAGS.max_steps)
    if not found:
        raise UserError("There is no policy-gradient run among those sources that --envs allows.")
    measured = of_first_source(found) if FLAGS.first_wins else [run for _, run in found]
    first = Path(sources[0])
    out = Path(FLAGS.out) if FLAGS.out else (first.parent if _is_record(first) else first) / "ablation"
    for path in output.into(out, lambda folder: write(measured, folder, left_out)):
        print(path)
    return 0


def gather(
    sources: Sequence[str], *, envs: Sequence[str] = (), unfinished: bool = False, max_steps: float | None = None
) -> tuple[list[tuple[int, Measured]], int]:
    """Every policy-gradient run of sweeps' folders and of records, with the place of its source among them; and how many
    were left out because they are not finished.

    Args:
      envs: only these tasks, if any are named.

    Raises:
      UserError: a source that is not there or holds no runs; a record to be cut.
    """
    from wng_tf.plots.runs import load_runs

    found: list[tuple[int, Measured]] = []
    for place, source in enumerate(sources):
        if _is_record(source):
            if max_steps is not None:
                raise UserError(f"{source} is a record, which --max_steps cannot cut: name the folder of its runs.")
            found += [(place, run) for run in read_record(source) if run.outcome.env in (envs or [run.outcome.env])]
    folders = [source for source in sources if not _is_record(source)]
    if not folders:
        return found, 0
    runs, left_out = load_runs(folders, unfinished=unfinished, max_steps=max_steps)
    roots = [Path(source).resolve() for source in sources]
    for run in runs:
        if not run.is_evolution and run.env in (envs or [run.env]):
            place = next(i for i, root in enumerate(roots) if run.folder.resolve().is_relative_to(root))
            found.append((place, measure(run)))
    return found, left_out


def of_first_source(found: Sequence[tuple[int, Measured]]) -> list[Measured]:
    """The runs without those of a cell of a task that an earlier source has, with whatever seeds."""
    first: dict[tuple[str, Cell], int] = {}
    for place, run in found:
        first[run.place] = min(first.get(run.place, place), place)
    return [run for place, run in found if place == first[run.place]]


def _is_record(source: str | Path) -> bool:
    return Path(source).suffix == ".csv"


def measure(run: LoadedRun) -> Measured:
    """From the run's episodes and its log."""
    from wng_tf.plots.curves import return_curve

    curve = return_curve(run)
    return Measured(outcome_of(run, curve), curve)


def cell_of(run: LoadedRun) -> Cell:
    """The run's place in the grid, by the parts that its flags name.

    Raises:
      UserError: its flags do not name them, or it has a penalty, which the grid has no place for.
    """
    parts = {name: run.settings.get(name) for name in ("metric", "step_rule", "surrogate", "penalty")}
    if parts["metric"] not in METRICS or None in parts.values():
        raise UserError(f"{run.folder}/flags.txt does not name the parts of the algorithm.")
    if parts["penalty"] != "none":
        raise UserError(f"{run.folder} has a penalty ({parts['penalty']}), which the ablation has no place for.")
    return cell_of_parts(str(parts["metric"]), str(parts["step_rule"]), str(parts["surrogate"]))


def outcome_of(run: LoadedRun, curve: Curve) -> Outcome:
    """From the run's curve of returns and its log."""
    import numpy as np

    from wng_tf.plots.curves import final_value
    from wng_tf.plots.runs import STEPS, minutes

    def column(name: str) -> np.ndarray:
        if run.progress is None or name not in run.progress or not len(run.progress):
            return np.array([np.nan])
        return np.asarray(run.progress[name], float)

    entropy = column("loss/policy_entropy")
    std_low, std_high = final_std(run)
    return Outcome(
        env=run.env,
        cell=cell_of(run),
        seed=run.seed,
        final=final_value(curve),
        rate=float(column(STEPS)[-1] / (60.0 * minutes(run))),
        entropy=float(entropy[-1]),
        entropy_fall=float(entropy[0] - entropy[-1]),
        kl=float(np.median(column("loss/kl_moved"))),
        w2=float(np.median(column("loss/w2_squared_moved"))),
        std_low=std_low,
        std_high=std_high,
    )


def final_std(run: LoadedRun) -> tuple[float, float]:
    """Smallest and largest standard deviation of the policy's actions at the run's last step; NaN if that is not kept."""
    from wng_tf import saved_policy
    from wng_tf.plots.runs import STEPS
    from wng_tf.training import checkpoint, run_folder

    newest = checkpoint.latest_step(run.folder / run_folder.CHECKPOINTS)
    kept = run.progress is not None and len(run.progress) > 0 and newest == run.progress[STEPS][-1]
    std = getattr(saved_policy.load(run.folder), "std", None) if kept else None  # a categorical policy has none
    return (float("nan"), float("nan")) if std is None else (float(std.min()), float(std.max()))


def write(measured: Sequence[Measured], out: Path, left_out: int = 0) -> list[Path]:
    """Writes tables and figure; returns the paths.

    Raises:
      UserError: two runs that share cell, task and seed.
    """
    from wng_tf.plots import figures, tables
    from wng_tf.plots.curves import bands
    from wng_tf.plots.runs import LoadedRun
    from wng_tf.plots.style import save

    measured = sorted(measured, key=lambda run: (run.outcome.env, CELLS.index(run.outcome.cell), run.outcome.seed))
    outcomes = [run.outcome for run in measured]
    seen = set()
    for outcome in outcomes:
        key = (outcome.env, outcome.cell, outcome.seed)
        if key in seen:
            raise UserError(
                f"Two runs share {outcome.cell} on {outcome.env} with seed {outcome.seed}: name the folder of one sweep "
                "or say --first_wins."
            )
        seen.add(key)
    out.mkdir(parents=True, exist_ok=True)
    text = out / "ablation.md"
    text.write_text(report(outcomes, left_out), encoding="utf-8")
    written = [text, *write_record(measured, out)]
    drawn = [(outcome, curve) for outcome, curve in measured if curve is not None]
    if not drawn:
        return written
    # A panel for each task, with a line for each cell: what is compared stands together.
    tasks = bands((LoadedRun(out, alg=name_of(o.cell), env=o.env, seed=o.seed, finished=True), curve) for o, curve in drawn)
    curves = out / "curves.csv"
    curves.write_text(tables.curves_csv(tasks, "steps"), encoding="utf-8")
    return [*written, *save(figures.draw_curves(tasks, ylabel="Return", colors=COLORS), out / "curves"), curves]


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main, positionals=True)


if __name__ == "__main__":
    app()
