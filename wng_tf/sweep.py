"""`python -m wng_tf.sweep --flagfile=runs/table1.flags`: a grid of runs, side by side, resumable.

    python -m wng_tf.sweep --algs=ppo,wnpg --envs=Hopper-v5 --seeds=0-4 --grid=lr=1e-4,3e-4 --log_path=runs/out/try

Started again with the same flags it continues: finished runs are skipped, broken ones resume from their checkpoints; with a
larger num_timesteps finished ones go on.
Exit code: 0, 1 if a run failed, 2 for bad input, 130 after Ctrl-C.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.errors import UserError

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The sweep's flags. Those of a run are given through --grid, --set and --override."""
    from wng_tf.cli.flags import define_number
    from wng_tf.sweeps import flags as given

    given.define_flags(
        "grid",
        "A flag to sweep, with its values: lr=1e-5,3e-4. Repeatable.",
        "The sweep's folder; every run has a folder below it.",
    )
    define_number(
        "evaluate", 0, "Episodes of the deterministic policy that each finished run is judged by (eval_return); 0: none."
    )


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    del argv
    from wng_tf.cli.parse import check_trust
    from wng_tf.sweeps import flags as given
    from wng_tf.sweeps.conduct import conduct
    from wng_tf.sweeps.execute import Job, command
    from wng_tf.sweeps.grid import parse_axes

    root = given.root()
    grid = given.grid(parse_axes(FLAGS.grid))
    runs = grid.runs()
    check_trust(settings=[dict((*run.settings, *run.axes)) for run in runs])
    given.check_runs(runs, dict.fromkeys(grid.axes, "grid"))
    if FLAGS.evaluate < 0:
        raise UserError(f"--evaluate must not be negative, as {FLAGS.evaluate} is.")
    if FLAGS.evaluate and FLAGS.runner != given.RUNNER:
        raise UserError(f"--evaluate knows the runs of {given.RUNNER} alone: leave it out with --runner={FLAGS.runner}.")
    stall = 60.0 * FLAGS.stall_minutes
    jobs = [Job(run, root, FLAGS.runner, FLAGS.retries, stall, FLAGS.evaluate) for run in runs]
    if FLAGS.dry_run:
        for job in jobs:
            print(shlex.join(command(job, resume=False)))
        return 0
    return conduct(jobs, given.engine)


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main)


if __name__ == "__main__":
    app()
