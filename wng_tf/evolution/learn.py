"""`learn`: train a policy with any algorithm of the second table."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines_compat.vec_env.segment import EpisodeRecord
from wng_tf import parts
from wng_tf.algorithms import EvolutionAlgorithm
from wng_tf.cluster.ray_actors import RayActors
from wng_tf.envs import sources
from wng_tf.envs.tasks import Task
from wng_tf.evolution.config import EvolutionConfig, check, default_network, resolve
from wng_tf.evolution.env_partitions import EnvPartitions, horizon_of, make_partitions
from wng_tf.evolution.remote_population import RemotePopulation
from wng_tf.evolution.trainer import Progress, Report, Trainer
from wng_tf.policies import warm_start
from wng_tf.policies.evaluations import Evaluations
from wng_tf.policies.saved import SavedPolicy
from wng_tf.runtime import memory
from wng_tf.training.callbacks import Callback, Callbacks, Names
from wng_tf.training.prologue import Recipe, begin

RECIPE = Recipe[EvolutionConfig](
    row=EvolutionAlgorithm,
    resolve=resolve,
    check=check,
    default_network=default_network,
    parts=parts.EVOLUTION_PARTS,
    num_monitors=lambda config: 1,
    seeds=2**64,  # a seed is a word of the key of a population's streams
)


def learn(
    *,
    env: Any,
    network: str | None = None,
    total_timesteps: int,
    alg: str = "wnes",
    seed: int = 0,
    log_path: str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    callback: Callback | Sequence[Callback] | None = None,
    conclude: Callable[[Path], object] | None = None,
    refuse_unused: bool = False,
    load_path: str | os.PathLike[str] | None = None,
    **given: Any,
) -> SavedPolicy:
    """Train a policy by evolution strategies.

    Args:
      env: a short name, a Gymnasium id, `module:name` of what makes an environment; a Gymnasium environment, or a
        function that makes one. An object cannot be made again: all rollouts happen in it, one after another, without
        worker processes; `envs.sources` has the details, and the log says so. No `VecEnv` or `VectorEnv`: those begin their
        episodes by themselves, and every rollout has to start from a seed of its own. `num_env` worlds step together.
      network: one of `parts.NETWORKS`; None: the paper's Toeplitz policy on Point and Quadruped, mlp elsewhere.
      total_timesteps: environment steps, those of evaluations included; rounded up to whole generations.
      alg: a row of `algorithms.EVOLUTION_STRATEGIES`.
      seed: seed of everything random.
      log_path: folder of the run; None keeps no files.
      resume: continue the run in `log_path` from its last checkpoint.
      progress: True or False forces the progress bar; None shows it on a terminal.
      callback: called after every generation as `callback(locals, globals)`, Baselines' form, or a list of such. `locals`
        has `steps`, `number` (of the generation), `total_timesteps`, `eprewmean`, `progress` and `report`, and the fields
        of these two by their own names. False, from any of them, stops the run and saves it.
      conclude: called with the run's folder when the last checkpoint is saved, before the run counts as finished.
      refuse_unused: refuse settings that have no effect with this algorithm, as the command line does.
      load_path: run, checkpoint or saved policy whose policy, value function and normalizers the run begins from: anything
        that `wng_tf.load` reads, of the same spaces, network and normalization.
      **given: settings of `EvolutionConfig`.

    Returns:
      the unperturbed policy of the last generation, which is the one whose return was logged last.

    Raises:
      UserError: bad input.
      NonFiniteError: an observation, reward, action or gradient became NaN or infinite.
      EnvironmentFailure, WorkerError: an environment raised or hung, a process that steps environments died.
      Interrupted: the user asked to stop; the run is saved.
    """
    go_on = Callbacks(callback)
    start = warm_start.source(load_path, log_path, resume)
    begun = begin(
        RECIPE,
        env=env,
        network=network,
        total_timesteps=total_timesteps,
        alg=alg,
        seed=seed,
        log_path=log_path,
        resume=resume,
        progress=progress,
        conclude=conclude,
        refuse_unused=refuse_unused,
        load_path=load_path,
        start=start,
        given=given,
    )
    config, run, seed = begun.config, begun.run, begun.seed
    of_one = "env of evolution strategies, whose every episode starts from a seed of its own,"
    sources.single(begun.task, of_one, beside=", and num_env={num_envs} if so many are to step together")
    members = 2 * config.population + config.evaluation_episodes
    horizon = horizon_of(begun.task, config.horizon)
    memory.check({f"--horizon={horizon} with --population={config.population}": 8.0 * members * horizon})
    with _places(begun.task, config.num_env or members, config) as places, run:
        trainer = Trainer(
            places,
            begun.network,
            config,
            horizon=horizon,
            seed=seed,
            schedule=begun.rate,
        )
        evaluate = Evaluations(begun.evaluated_in, config, seed, horizon)
        now = trainer.start()
        if start is not None:
            now = begin_from(start, trainer, now, load_path, run.info.about)

        def restore(saved: dict[str, Any]) -> None:
            nonlocal now
            now = trainer.restored(saved)

        run.start(restore)
        warm_start.keep(start, run, load_path)
        run.note(f"{begun.headline}: {trainer.spec.num_parameters} parameters")
        for remark in trainer.remarks:
            run.note(remark)
        for line in sources.costs(begun.task):
            run.note(line)
        while now.steps < total_timesteps and run.goes_on:
            started, before = time.process_time(), now.steps
            now, report = trainer.advance(now)
            used = time.process_time() - started
            for line in places.remarks():
                run.note(line)
            run.add_episodes([_episodes(report)])
            run.show(now.steps, now.policy_return)
            row = {**report.diagnostics, "es/cpu_seconds": used}  # this process; other people's load does not count
            if now.policy is not None and evaluate.due(before, now.steps, total_timesteps):
                columns = evaluate(now.policy)
                run.evaluated(now.steps, columns)
                row |= columns
            logged = (
                "eval/eprewmean" in row or now.state.generation % config.log_interval == 0 or now.steps >= total_timesteps
            )
            if logged:
                run.log(row, now.steps, now.state.generation)
            local, world = _names(now, report, total_timesteps)
            if not go_on(local, world):
                run.stop("callback", now.steps)
            run.stop_if_reached(now.steps, now.policy_return)
            if not run.goes_on and not logged:
                run.log(row, now.steps, now.state.generation)
            run.checkpoint_if_due(now.steps, now.tree, now.policy_return)
        run.finish(now.steps, now.tree, now.policy_return)
    assert now.policy is not None
    return dataclasses.replace(now.policy, about=run.info.about)


def begin_from(start: SavedPolicy, trainer: Trainer, now: Progress, load_path: object, about: Mapping[str, str]) -> Progress:
    """The progress before the first generation, with the parameters of an earlier policy and what its normalizer has seen.

    Raises:
      UserError: they do not fit, see `warm_start.parameters`.
    """
    own = dataclasses.replace(trainer.policy(now.state), about=about)
    state = now.state._replace(theta=warm_start.parameters(start, own, load_path))
    seen = warm_start.statistics(start, load_path)
    return dataclasses.replace(now, state=state if seen is None else state._replace(moments=seen.observations))


def _names(now: Progress, report: Report, total_timesteps: int) -> tuple[Names, Names]:
    """What a callback is called with. Those of earlier versions read the fields of the report from the second."""
    fields = {name: getattr(report, name) for name in ("returns", "lengths", "rollouts", "diagnostics", "evidence")}
    own = {name: getattr(now, name) for name in ("steps", "state", "policy", "policy_return")}
    local = Names(progress=now, report=report, number=now.state.generation, eprewmean=now.policy_return, **own, **fields)
    local.update(total_timesteps=total_timesteps)
    return local, Names({**globals(), **fields})


def _places(task: Task, num_envs: int, config: EvolutionConfig) -> EnvPartitions | RemotePopulation:
    """Where the rollouts of a run are made."""
    sizes = (task, num_envs, config.num_workers, config.env_timeout)
    if config.engine == "local":
        return make_partitions(*sizes)
    return RemotePopulation(RayActors(config.ray_address, min(config.num_workers, num_envs)), *sizes)


def _episodes(report: Report) -> list[EpisodeRecord]:
    ended = time.time()
    return [EpisodeRecord(float(r), int(n), ended) for r, n in zip(report.returns, report.lengths, strict=True)]
