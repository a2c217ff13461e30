"""Figure 4, and Figure 5 (right): evolution strategies on the two deceptive tasks.

    python -m wng_tf.experiments.figure4                     # Point, seven methods, five seeds
    python -m wng_tf.experiments.figure4 --task=quadruped --methods=es,wnes,bg_wnes --seeds=0,1 --num_timesteps=4e6

Runs that are finished are not run again and runs that were interrupted go on, so the same command continues after a
stop. Writes to --out: curves (mean and standard deviation against steps), reward per minute, the paths of the final
policies around the wall, a table with 95% intervals over seeds, and the numbers behind them as CSV. Run folders are
kept in --runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from absl import flags

from wng_tf.cli.app import INTERRUPTED, fail, load_tensorflow, run_app
from wng_tf.cli.flags import define_number
from wng_tf.errors import UserError
from wng_tf.runtime import output
from wng_tf.runtime.paths import expanded

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from wng_tf.plots.runs import LoadedRun

FLAGS = flags.FLAGS

#: Clipping norm of 'ES + grad-clip', which the paper does not give: about half of what gradients of normalized
#: returns have.
CLIP = 5.0


@dataclasses.dataclass(frozen=True)
class Method:
    """A curve of the figure: an algorithm and the settings in which it differs."""

    alg: str
    variant: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


#: The seven curves of the paper.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "es": Method("es"),
        "es_clip": Method("es", "grad-clip", {"max_grad_norm": CLIP}),
        "wnes": Method("wnes"),
        "nsr_es": Method("nsr_es"),
        "bges": Method("bges"),
        "bges_075": Method("bges", "β = 0.75", {"repulsion_coef": 0.75}),
        "bg_wnes": Method("bg_wnes"),
    }
)

#: Task -> (environment, steps of the paper's figure).
TASKS: Mapping[str, tuple[str, int]] = MappingProxyType({"point": ("Point", 500_000), "quadruped": ("Quadruped", 35_000_000)})

#: Generations over which a run's final return is averaged.
LAST = 10

#: How the released code differs where it may matter: see `wng_tf.evolution.strategy`.
PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {"perturbation": "unit", "start_states": "run", "initial_weights": "positive"}
)


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_enum("task", "point", list(TASKS), "Which of the two tasks.")
    flags.DEFINE_list("methods", list(METHODS), "Which curves.")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds, one run each.")
    define_number("num_timesteps", None, "Steps of each run; default: as in the paper.")
    define_number("num_workers", 1, "Threads, each with a part of the population.")
    flags.DEFINE_string("runs", None, "Folder for the run folders; default: runs/out/figure4/TASK.")
    flags.DEFINE_string("out", None, "Folder for the results; default: runs/results/figure4/TASK.")
    flags.DEFINE_enum(
        "setting",
        "ours",
        ["ours", "published"],
        "ours; published: perturbations of norm 1, one start state, positive initial weights, as in the released code.",
    )
    flags.DEFINE_bool("only_plot", False, "Do not run anything: draw what is finished.")


def main(argv: Sequence[str]) -> int:
    """Run what is missing, then draw."""
    del argv
    values = FLAGS
    unknown = [name for name in values.methods if name not in METHODS]
    if unknown:
        raise UserError(f"Unknown method '{unknown[0]}': choose from {', '.join(METHODS)}.")
    try:
        seeds = [int(seed) for seed in values.seeds]
    except ValueError:
        raise UserError(f"--seeds are whole numbers with commas between, not '{','.join(values.seeds)}'.") from None
    env, steps = TASKS[values.task]
    name = values.task if values.setting == "ours" else f"{values.task}_{values.setting}"
    runs = expanded(values.runs or f"runs/out/figure4/{name}")
    out = expanded(values.out or f"runs/results/figure4/{name}")
    if not values.only_plot:
        load_tensorflow()
        from wng_tf.training.stopping import Interrupted

        common = {"num_workers": values.num_workers, **(PUBLISHED if values.setting == "published" else {})}
        for seed in seeds:
            for method in values.methods:
                try:
                    conduct(runs, method, env, seed, values.num_timesteps or steps, common)
                except Interrupted:
                    return fail("stopped and saved; the same command goes on from here.", INTERRUPTED)
    for path in output.into(out, lambda folder: draw(runs, values.methods, seeds, folder, env)):
        print(path)
    return 0


def folder_of(runs: Path, method: str, seed: int) -> Path:
    """Where a run is kept."""
    return runs / f"{method}-{seed}"


def conduct(runs: Path, method: str, env: str, seed: int, steps: int, common: Mapping[str, Any]) -> None:
    """Run one method with one seed, or continue it, unless it is finished; prints one line."""
    from wng_tf.evolution.learn import learn
    from wng_tf.training import checkpoint, run_folder

    folder = folder_of(runs, method, seed)
    if run_folder.read_summary(folder) is None:
        begun = checkpoint.latest_step(folder / run_folder.CHECKPOINTS) is not None or (folder / run_folder.FLAGS).exists()
        row = METHODS[method]
        with contextlib.redirect_stdout(io.StringIO()):  # the table of every generation is in the run's log.txt
            learn(
                env=env,
                alg=row.alg,
                total_timesteps=steps,
                seed=seed,
                log_path=str(folder),
                resume=begun,
                save_interval=5,
                keep_checkpoints=1,
                **{**common, **row.settings},
            )
    summary = run_folder.read_summary(folder)
    assert summary is not None
    print(f"{method} {seed}: {summary['eprewmean']:.1f} after {summary['time_elapsed'] / 60:.1f} min", flush=True)


def draw(runs: Path, methods: Sequence[str], seeds: Sequence[int], out: Path, env: str) -> list[Path]:
    """Write the figures and tables of the runs that are there, finished or not. Returns the files.

    Raises:
      UserError: there are none.
    """
    from wng_tf.plots import figures, tables
    from wng_tf.plots.curves import bands, metric_curve
    from wng_tf.plots.runs import RETURN, total_reward
    from wng_tf.plots.style import save

    loaded = _load(runs, methods, seeds)
    if not loaded:
        raise UserError(f"There are no runs in '{runs}' yet.")
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def write(name: str, text: str) -> None:
        (out / name).write_text(text, encoding="utf-8")
        written.append(out / name)

    curves = [(run, metric_curve(run, RETURN)) for run in loaded]
    points = max(len(curve.steps) for _, curve in curves)
    by_task = bands(curves, points=points)
    written += save(figures.draw_curves(by_task, ylabel="Return of the unperturbed policy"), out / "figure4")
    rows = [
        (*run.method, run.seed, int(step), value)
        for run, curve in curves
        for step, value in list(zip(curve.steps, curve.values, strict=True))[:: max(1, points // 60)]
    ]
    write("curves.csv", tables.to_csv(("alg", "variant", "seed", "steps", "return"), rows))

    finals = {run.folder: float(curve.values[-LAST:].mean()) for run, curve in curves}
    rates: dict[Any, list[float]] = {}
    summary = []
    for run, curve in curves:
        reward, time = total_reward(run), cpu_minutes(run)
        rates.setdefault(run.method, []).append(reward / time)
        steps = int(curve.steps[-1])
        summary.append((*run.method, run.seed, steps, finals[run.folder], time, reward / time, steps / time / 60))
    columns = ("alg", "variant", "seed", "steps", "final_return", "cpu_minutes", "reward_per_minute", "steps_per_second")
    write("runs.csv", tables.to_csv(columns, summary))
    efficiency = figures.draw_efficiency({env: {key: _array(of) for key, of in rates.items()}})
    efficiency.axes[0].set_xlabel("Reward per minute of processor time")
    written += save(efficiency, out / "figure5_right")
    write("table.md", table(loaded, finals))
    walked = paths(loaded, env)
    rows = [(*run.method, run.seed, t, *xy) for run, path in walked for t, xy in enumerate(path)]
    write("paths.csv", tables.to_csv(("alg", "variant", "seed", "step", "x", "y"), rows[:: 1 if env == "Point" else 8]))
    written += save(draw_paths(walked, env), out / "paths")
    return written


def _load(runs: Path, methods: Sequence[str], seeds: Sequence[int]) -> list[LoadedRun]:
    from wng_tf.plots.runs import load_run

    found = []
    for method in methods:
        for seed in seeds:
            folder = folder_of(runs, method, seed)
            run = load_run(folder) if folder.is_dir() else None
            if run is not None and run.progress is not None and len(run.progress):
                found.append(dataclasses.replace(run, variant=METHODS[method].variant))
    return found


def cpu_minutes(run: LoadedRun) -> float:
    """Processor minutes of the run's generations: unlike wall clock they do not count what else the machine did."""
    assert run.progress is not None
    return float(run.progress["es/cpu_seconds"].sum()) / 60.0


def _array(values: Sequence[float]) -> np.ndarray:
    import numpy as np

    return np.array(values)


def table(loaded: Sequence[LoadedRun], finals: Mapping[Path, float]) -> str:
    """Final returns by method, the mean over the last ten generations of each run, with Student's 95% intervals."""
    import numpy as np

    from wng_tf.plots.statistics import student_interval
    from wng_tf.plots.style import method_name, ordered

    lines = [
        f"| method | seeds | final return (last {LAST} generations), mean ± sd | 95% interval of the mean "
        "| each seed | processor minutes a run |",
        "|---|---|---|---|---|---|",
    ]
    for method in ordered(run.method for run in loaded):
        runs = [run for run in loaded if run.method == method]
        values = np.array([finals[run.folder] for run in runs])
        count, sd = len(values), values.std(ddof=1) if len(values) > 1 else float("nan")
        _, low, high = student_interval(values)
        interval = f"{low:.0f} to {high:.0f}" if count > 1 else "-"
        each = ", ".join(
            f"{value:.0f}{'' if run.finished else ' (unfinished)'}" for run, value in zip(runs, values, strict=True)
        )
        spread = f" ± {sd:.0f}" if count > 1 else ""
        time = np.mean([cpu_minutes(run) for run in runs])
        lines.append(f"| {method_name(method)} | {count} | {values.mean():.0f}{spread} | {interval} | {each} | {time:.1f} |")
    return "\n".join(lines) + "\n"


def paths(loaded: Sequence[LoadedRun], env: str) -> list[tuple[LoadedRun, np.ndarray]]:
    """The path (x, y) [steps + 1, 2] that each run's last policy walks from the start state of seed 0."""
    import numpy as np

    from wng_tf.envs import tasks
    from wng_tf.policies.saved import load_policy

    world = tasks.make(env)
    walked = []
    for run in loaded:
        policy = load_policy(run.folder)
        observation, info = world.reset(seed=0)
        path, over = [(info["x_position"], info["y_position"])], False
        while not over:
            observation, _, terminated, truncated, info = world.step(policy.act(observation))
            path.append((info["x_position"], info["y_position"]))
            over = terminated or truncated
        walked.append((run, np.array(path)))
    world.close()
    return walked


def draw_paths(walked: Sequence[tuple[LoadedRun, np.ndarray]], env: str) -> Figure:
    """The wall and the goal from above with the paths, a panel a method."""
    from matplotlib.patches import Rectangle

    from wng_tf.envs import point, quadruped
    from wng_tf.plots.style import Look, in_style, method_name, new_figure, ordered

    scene = {"Point": point, "Quadruped": quadruped}[env]
    methods = ordered(run.method for run, _ in walked)
    look = Look(methods)
    reach = scene.GOAL[0]
    with in_style():
        columns = min(4, len(methods))
        rows = -(-len(methods) // columns)
        figure = new_figure(2.1 * columns, 1.95 * rows)  # equal axes leave some of it empty, and titles need theirs
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for unused in axes[len(methods) :]:
            unused.remove()
        for ax, method in zip(axes, methods, strict=False):
            for (x, y), (half_x, half_y, _) in scene.WALLS:
                ax.add_patch(Rectangle((x - half_x, y - half_y), 2 * half_x, 2 * half_y, color="#555555", linewidth=0))
            ax.plot(*scene.GOAL, "*", color="#2E8B57", markersize=9)
            for run, path in walked:
                if run.method == method:
                    ax.plot(path[:, 0], path[:, 1], color=look.color(method), linewidth=1.0, alpha=0.8)
                    ax.plot(*path[-1], "o", color=look.color(method), markersize=2.5)
            ax.set_title(method_name(method), loc="left")
            ax.set_aspect("equal")
            ax.set_xlim(-0.15 * reach, 1.35 * reach)
            ax.set_ylim(-0.6 * reach, 0.6 * reach)
            ax.grid(visible=False)
    return figure


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main)


if __name__ == "__main__":
    app()
