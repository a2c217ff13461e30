"""Train a policy: `python -m wng_tf.run --alg=bg_wnpg --env=Hopper`.

Every run has a folder (--log_path) with its flags, curves, checkpoints, TensorBoard events and exported model; see the
README.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from wng_tf import algorithms, families, playing, saved_policy
from wng_tf.cli import app as cli
from wng_tf.cli import flags as run_flags
from wng_tf.cli.parse import check_cluster, check_trust, check_used, is_given, trusted
from wng_tf.envs import screen, sources, tasks
from wng_tf.errors import UserError
from wng_tf.policies import warm_start
from wng_tf.runtime import compile_cache, faults, trust
from wng_tf.runtime.paths import expanded
from wng_tf.training import checkpoint, run_folder, unused
from wng_tf.training.run_flags import OPTIONS_OF_ENV


def main(argv: Sequence[str]) -> int:
    """Run what the flags say. Returns the exit code."""
    del argv
    values = flags.FLAGS
    algorithm = algorithms.find(values.alg)
    _take_environment()
    check_trust([values.env], [values.flag_values_dict()])
    task = tasks.resolve(values.env)
    tasks.check(task)
    check_used({"play_episodes": ("play", ())})
    if values.play_episodes < 0:
        raise UserError(f"--play_episodes must not be negative, as {values.play_episodes} is.")
    if values.save_path is not None and expanded(values.save_path).is_dir():
        raise UserError(f"--save_path={values.save_path} is a folder: name a file to save the policy to.")
    if values.play:
        screen.check(values.env)
        if values.num_timesteps == 0:
            return _play_alone()
    # What is wrong with the policy to begin from is said before TensorFlow loads.
    start = warm_start.source(values.load_path, values.log_path or _folder(algorithm), values.resume)
    given = _check(algorithm, task, start)
    if given.get("engine") == "ray":
        check_cluster(given.get("ray_address"))
    task = sources.with_options(task, values.env_kwargs, values.env_wrapper)
    if task.env_id != values.env:
        print(f"{values.env} is {task.env_id}", flush=True)
    log_path = values.log_path or _folder(algorithm)
    run_folder.check_free(log_path)
    if values.resume:
        run_folder.read_flags(log_path)
    else:
        run_folder.check_new(log_path)
    folder = expanded(log_path).absolute()  # an environment may change the working folder
    tasks.check_spaces(task, given.get("env_timeout", 0.0))
    print("Loading TensorFlow", flush=True)
    compile_cache.enable(values.num_threads)
    cli.load_tensorflow()
    family = families.of(algorithm)
    # Loops that have fewer threads between operations than they are would take turns.
    local = given.get("engine", "local") == "local"
    loops = given.get("num_workers", 1) if family.worker_loops and local else 1
    _limit_threads(values.num_threads, max(values.num_threads, loops))
    from baselines_compat.errors import UnusableOutput
    from baselines_compat.vec_env import NonFiniteError, WorkerError
    from wng_tf.training.stopping import Interrupted

    if values.network is not None:
        given["network"] = values.network
    try:
        policy = family.learn(
            env=values.env,
            total_timesteps=values.num_timesteps,
            alg=algorithm.name,
            seed=values.seed,
            log_path=log_path,
            resume=values.resume,
            progress=values.progress,
            conclude=_export,
            load_path=values.load_path,
            **given,
        )
        _finish(policy)
    except (NonFiniteError, WorkerError) as error:
        return cli.fail(f"{error} {_last_checkpoint(folder)}{cli.traceback_of(error, folder)}", cli.FAULT)
    except UnusableOutput as error:
        raise UserError(f"{error} {_last_checkpoint(folder)}") from error
    except OSError as error:
        if checkpoint.latest_step(folder / run_folder.CHECKPOINTS) is None:
            raise  # nothing is left of the run
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        text = f"The disk is full ({faults.reason(error)})." if full else faults.sentence(error)
        return cli.fail(f"{text} {_last_checkpoint(folder)}", cli.FAULT)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return cli.INTERRUPTED
    return 0


def _take_environment() -> None:
    """Sets --env, where nobody did, to the environment of the policy that --load_path names."""
    values = flags.FLAGS
    if values.load_path is None or values["env"].present:
        return
    kept = expanded(values.log_path or "") / run_folder.START  # of a run that is resumed the original may be gone
    source = kept if values.resume and values.log_path and kept.is_file() else values.load_path
    about = saved_policy.load(source).about
    if "env" not in about:
        return
    if not trusted():
        for name in (about["env"], *sources.wrapper_names(about.get("env_wrapper"))):
            trust.check(name, f"'{source}'")
    for name in ("env", *OPTIONS_OF_ENV):
        if not values[name].present:
            setattr(values, name, about.get(name))


def _finish(policy: saved_policy.SavedPolicy) -> None:
    """What is asked for once there is a policy: to save it, and to show it."""
    values = flags.FLAGS
    if values.save_path is not None:
        print(f"Saved the policy to {policy.save(values.save_path)}", flush=True)
    if values.play:
        timeout = values.env_timeout or 0.0
        task = sources.with_options(tasks.resolve(values.env), values.env_kwargs, values.env_wrapper)
        playing.show(policy, task, episodes=values.play_episodes, seed=values.seed, timeout=timeout)


def _play_alone() -> int:
    """Shows the policy that --load_path names. Returns the exit code."""
    if flags.FLAGS.load_path is None:
        raise UserError("--play with --num_timesteps=0 shows the policy of a run: name it with --load_path.")
    from baselines_compat.vec_env import NonFiniteError, WorkerError

    try:
        _finish(saved_policy.load_to_act(flags.FLAGS.load_path, trust=trusted()))
    except (NonFiniteError, WorkerError) as error:
        return cli.fail(f"{error}{cli.traceback_of(error, Path('nowhere'))}", cli.FAULT)
    return 0


def _export(folder: Path) -> None:
    """The last thing before a run counts as finished: a run that has its summary has its model."""
    from wng_tf.export import export_run

    print(f"Exported to {export_run(folder)}", flush=True)


def _check(
    algorithm: algorithms.Algorithm, task: tasks.Task, start: saved_policy.SavedPolicy | None = None
) -> dict[str, Any]:
    """The settings that the user gave, checked as far as it goes before the seconds that TensorFlow takes to load."""
    values = flags.FLAGS
    run_flags.check_numbers(num_timesteps=values.num_timesteps, seed=values.seed, num_threads=values.num_threads)
    family = families.of(algorithm)
    given = run_flags.given_settings(family.config)
    config, plain = (family.resolve(algorithm, task, some) for some in (given, {}))
    network = family.default_network(task) if values.network is None else values.network
    family.check(config, network)
    # Not those of a flagfile: a run's own lists every setting, and one for several algorithms what some of them use.
    unused.refuse(algorithm, config, plain, filter(is_given, given), network=network, load_path=start)
    return given


def _folder(algorithm: algorithms.Algorithm) -> str:
    """The folder of a run that names none."""
    return str(Path("runs", "out", f"{algorithm.name}-{_plain(flags.FLAGS.env)}-{flags.FLAGS.seed}"))


def _plain(env: str) -> str:
    """A name for a folder: `package.module:Id-v0` and `wng_tf/Point-v0` have characters that are none of a name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", env)


def _last_checkpoint(run: Path) -> str:
    folder = run / run_folder.CHECKPOINTS
    step = checkpoint.latest_step(folder)
    if step is None:
        return "No checkpoint was saved before."
    return f"The last good checkpoint, of step {step}, is in {folder}."


def _limit_threads(within: int, between: int) -> None:
    """Threads of TensorFlow within an operation and between operations."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(within)
    tf.config.threading.set_inter_op_parallelism_threads(between)


def app() -> None:
    """Console entry point."""
    run_flags.define_run_flags()
    run_flags.define_settings_flags()
    cli.run_app(main)


if __name__ == "__main__":
    app()
