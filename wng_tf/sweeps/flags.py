"""The flags that every command of many runs has, and what they say: which runs, on which engine, how often again."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from wng_tf import algorithms
from wng_tf.cli.flags import define_number
from wng_tf.cli.parse import check_cluster, check_trust, check_used, is_typed, trusted
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.runtime.faults import reason
from wng_tf.runtime.paths import expanded
from wng_tf.sweeps.check import check_settings
from wng_tf.sweeps.conduct import Engine
from wng_tf.sweeps.grid import Grid, Run, parse_override, parse_seeds, parse_settings

FLAGS = flags.FLAGS
RUNNER = "wng_tf.run"


def define_flags(swept: str, swept_help: str, folder_help: str) -> None:
    """Which runs, and how they are run.

    Args:
      swept: name of the flag that names what is swept; `swept_help`, `folder_help`: what it and --log_path mean here.
    """
    flags.DEFINE_list("algs", [], "Algorithms.")
    flags.DEFINE_list("envs", [], "Tasks: Gymnasium ids or short names.")
    flags.DEFINE_list("seeds", ["0"], "Seeds: 0-4 or 0,2,5.")
    flags.DEFINE_multi_string(swept, [], swept_help)
    flags.DEFINE_multi_string(
        "set", [], "Flags of every run: nsteps=2048,lam=0.95, or flagfile=FILE of a run. Repeatable; later ones win."
    )
    flags.DEFINE_multi_string(
        "override",
        [],
        "Flags for part of the grid, conditions before the colon: env=Hopper-v5,alg=ppo|pg:lr=1e-4, or "
        "alg=trpo:flagfile=tuned/trpo.flags. Repeatable; later ones win.",
    )
    flags.DEFINE_string("log_path", None, folder_help)
    define_number("jobs", None, "Runs at a time; default: the cores of this machine, or of the Ray cluster.")
    define_number("retries", 1, "How often a run that broke is started again.")
    flags.DEFINE_float(
        "stall_minutes", 60.0, "Kill a run whose folder stands still for so long; it counts as broken. 0: never."
    )
    flags.DEFINE_enum("engine", "local", ["local", "ray"], "local: processes of this machine; ray: tasks of a cluster.")
    flags.DEFINE_string("ray_address", None, "Ray cluster: auto or host:6379; default: one of this machine alone.")
    flags.DEFINE_string("runner", RUNNER, "Module that runs one run.")
    flags.DEFINE_bool("dry_run", False, "Print the command of each run and start none.")


def root() -> Path:
    """The folder that the runs go to.

    Raises:
      UserError: none is named, or it is a file; or a number is too small.
    """
    if not FLAGS.log_path:
        raise UserError("--log_path is missing: name the folder that the runs go to.")
    for name, low in (("jobs", 1), ("retries", 0), ("stall_minutes", 0)):
        value: float | None = FLAGS[name].value
        if value is not None and not value >= low:  # nor NaN
            raise UserError(f"--{name} must be at least {low}, not {value}.")
    check_used({"ray_address": ("engine", ("ray",))})
    folder = expanded(FLAGS.log_path).absolute()
    if folder.exists() and not folder.is_dir() and not FLAGS.dry_run:
        raise UserError(f"{folder} is a file: choose another --log_path.")
    return folder


def grid(axes: Mapping[str, Sequence[str]], settings: Mapping[str, str] | None = None) -> Grid:
    """The grid of the flags, with the axes that the command sweeps.

    Args:
      settings: flags of every run, if not those of --set.

    Raises:
      UserError: a name that is unknown, or code that the user did not ask for.
    """
    if FLAGS.runner != RUNNER and not trusted() and not is_typed(FLAGS.runner):
        raise UserError(f"The flagfile has --runner={FLAGS.runner}, a program to start: give --trust if you trust it.")
    if FLAGS.runner != RUNNER and FLAGS.engine == "local" and not FLAGS.dry_run:
        _check_runner(FLAGS.runner)
    overrides = [parse_override(text) for text in FLAGS.override]
    named = [name for override in overrides for name in override.conditions.get("env", ())]
    check_trust([*FLAGS.envs, *named])
    made = Grid(
        algs=[algorithms.find(name).name for name in FLAGS.algs],
        envs=[tasks.resolve(name).name for name in FLAGS.envs],
        seeds=parse_seeds(FLAGS.seeds),
        axes=axes,
        settings=parse_settings(FLAGS.set) if settings is None else settings,
        overrides=overrides,
    )
    for override in made.overrides:
        # One that matches no run is in order: a flagfile may be narrowed by --envs. One that never could is not.
        for name in override.conditions.get("alg", ()):
            algorithms.find(name)
        for name in override.conditions.get("env", ()):
            tasks.resolve(name)
    return made


def _check_runner(name: str) -> None:
    """UserError if `python -m name`, in the working folder, has nothing to run."""
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.util.find_spec(name)
        if found is not None and found.submodule_search_locations is not None:
            found = importlib.util.find_spec(f"{name}.__main__")
    except Exception as error:  # what a package around it raises; a name that is no module's
        why = f"--runner={name}: there is no such module to run ({reason(error)}). Name one as python -m takes it."
        raise UserError(why) from error
    finally:
        sys.path.remove(os.getcwd())
    if found is None:
        raise UserError(f"--runner={name}: there is no such module to run. Name one as python -m takes it.")


def check_runs(runs: Sequence[Run], swept: Mapping[str, str]) -> None:
    """Whether every run will take its flags, asked before the first one starts.

    Args:
      swept: the flags that differ between the runs, each with the flag of the command that it is from.

    Raises:
      UserError: one of them will not, or what the user swept or typed has an effect in none.
    """
    if FLAGS.runner != RUNNER:
        return
    # Runs that differ in nothing but their seed take the same flags: one of them is enough.
    different = {(run.env, run.alg, run.axes, run.settings): run for run in runs}.values()
    idle = [check_settings(run) for run in different]
    # A flagfile may be narrowed to algorithms that do not use all that it sets; what is swept or typed is meant.
    typed = {name: "set" for name in parse_settings(filter(is_typed, FLAGS.set))}
    for name, flag in sorted({**typed, **swept}.items()):
        if all(name in of_run for of_run in idle):
            algs = ", ".join(dict.fromkeys(run.alg for run in runs))
            raise UserError(f"--{flag}={name} has no effect with {algs}: leave it out, or choose other algorithms.")


def engine() -> Engine:
    """The engine of the flags."""
    if FLAGS.engine == "ray":
        check_cluster(FLAGS.ray_address)
        from wng_tf.sweeps.engine_ray import RayEngine

        return RayEngine(FLAGS.jobs, FLAGS.ray_address)
    from wng_tf.sweeps.engine_local import LocalEngine

    return LocalEngine(FLAGS.jobs or len(os.sched_getaffinity(0)))
