"""What `learn` of either family does first: check what it was given, and make the run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from wng_tf import algorithms, parts
from wng_tf.algorithms import Algorithm
from wng_tf.envs import named, sources
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.runtime.registry import Registry
from wng_tf.runtime.whole import whole_number
from wng_tf.training import run_flags, schedules, unused
from wng_tf.training.run import TrainingRun
from wng_tf.training.run_info import RunInfo
from wng_tf.training.settings import current_names, defaults


class RunSettings(Protocol):
    """What the settings of both families have, read only."""

    @property
    def lr(self) -> str: ...

    @property
    def save_interval(self) -> int: ...

    @property
    def keep_checkpoints(self) -> int: ...

    @property
    def env_kwargs(self) -> str | None: ...

    @property
    def env_wrapper(self) -> str | None: ...

    @property
    def eval_interval(self) -> int: ...

    @property
    def stop_return(self) -> float | None: ...


Config = TypeVar("Config", bound=RunSettings)


@dataclasses.dataclass(frozen=True)
class Recipe(Generic[Config]):
    """What differs between the families.

    Attributes:
      row: class of the family's algorithms.
      resolve: from algorithm, task and given settings to those of the run.
      check: what can be said about settings and network.
      default_network: of a run that names none.
      parts: registries of the parts that an algorithm is made of.
      num_monitors: how many environments have a monitor file of their own.
      seeds: how many seeds there are, from 0; None: no limit.
    """

    row: type[Algorithm]
    resolve: Callable[[Any, Task, Mapping[str, Any]], Config]
    check: Callable[[Config, str], None]
    default_network: Callable[[Task], str]
    parts: Sequence[Registry[Any]]
    num_monitors: Callable[[Config], int]
    seeds: int | None = None


@dataclasses.dataclass(frozen=True)
class Begun(Generic[Config]):
    """A run that has not started yet.

    Attributes:
      algorithm, task, network, config, seed: what is trained, where, and how.
      evaluated_in: where it is evaluated during training; None: nowhere.
      rate: learning rate after so many environment steps.
      at: from a setting that may change over the run to its function of the environment steps.
      run: the run, not entered; `run.start` opens its folder.
      headline: what is trained, for the first line of the log.
    """

    algorithm: Algorithm
    task: Task
    evaluated_in: Task | None
    network: str
    config: Config
    seed: int
    rate: Callable[[int], float]
    at: Callable[[str], Callable[[int], float]]
    run: TrainingRun
    headline: str


def begin(
    recipe: Recipe[Config],
    *,
    env: Any,
    network: str | None,
    total_timesteps: int,
    alg: str,
    seed: int,
    log_path: str | None,
    resume: bool,
    progress: bool | None,
    conclude: Callable[[Path], object] | None,
    refuse_unused: bool,
    load_path: str | os.PathLike[str] | None,
    start: Any,
    given: Mapping[str, Any],
) -> Begun[Config]:
    """See `learn` of either family for the arguments; `start` is the policy of `load_path`, if the run begins from one.

    Nothing is written.

    Raises:
      UserError: bad input.
    """
    algorithm = algorithms.find(alg)
    if not isinstance(algorithm, recipe.row):
        raise UserError(f"--alg={alg} is {algorithm.is_a}: use {algorithm.package}.learn.")
    total_timesteps = whole_number("num_timesteps", total_timesteps, low=1)
    seed = whole_number("seed", seed, low=0 if recipe.seeds is None else None)
    if recipe.seeds is not None and not 0 <= seed < recipe.seeds:
        raise UserError(f"--seed must be between 0 and 2**{recipe.seeds.bit_length() - 1} - 1, not {seed}.")
    network, given = _by_name("network", network), {name: _by_name(name, value) for name, value in given.items()}
    task = sources.task_of(env)
    elsewhere = None if given.get("eval_env") is None else sources.single(sources.task_of(given["eval_env"]), "eval_env")
    if elsewhere is not None and sources.are_one(task, elsewhere):
        raise UserError("eval_env is the object that training uses, amid its episodes: give another one, or its id.")
    given = {**sources.given_with(task, given), "eval_env": None if elsewhere is None else elsewhere.name}
    config = recipe.resolve(algorithm, task, given)
    task = sources.with_options(task, config.env_kwargs, config.env_wrapper)
    parts.check(config, *recipe.parts)
    network = network or recipe.default_network(task)
    recipe.check(config, network)
    if refuse_unused:
        names = [name for name, value in current_names(given).items() if value is not None]
        unused.refuse(algorithm, config, recipe.resolve(algorithm, task, {}), names, network=network, load_path=start)
    rate = schedules.function("lr", config.lr)

    def over_steps(function: Callable[[float], float]) -> Callable[[int], float]:
        return lambda steps: function(max(0.0, 1.0 - steps / total_timesteps))

    settings = type(config)
    info = RunInfo(
        alg=algorithm.name,
        env=task.name,
        env_id=task.env_id,
        seed=seed,
        total_timesteps=total_timesteps,
        flags=run_flags.values(
            algorithm.name,
            task.name,
            seed,
            total_timesteps,
            network,
            log_path,
            config,
            None if load_path is None else os.fspath(load_path),
        ),
        defaults=defaults(settings),
        may_change=run_flags.may_change_on_resume(settings),
    )
    run = TrainingRun(
        info,
        log_path=log_path,
        resume=resume,
        num_env=recipe.num_monitors(config),
        save_interval=config.save_interval,
        keep=config.keep_checkpoints,
        progress=progress,
        conclude=conclude,
        judge="evaluation" if config.eval_interval else "training",
        stop_return=config.stop_return,
    )
    return Begun(
        algorithm=algorithm,
        task=task,
        evaluated_in=(elsewhere or sources.fresh(task)) if config.eval_interval else None,
        network=network,
        config=config,
        seed=seed,
        rate=over_steps(rate),
        at=lambda name: over_steps(schedules.function(name, getattr(config, name))),
        run=run,
        headline=f"{algorithm.name} on {task.name} ({task.env_id}), seed {seed}",
    )


def _by_name(setting: str, value: Any) -> Any:
    """The name of a part of somebody's own that was given as the function or class itself; any other value as it is.

    Raises:
      UserError: it has none that flags.txt could say.
    """
    setting = parts.RENAMED.get(setting, setting)
    if setting not in parts.BY_FLAG or not callable(value):
        return value
    name = named.name_of(value)
    if name is None:
        raise UserError(
            f"{setting}={value!r} is no function or class at the top level of a module, so that flags.txt cannot name it: "
            "move it there."
        )
    return name
