"""`python -m wng_tf.tune`: a search for hyper-parameters by Optuna, on the engines of sweeps, resumable.

    python -m wng_tf.tune --alg=ppo --env=Hopper-v5 --num_timesteps=2e5 --seeds=0,1 --search='lr=log:1e-5:1e-3' \\
        --search='cliprange=0.1|0.2|0.3' --n_trials=30 --log_path=runs/out/tune_ppo
    python -m wng_tf.run --flagfile=runs/out/tune_ppo/best.flags

Without --search each algorithm has a space of its own. Several --algs and --envs make a study of each pair. In the folder:
trials.csv with the pruned trials too, best.flags (for several studies ENV/ALG/best.flags; best_sweep.flags has the --override
lines for a sweep), history and importance (PNG, SVG, CSV), study.db (Optuna's SQLite), and the runs, where a sweep would have
them.
Started again with the same flags it continues: trials at work go on from their checkpoints, failed ones are tried again; with
more --n_trials it goes on. Needs Optuna: pip install 'wng_tf[tune]'.
Exit code: 0, 1 if a trial failed, 2 for bad input, 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.errors import UserError

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of this command. Those of a run are given through --search, --set and --override."""
    from wng_tf.cli.flags import define_number
    from wng_tf.sweeps import flags as given
    from wng_tf.tuning.plan import PRUNERS, SAMPLERS

    given.define_flags(
        "search",
        "A flag to search: 'lr=log:1e-5:3e-4' (uniform in the logarithm), 'gamma=linear:0.95:0.999', 'num_basis=int:5:50', "
        "'nsteps=logint:256:4096', or values, 'trust_radius=0.01|0.03|0.1'; linear and int take a step, int:5:50:5. "
        "Repeatable; default: each algorithm's own.",
        "The study's folder; every run has a folder below it.",
    )
    flags.DEFINE_alias("alg", "algs")
    flags.DEFINE_alias("env", "envs")
    define_number("num_timesteps", None, "Environment steps of a run; default: 1e6, or what --set says.")
    define_number("n_trials", None, "Trials of each study; default: 20. A grid has as many as points.")
    flags.DEFINE_enum("sampler", "tpe", list(SAMPLERS), "Who proposes: tpe learns from the trials, random, or grid.")
    define_number("sampler_seed", 0, "Seed of the sampler.")
    define_number("n_startup_trials", 10, "Trials that tpe proposes at random before it learns.")
    flags.DEFINE_enum(
        "pruner",
        "halving",
        list(PRUNERS),
        "Who gives trials up. halving: successive halving, asynchronous, over the steps of all seeds; coverage: after a "
        "seed, those that covered less than --coverage of the way from the untrained return to the best; none.",
    )
    define_number("reduction_factor", 3, "halving: one trial in so many goes on beyond a rung.")
    define_number("min_steps", None, "halving: steps of a trial at its first rung; default: a ninth of all its seeds' steps.")
    flags.DEFINE_float("coverage", 0.6, "coverage: the share of the way.")
    flags.DEFINE_string(
        "objective",
        "eprewmean",
        "What is maximised, as the mean over seeds: eprewmean (the last episodes of training), deterministic (the mean "
        "return of the deterministic policy, played after training), or a column of progress.csv, its last value.",
    )
    define_number("eval_episodes", 20, "deterministic: episodes played.")


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    del argv
    from wng_tf.sweeps import flags as given
    from wng_tf.sweeps.execute import Job, command
    from wng_tf.tuning.plans import plans, points

    root = given.root()
    options = _options()
    studies = plans(options, FLAGS.search, _settings())
    if FLAGS.dry_run:
        for plan in studies:
            print(f"# {plan.title}: {' '.join(axis.text for axis in plan.axes)}")
        if options.sampler == "grid":
            for run in points(studies):
                print(shlex.join(command(Job(run, root, options.runner), resume=False)))
        return 0
    if importlib.util.find_spec("optuna") is None:
        raise UserError("python -m wng_tf.tune needs Optuna: pip install 'wng_tf[tune]'.")
    from wng_tf.tuning.conduct import conduct

    return conduct(studies, options, root, given.engine)


def _options() -> Any:
    from wng_tf.cli.parse import check_used
    from wng_tf.sweeps import flags as given
    from wng_tf.tuning.plan import DETERMINISTIC, Options

    check_used(
        {
            "sampler_seed": ("sampler", ("tpe", "random")),
            "n_startup_trials": ("sampler", ("tpe",)),
            "reduction_factor": ("pruner", ("halving",)),
            "min_steps": ("pruner", ("halving",)),
            "coverage": ("pruner", ("coverage",)),
            "eval_episodes": ("objective", (DETERMINISTIC,)),
        }
    )
    if FLAGS.sampler == "grid" and FLAGS.n_trials is not None:
        raise UserError("--n_trials has no effect with --sampler=grid, which has as many trials as points: leave it out.")
    lowest = {
        "n_trials": 1,
        "sampler_seed": 0,
        "n_startup_trials": 0,
        "reduction_factor": 2,
        "min_steps": 1,
        "eval_episodes": 1,
    }
    for name, low in lowest.items():
        value: int | None = FLAGS[name].value
        if value is not None and value < low:
            raise UserError(f"--{name} must be at least {low}, not {value}.")
    if not 0.0 <= FLAGS.coverage <= 1.0:
        raise UserError(f"--coverage must be from 0 to 1, not {FLAGS.coverage}.")
    if not FLAGS.objective:
        raise UserError("--objective is empty: name eprewmean, deterministic, or a column of progress.csv.")
    if FLAGS.objective == DETERMINISTIC and FLAGS.runner != given.RUNNER:
        raise UserError(f"--objective={DETERMINISTIC} knows the runs of {given.RUNNER} alone: name a column of progress.csv.")
    return Options(
        n_trials=None if FLAGS.sampler == "grid" else FLAGS.n_trials or 20,
        sampler=FLAGS.sampler,
        sampler_seed=FLAGS.sampler_seed,
        n_startup_trials=FLAGS.n_startup_trials,
        pruner=FLAGS.pruner,
        reduction_factor=FLAGS.reduction_factor,
        min_steps=FLAGS.min_steps,
        coverage=FLAGS.coverage,
        objective=FLAGS.objective,
        eval_episodes=FLAGS.eval_episodes,
        runner=FLAGS.runner,
        retries=FLAGS.retries,
        stall_seconds=60.0 * FLAGS.stall_minutes,
    )


def _settings() -> Mapping[str, str]:
    """The flags of every run: those of --set, and their length."""
    from wng_tf.cli.parse import is_given
    from wng_tf.sweeps.grid import parse_settings

    settings = parse_settings(FLAGS.set)
    if FLAGS.num_timesteps is None:
        return {"num_timesteps": "1000000", **settings}
    if "num_timesteps" in settings and not is_given("num_timesteps"):
        raise UserError("--num_timesteps and --set=num_timesteps are one setting: give one of them.")
    return {**settings, "num_timesteps": str(FLAGS.num_timesteps)}


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main)


if __name__ == "__main__":
    app()
