"""`learn`: train a policy with any algorithm of the first table."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from baselines_compat.flattening import image_columns
from baselines_compat.policies import PolicyWithValue, build_policy, refuse_state
from baselines_compat.runner import Batch, Runner
from baselines_compat.vec_env import GymVecEnv, VecEnv, VecNormalize, make_vec_env
from wng_tf import embeddings, parts
from wng_tf.algorithms import PolicyGradientAlgorithm
from wng_tf.cluster.ray_actors import RayActors
from wng_tf.cluster.vec_env import ClusterVecEnv
from wng_tf.envs import sources, tasks
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.policies import heads, warm_start
from wng_tf.policies.evaluations import Evaluations
from wng_tf.policies.keras_layers import IMAGES, keras_hidden_layers, network_of
from wng_tf.policies.normalizers import RunningNormalizer, settings_tree
from wng_tf.policies.saved import SavedPolicy, Statistics, shape_tree
from wng_tf.policies.spec import PolicySpec
from wng_tf.policy_gradient.config import PolicyGradientConfig, check, default_network, resolve_for
from wng_tf.policy_gradient.learner import Learner
from wng_tf.training.callbacks import Callback, Callbacks, Names
from wng_tf.training.checkpoint import MisfitError, check_fits
from wng_tf.training.prologue import Recipe, begin
from wng_tf.training.schedules import ScheduledNumber

RECIPE = Recipe[PolicyGradientConfig](
    row=PolicyGradientAlgorithm,
    resolve=resolve_for,
    check=check,
    default_network=default_network,
    parts=parts.POLICY_GRADIENT_PARTS,
    num_monitors=lambda config: config.num_env,
)


#: Said once of a network that is no chain of dense layers.
THROUGH_THE_MODEL = (
    "The network is no chain of Dense layers: it acts through the compiled Keras model, once a step for all {worlds} worlds "
    "(--num_env), which costs some 0.3 ms and more a step; dense layers act in NumPy, in some 0.01 ms a world. Workers only "
    "step the worlds."
)


def learn(
    *,
    env: Any,
    network: str = "mlp",
    total_timesteps: int,
    alg: str = "bg_wnpg",
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
    """Train a policy, as Baselines' `ppo2.learn` does.

    Args:
      env: a short name, a Gymnasium id, `module:name` of what makes an environment; a Gymnasium environment, a function
        that makes one, a `VecEnv` or a Gymnasium `VectorEnv`. An object cannot be made again, which costs worker processes
        and exact resuming; `envs.sources` has the details, and the log says so.
      network: a network registered in `baselines_compat.models`, or in `wng_tf.parts.NETWORKS` by yourself.
      total_timesteps: environment steps, over all environments; rounded up to whole updates.
      alg: a row of `algorithms.POLICY_GRADIENTS`.
      seed: seed of everything random.
      log_path: folder of the run; None keeps no files.
      resume: continue the run in `log_path` from its last checkpoint.
      progress: True or False forces the progress bar; None shows it on a terminal.
      callback: called after every update as `callback(locals, globals)`, Baselines' form, or a list of such. `locals` has
        `steps`, `number` (of the update), `total_timesteps`, `eprewmean`, `report` (the columns of the log), `batch`, and
        `learner`, whose `policy` acts with the weights of then on normalized observations, and `policy`, which acts on the
        environment's own and can be saved. False, from any of them, stops the run and saves it.
      conclude: called with the run's folder when the last checkpoint is saved, before the run counts as finished.
      refuse_unused: refuse settings that have no effect with this algorithm, as the command line does.
      load_path: run, checkpoint or saved policy whose policy, value function and normalizers the run begins from: anything
        that `wng_tf.load` reads, of the same spaces, network and normalization.
      **given: settings of `PolicyGradientConfig`.

    Returns:
      the trained policy, which acts on the environment's own observations; its `model` is the Keras networks.

    Raises:
      UserError: bad input.
      NonFiniteError: an observation, reward, value or gradient became NaN or infinite.
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
    with run, environments(begun.task, config, seed) as venv:
        policy = make_policy(venv, begun.network, config, seed)
        if start is not None:
            begin_from(start, policy, venv, load_path, run.info.about)
        learner = Learner(policy=policy, config=config, embedding=embeddings.find(config.embedding), seed=seed)
        runner = Runner(env=venv, model=policy, nsteps=config.nsteps, gamma=config.gamma, lam=config.lam)
        described = describe(policy, venv)
        evaluate = Evaluations(begun.evaluated_in, config, seed)
        cliprange, clip_changes = begun.at("cliprange"), isinstance(config.cliprange, ScheduledNumber)
        number, steps = 0, 0

        lost: list[str] = []  # what of the environments did not come back

        def restore(found: dict[str, Any]) -> None:
            nonlocal number, steps
            own = learner.state()
            like = {
                "number": 0,
                "steps": 0,
                "learner": {name: own[name] for name in ("theta", "optimizer")},
                "env": {
                    "environments": [{}] * config.num_env,
                    "normalizer": {"ob_rms": venv.normalizer.state()["ob_rms"]},
                },
            }
            check_fits(found, like, "learner")
            number, steps = found["number"], found["steps"]
            try:
                learner.restore(found["learner"])
            except (KeyError, TypeError, ValueError) as error:
                raise MisfitError(f"learner/learner: {error}") from error
            lost.extend(venv.set_state(found["env"]))

        resumed = run.start(restore)
        warm_start.keep(start, run, load_path)
        run.note(f"{begun.headline}: {policy.size} parameters")
        if begun.network == "mlp" and image_columns(venv.observation_space):
            run.note(IMAGES)
        if not policy.in_numpy:
            run.note(THROUGH_THE_MODEL.format(worlds=config.num_env))
        for line in sources.costs(begun.task):
            run.note(line)

        remarks: set[str] = set()

        def remark(lines: list[str]) -> None:
            for line in lines:
                if line not in remarks:
                    remarks.add(line)
                    run.note(f"Warning: {line}")

        remark(lost)

        def state() -> dict[str, Any]:
            remark(venv.remarks())
            return {
                "number": number,
                "steps": steps,
                "learner": learner.state(),
                "env": venv.get_state(),
                "policy": described,
            }

        if not resumed:
            run.note("Collecting the first batch, then compiling the update (some seconds, once)")
        while steps < total_timesteps and run.goes_on:
            batch, episodes = runner.run(learner.theta.numpy())
            number += 1
            steps += config.batch_size
            lr, clip = begun.rate(steps - config.batch_size), cliprange(steps - config.batch_size)
            report = learner.update(batch, number, lr, cliprange=clip)
            run.add_episodes(episodes)
            run.show(steps)
            row = {**report, "misc/lr": lr, **({"misc/cliprange": clip} if clip_changes else {})}
            if evaluate.due(steps - config.batch_size, steps, total_timesteps):
                columns = evaluate(acting(policy, venv))
                run.evaluated(steps, columns)
                row |= columns
            logged = "eval/eprewmean" in row or number % config.log_interval == 0 or steps >= total_timesteps
            if logged:
                run.log(row | diagnostics(batch, learner), steps, number)
            local = Names(learner=learner, batch=batch, steps=steps, number=number, report=report)
            local.update(total_timesteps=total_timesteps, eprewmean=run.eprewmean)
            if go_on.called:
                local.update(policy=acting(policy, venv, run.info.about))
            if not go_on(local, globals()):
                run.stop("callback", steps)
            run.stop_if_reached(steps)
            if not run.goes_on and not logged:
                run.log(row | diagnostics(batch, learner), steps, number)
            run.checkpoint_if_due(steps, state)
        run.finish(steps, state)
        return acting(policy, venv, about=run.info.about)


def diagnostics(batch: Batch, learner: Learner) -> dict[str, float]:
    """Columns that describe the batch and how far the update moved the policy."""
    shift = learner.distances(batch)
    return {
        "misc/explained_variance": explained_variance(batch.values, batch.returns),
        "loss/kl_moved": shift["kl"],
        "loss/w2_squared_moved": shift["w2_squared"],
    }


def explained_variance(predictions: np.ndarray, targets: np.ndarray) -> float:
    """1 - Var[targets - predictions] / Var[targets]; NaN if the targets are constant.

    Raises:
      ValueError: they have different shapes; nothing is broadcast.
    """
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if predictions.shape != targets.shape:
        raise ValueError(f"Predictions of shape {predictions.shape} do not fit targets of shape {targets.shape}.")
    # Rounding puts the mean of equal numbers beside them: their variance is not computed, and that of others in float64.
    if np.all(targets == targets[:1]):
        return float("nan")
    variance = float(np.var(targets))
    return float("nan") if variance == 0.0 else 1.0 - float(np.var(targets - predictions)) / variance


@contextlib.contextmanager
def environments(task: Task, config: PolicyGradientConfig, seed: int) -> Iterator[VecNormalize]:
    """The normalized environments of a run; at its end those that it made are closed.

    Raises:
      UserError: observations of a `VectorEnv` that are no array.
    """
    if isinstance(task.held, VecNormalize):
        yield task.held
    elif isinstance(task.held, VecEnv):
        task.held.seed = seed
        yield normalized(task.held, config)
    elif isinstance(task.held, VectorEnv):
        try:
            yield normalized(GymVecEnv(task.held, seed), config)
        except ValueError as error:
            raise UserError(str(error)) from None
    else:
        with make_normalized(task, config, seed) as venv:
            yield venv


def normalized(venv: VecEnv, config: PolicyGradientConfig) -> VecNormalize:
    """The environments under the normalization that the settings ask for."""
    return VecNormalize(venv, ob=config.normalize_observations, ret=config.normalize_rewards, gamma=config.gamma)


def make_normalized(env: str | Task, config: PolicyGradientConfig, seed: int) -> VecNormalize:
    """The normalized environments of a run."""
    make = functools.partial(tasks.make, env, heads=[head for _, head in parts.HEADS.own()])
    if config.engine == "local":
        venv = make_vec_env(make, config.num_env, seed, num_workers=config.num_workers, timeout=config.env_timeout)
    else:
        engine = RayActors(config.ray_address, config.num_workers)
        venv = ClusterVecEnv(engine, [make] * config.num_env, seed, config.num_workers, config.env_timeout)
    return normalized(venv, config)


def acting(policy: PolicyWithValue, venv: VecNormalize, about: Mapping[str, str] = MappingProxyType({})) -> SavedPolicy:
    """The policy as it is now, with the normalizer's statistics of now: it acts on raw observations."""
    normalizer = venv.normalizer
    observation_space = venv.observation_space
    assert isinstance(observation_space, spaces.Box)
    return SavedPolicy(
        spec=PolicySpec(network_of(policy.actor, lambda: policy.actor_spec().layers, "actor"), heads.of_policy(policy)),
        theta=policy.get_separate_flat(),
        normalizer=RunningNormalizer(normalizer.ob_rms.mean, normalizer.ob_rms.var, normalizer.settings),
        observation_space=observation_space,
        action_space=venv.action_space,
        value_network=network_of(policy.critic, policy.critic_layers, "critic"),
        statistics=Statistics(*normalizer.snapshot()),
        about=about,
        model=policy,
    )


def begin_from(
    start: SavedPolicy, policy: PolicyWithValue, venv: VecNormalize, load_path: object, about: Mapping[str, str]
) -> None:
    """Gives the policy the parameters of an earlier one, and the environments what its normalizers have seen.

    Raises:
      UserError: they do not fit, see `warm_start.parameters`.
    """
    policy.set_separate_flat(warm_start.parameters(start, acting(policy, venv, about), load_path, policy.num_shared))
    seen = warm_start.statistics(start, load_path)
    if seen is not None:
        venv.normalizer.ob_rms.moments = seen.observations
        if seen.returns is not None:
            venv.normalizer.ret_rms.moments = seen.returns


def describe(policy: PolicyWithValue, venv: VecNormalize) -> dict[str, Any]:
    """What a checkpoint says of the policy besides its weights and the normalizer's statistics, which are beside it."""
    now = acting(policy, venv)
    return {
        **shape_tree(now.spec, now.observation_space, now.action_space, now.value_network),
        "normalizer": settings_tree(venv.normalizer.settings),
        **({"shared": [policy.num_shared, policy.policy_size]} if policy.num_shared else {}),
    }


def make_policy(venv: VecNormalize, network: str, config: PolicyGradientConfig, seed: int) -> PolicyWithValue:
    """The untrained policy of a run.

    Raises:
      UserError: an unknown network, one that keeps a state, or a standard deviation for discrete actions.
    """
    sizes: dict[str, Any] = {"init_logstd": config.init_logstd, "value_network": config.value_network}
    if network == "mlp":
        sizes |= {"num_layers": config.num_layers, "num_hidden": config.num_hidden, "activation": config.activation}
    head = heads.stochastic(venv.action_space)
    build: Any = network
    if parts.NETWORKS.is_own(network):
        build = keras_hidden_layers(network, (config.num_hidden,) * config.num_layers, head.num_outputs)
    try:
        policy = build_policy(venv.observation_space, venv.action_space, build, seed=seed, head=head, **sizes)
        for model in (policy.actor, policy.critic):
            refuse_state(model)
    except ValueError as error:
        raise UserError(str(error)) from None
    if config.init_logstd and policy.logstd is None:
        raise UserError(f"--init_logstd={config.init_logstd:g}: discrete actions have no standard deviation.")
    return policy
