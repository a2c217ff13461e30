"""`python -m wng_tf.sweep --flagfile=runs/table1.flags`: a grid of runs, side by side, resumable.

    python -m wng_tf.sweep --algs=ppo,wnpg --envs=Hopper-v5 --seeds=0-4 --grid=lr=1e-4,3e-4 --log_path=runs/out/try

Started again with the same flags it continues: finished runs are skipped, broken ones resume from their checkpoints; with a
larger num_timesteps finished ones go on.
Exit code: 0, 1 if a run failed, 2 for bad input, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.cli.parse import check_trust, is_typed, trusted
from wng_tf.errors import UserError
from wng_tf.runtime.paths import expanded

FLAGS = flags.FLAGS
RUNNER = "wng_tf.run"


def define_flags() -> None:
    """The sweep's flags. Those of a run are given through --grid, --set and --override."""
    flags.DEFINE_list("algs", [], "Algorithms.")
    flags.DEFINE_list("envs", [], "Tasks: Gymnasium ids or short names.")
    flags.DEFINE_list("seeds", ["0"], "Seeds: 0-4 or 0,2,5.")
    flags.DEFINE_multi_string("grid", [], "A flag to sweep, with its values: lr=1e-5,3e-4. Repeatable.")
    flags.DEFINE_multi_string("set", [], "Flags of every run: nsteps=2048,lam=0.95. Repeatable; later ones win.")
    flags.DEFINE_multi_string(
        "override",
        [],
        "Flags for part of the grid, conditions before the colon: env=Hopper-v5,alg=ppo|pg:lr=1e-4. Repeatable; later "
        "ones win.",
    )
    flags.DEFINE_string("log_path", None, "The sweep's folder; every run has a folder below it.")
    flags.DEFINE_integer("jobs", None, "Runs at a time; default: the cores of this machine, or of the Ray cluster.")
    flags.DEFINE_integer("retries", 1, "How often a run that broke is started again.")
    flags.DEFINE_float(
        "stall_minutes", 60.0, "Kill a run whose folder stands still for so long; it counts as broken. 0: never."
    )
    flags.DEFINE_enum("engine", "local", ["local", "ray"], "local: processes of this machine; ray: tasks of a cluster.")
    flags.DEFINE_string("ray_address", None, "Ray cluster: auto or host:6379; default: one of this machine alone.")
    flags.DEFINE_string("runner", RUNNER, "Module that runs one run.")
    flags.DEFINE_bool("dry_run", False, "Print the command of each run and start none.")


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    del argv
    from wng_tf.sweeps.execute import Job, command

    if not FLAGS.log_path:
        raise UserError("--log_path is missing: name the folder that the runs go to.")
    for name, low in (("jobs", 1), ("retries", 0), ("stall_minutes", 0)):
        value: float | None = FLAGS[name].value
        if value is not None and value < low:
            raise UserError(f"--{name} must be at least {low}, not {value}.")
    root = expanded(FLAGS.log_path).absolute()
    jobs = [Job(run, root, FLAGS.runner, FLAGS.retries, 60.0 * FLAGS.stall_minutes) for run in _runs()]
    if FLAGS.dry_run:
        for job in jobs:
            print(shlex.join(command(job, resume=False)))
        return 0
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file: choose another --log_path.")
    from wng_tf.sweeps.conduct import conduct

    return conduct(jobs, _engine)


def _runs() -> list:
    from wng_tf import algorithms
    from wng_tf.envs import tasks
    from wng_tf.sweeps.check import check_settings
    from wng_tf.sweeps.grid import Grid, parse_axes, parse_override, parse_seeds, parse_settings

    if FLAGS.runner != RUNNER and not trusted() and not is_typed(FLAGS.runner):
        raise UserError(f"The flagfile has --runner={FLAGS.runner}, a program to start: give --trust if you trust it.")
    overrides = [parse_override(text) for text in FLAGS.override]
    named = [name for override in overrides for name in override.conditions.get("env", ())]
    check_trust([*FLAGS.envs, *named])
    grid = Grid(
        algs=[algorithms.find(name).name for name in FLAGS.algs],
        envs=[tasks.resolve(name).name for name in FLAGS.envs],
        seeds=parse_seeds(FLAGS.seeds),
        axes=parse_axes(FLAGS.grid),
        settings=parse_settings(FLAGS.set),
        overrides=overrides,
    )
    for override in grid.overrides:
        # One that matches no run is in order: a flagfile may be narrowed by --envs. One that never could is not.
        for name in override.conditions.get("alg", ()):
            algorithms.find(name)
        for name in override.conditions.get("env", ()):
            tasks.resolve(name)
    runs = grid.runs()
    check_trust(settings=[dict((*run.settings, *run.axes)) for run in runs])
    if FLAGS.runner == RUNNER:
        # Runs that differ in nothing but their seed take the same flags: one of them is enough.
        different = {(run.env, run.alg, run.axes, run.settings): run for run in runs}.values()
        idle = [check_settings(run) for run in different]
        # A flagfile may be narrowed to algorithms that do not use all that it sets; what is swept or typed is meant.
        typed = parse_settings(filter(is_typed, FLAGS.set))
        for name in sorted(set.intersection(*idle) & (grid.axes.keys() | typed.keys())):
            flag = "grid" if name in grid.axes else "set"
            raise UserError(
                f"--{flag}={name} has no effect with {', '.join(grid.algs)}: leave it out, or choose other algorithms."
            )
    return runs


def _engine():
    if FLAGS.engine == "ray":
        from wng_tf.sweeps.engine_ray import RayEngine

        return RayEngine(FLAGS.jobs, FLAGS.ray_address)
    from wng_tf.sweeps.engine_local import LocalEngine

    return LocalEngine(FLAGS.jobs or len(os.sched_getaffinity(0)))


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main)


if __name__ == "__main__":
    app()
