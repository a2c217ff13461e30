"""Train a policy: `python -m wng_tf.run --alg=bg_wnpg --env=Hopper`.

Every run has a folder (--log_path) with its flags, curves, checkpoints, TensorBoard events and exported model; see the README.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from wng_tf import algorithms, cli
from wng_tf import flags as run_flags
from wng_tf.algorithms import PolicyGradientAlgorithm
from wng_tf.errors import UserError

FAULT, INTERRUPTED = 1, 130


def main(argv: Sequence[str]) -> int:
    """Run what the flags say. Returns the exit code."""
    del argv
    values = flags.FLAGS
    algorithm = algorithms.find(values.alg)
    is_policy_gradient = isinstance(algorithm, PolicyGradientAlgorithm)
    from wng_tf.evolution.config import EvolutionConfig
    from wng_tf.policy_gradient.config import PolicyGradientConfig

    given = run_flags.given_settings(PolicyGradientConfig if is_policy_gradient else EvolutionConfig)
    if values.num_threads < 1:
        raise UserError(f"--num_threads must be at least 1, not {values.num_threads}.")
    from wng_tf.envs import tasks

    task = tasks.resolve(values.env)
    if task.env_id != values.env:
        print(f"{values.env} is {task.env_id}", flush=True)
    log_path = values.log_path or str(Path("runs", "out", f"{algorithm.name}-{values.env.replace('/', '_')}-{values.seed}"))
    print("Loading TensorFlow", flush=True)
    _limit_threads(values.num_threads)
    if is_policy_gradient:
        from wng_tf.policy_gradient.learn import learn
    else:
        from wng_tf.evolution.learn import learn
    from baselines_compat.vec_env import NonFiniteError, WorkerError
    from wng_tf.training_run import Interrupted

    if values.network is not None:
        given["network"] = values.network
    try:
        learn(
            env=values.env,
            total_timesteps=values.num_timesteps,
            alg=algorithm.name,
            seed=values.seed,
            log_path=log_path,
            resume=values.resume,
            progress=values.progress,
            **given,
        )
    except (NonFiniteError, WorkerError) as error:
        print(f"error: {error} The last good checkpoint is in {log_path}.", file=sys.stderr)
        return FAULT
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return INTERRUPTED
    from wng_tf.export import export_run

    print(f"Exported to {export_run(log_path)}")
    return 0


def _limit_threads(count: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def app() -> None:
    """Console entry point."""
    run_flags.define_run_flags()
    run_flags.define_settings_flags()
    cli.run_app(main)


if __name__ == "__main__":
    app()
