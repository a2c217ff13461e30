"""Evaluate the policy of a run: `python -m wng_tf.evaluate --run=runs/out/ppo-Hopper-0 --episodes=100`.

Plays episodes in fresh environments with the normalizer frozen: once with the deterministic policy, once with the
stochastic one, from the same start states. Prints mean return, its 95% interval (Student's t), standard deviation and
episode length, and writes them with every return to evaluation.json in the run's folder; another evaluation that is there
is kept under a name that says its step, seed and number of episodes. --output names another file, .json, or .csv with a row
for each episode, which must not be there yet, unless --overwrite is given. --video films the deterministic policy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from baselines_compat.vec_env import NonFiniteError, WorkerError
from wng_tf import evaluation_files, saved_policy
from wng_tf.cli import app as cli
from wng_tf.cli import flags as run_flags
from wng_tf.cli.parse import check_used, checkpoint_name, required, trusted
from wng_tf.envs import sources, video
from wng_tf.envs.guarded import Guarded
from wng_tf.errors import UserError
from wng_tf.policies.episodes import Returns, play, time_limit
from wng_tf.runtime.paths import expanded
from wng_tf.runtime.whole import whole_number
from wng_tf.training import checkpoint, run_folder

__all__ = ["Returns", "evaluate_run", "play", "time_limit"]

OUTPUT = run_folder.EVALUATION


def evaluate_run(
    run: str | os.PathLike[str],
    episodes: int = 100,
    seed: int = 0,
    which: str | int = "latest",
    progress: Callable[[], object] = lambda: None,
    trust: bool = False,
    max_episode_steps: int = 0,
    env_timeout: float = 0.0,
    env: Any = None,
) -> dict[str, Any]:
    """Evaluate the policy of a run; see `play`. `trust`: see `saved_policy.environment` and `load_to_act`.

    The environment is the one that the run was trained in, with its arguments and wrappers, or `env`: whatever
    `envs.sources` takes that is one environment, for a run that was trained in an object, or to see the policy elsewhere.

    Returns:
      what `evaluation.json` holds: `env`, `alg`, `which`, `step` of the checkpoint, `seed`, `episodes`,
      `max_episode_steps` if it was given, and the fields of `Returns` under `deterministic` and `stochastic`.

    Raises:
      UserError: no such run or checkpoint, or the environment cannot be made.
      EnvironmentFailure: the environment raised.
      NonFiniteError: an observation or reward is NaN or infinite.
    """
    episodes = whole_number("episodes", episodes, low=1)
    seed, max_episode_steps = whole_number("seed", seed), whole_number("max_episode_steps", max_episode_steps)
    for name, value in (("seed", seed), ("max_episode_steps", max_episode_steps)):
        if value < 0:
            raise UserError(f"--{name} must not be negative, as {value} is.")
    run = expanded(run)
    if not isinstance(env_timeout, numbers.Real) or not 0.0 <= env_timeout < math.inf:
        raise UserError(f"--env_timeout must be a number of seconds, not {env_timeout!r}.")
    policy = saved_policy.load_to_act(run, which, trust)
    task = saved_policy.task(run, trust) if env is None else None
    alg = saved_policy.flag(run, "alg")
    step, _ = checkpoint.load(run / run_folder.CHECKPOINTS, which)
    played = {}
    for name, deterministic in (("deterministic", True), ("stochastic", False)):
        where = task or sources.single(sources.task_of(env), "env")  # an object can be had once from each
        with Guarded(where, env_timeout) as world:
            result = play(
                policy,
                world,
                episodes,
                seed,
                deterministic=deterministic,
                max_episode_steps=max_episode_steps,
                progress=progress,
            )
        played[name] = dataclasses.asdict(result)
    about = {"env": where.name, "alg": alg, "which": which, "step": step}
    cut = {"max_episode_steps": max_episode_steps} if max_episode_steps else {}
    return {**about, "seed": seed, "episodes": episodes, **cut, **played}


def main(argv: Sequence[str]) -> int:
    """Evaluate what the flags say. Returns the exit code."""
    del argv
    values = flags.FLAGS
    run, which = expanded(required("run")), checkpoint_name(values.which)
    folder = run.absolute()  # an environment may change the working folder
    check_used({"video_episodes": ("video", ()), "overwrite": ("output", ())})
    if values.video is not None:
        video.check(values.video)
        if values.video_episodes < 1:
            raise UserError(f"--video_episodes must be at least 1, not {values.video_episodes}.")
    output = None if values.output is None else evaluation_files.check(values.output, values.overwrite).absolute()
    limit = values.max_episode_steps
    try:
        if values.video is not None:
            policy = saved_policy.load_to_act(run, which, trusted())
            filmed = saved_policy.task(run, trusted())
            apart = policy.acts_through_tensorflow or None
            with video.filming(values.video, filmed, values.env_timeout, apart) as world:
                play(policy, world, values.video_episodes, values.seed, deterministic=True, max_episode_steps=limit)
            print(f"Wrote {values.video}", flush=True)
        with _bar(2 * values.episodes) as advance:
            there = run if values.video is None else folder
            result = evaluate_run(there, values.episodes, values.seed, which, advance, trusted(), limit, values.env_timeout)
        kept = evaluation_files.keep_another(folder / OUTPUT, result) if output is None else None
        evaluation_files.write(output or folder / OUTPUT, result)
        print(_report(run, result))
        if kept is not None:
            print(f"Kept the evaluation that was there as {kept}")
        print(f"Wrote {values.output or run / OUTPUT}", flush=True)
    except (NonFiniteError, WorkerError) as error:
        return cli.fail(f"{error}{cli.traceback_of(error, folder)}", cli.FAULT)
    return 0


def _report(run: Path, result: dict[str, Any]) -> str:
    lines = [
        f"{result['alg']} on {result['env']} in {run}: checkpoint of step {result['step']} ({result['which']}), "
        f"{result['episodes']} episode{'s' if result['episodes'] > 1 else ''}, seed {result['seed']}"
        f"{', cut after ' + str(limit) + ' steps' if (limit := result.get('max_episode_steps')) else ''}"
    ]
    for name in ("deterministic", "stochastic"):
        part = result[name]
        line = f"{name:<13}  return {part['mean']:.2f}"
        if part["interval"] is not None:
            low, high = part["interval"]
            line += f"  95% interval [{low:.2f}, {high:.2f}]  sd {part['sd']:.2f}"
        lines.append(f"{line}  length {part['mean_length']:.1f}")
    return "\n".join(lines)


@contextlib.contextmanager
def _bar(total: int):
    """A progress bar on a terminal; yields what to call after each episode."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=" episodes", dynamic_ncols=True, leave=False) as bar:
        yield bar.update


def app() -> None:
    """Console entry point."""
    flags.DEFINE_string("run", None, "Folder of the run.")
    run_flags.define_number("episodes", 100, "Episodes of each of the two policies.")
    run_flags.define_number(
        "max_episode_steps", 0, "Cut episodes after so many steps; 0: at the environment's own time limit."
    )
    flags.DEFINE_float("env_timeout", 0.0, "Give up an environment that does not come back for so many seconds; 0: never.")
    run_flags.define_number("seed", 0, "Seed of the start states and of the stochastic policy.")
    flags.DEFINE_string("which", "latest", "Checkpoint: latest, best, or the step of one.")
    flags.DEFINE_string(
        "output", None, "File to write the evaluation to, .json or .csv; default: evaluation.json in the run's folder."
    )
    flags.DEFINE_bool("overwrite", False, "Replace a file that --output names and that is there.")
    flags.DEFINE_string("video", None, "File to film the deterministic policy to: .mp4 or .gif.")
    run_flags.define_number("video_episodes", 1, "Episodes in the film.")
    cli.run_app(main)


if __name__ == "__main__":
    app()
