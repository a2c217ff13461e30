"""Environments as people hold them: an id, an object, a function that makes one, or several that step together.

| `env` | made again | workers | written to `flags.txt` |
|---|---|---|---|
| a name, see `tasks` | yes | yes | the name |
| a class or function at the top of a module, also as a partial with keywords | yes | yes | `module:name` and its arguments |
| any other function | yes | if it can be pickled | `object(...)`: it has to be given again |
| a Gymnasium environment | no | no | its id, if the registry says all of it, else `object(...)` |
| a `VecEnv` or a Gymnasium `VectorEnv` | no | no | `object(...)` |
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, registry

from baselines_compat.vec_env.vec_env import VecEnv
from wng_tf.envs import named, tasks
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError

_STEPPED = (VecEnv, gymnasium.vector.VectorEnv)


class Borrowed(gymnasium.Wrapper):
    """An environment that belongs to somebody else: closing this one leaves it open."""

    def close(self) -> None:
        pass


class HandOut:
    """A factory of one environment, which is there already."""

    def __init__(self, env: gymnasium.Env):
        self._env: gymnasium.Env | None = env
        self._who = type(env.unwrapped).__name__

    def __call__(self, **made_with: Any) -> gymnasium.Env:
        """The environment, once; the arguments are those that it was made with. UserError when there is to be another."""
        del made_with
        env, self._env = self._env, None
        if env is None:
            raise UserError(
                f"{self._who} is an object, and a second one of its kind is needed: give env as an id, or as a function that "
                "makes it."
            )
        return Borrowed(env)


def task_of(env: Any) -> Task:
    """The task that is behind what a user gave as an environment; see the module's docstring.

    Raises:
      UserError: nothing of the kind, or a name that there is not.
    """
    if isinstance(env, str | Task):
        return tasks.resolve(env)
    if isinstance(env, EnvSpec):
        return _of_spec(env)
    if isinstance(env, _STEPPED):
        name = f"object({type(env.unwrapped if isinstance(env, gymnasium.vector.VectorEnv) else env).__name__})"
        return Task(name=name, env_id=name, kind=_kind_of_stepped(env), held=env)
    if isinstance(env, gymnasium.Env):
        return _of_object(env)
    if callable(env):
        return _of_function(env)
    raise UserError(
        f"env must be an id, a Gymnasium environment, a function that makes one, a VecEnv or a VectorEnv, not {env!r}."
    )


def with_options(task: Task, env_kwargs: str | None, env_wrapper: str | None) -> Task:
    """The task with arguments for its environment's constructor and with wrappers, as settings have them.

    Raises:
      UserError: a wrapper that there is not, or options of something that is made already.
    """
    kwargs, wrappers = keywords(env_kwargs), wrapper_names(env_wrapper)
    if task.held is not None and not isinstance(task.held, gymnasium.Env) and wrappers:
        raise UserError(
            f"--env_wrapper={env_wrapper} wraps single environments, and {task.name} is several that step together."
        )
    if task.held is not None and kwargs and kwargs != task.kwargs:
        raise UserError(f"--env_kwargs={env_kwargs} are for a constructor, and the environment is an object, which is made.")
    found = tuple(named.find(name, "env_wrapper") for name in wrappers)
    return dataclasses.replace(task, kwargs=kwargs if task.held is None else task.kwargs, wrappers=found)


def given_with(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a user gave, with those that follow from the environment.

    Raises:
      UserError: more environments, or more processes, than the object that was given can be.
    """
    settings = dict(given)
    if task.held is None:
        if task.kwargs:  # of a partial, or of a specification
            settings["env_kwargs"] = json.dumps({**task.kwargs, **keywords(given.get("env_kwargs"))}, sort_keys=True)
        elsewhere = (given.get("num_workers") or 1) > 1 or given.get("engine") not in (None, "local")
        if elsewhere and not _survives_pickling(task):
            raise UserError(
                "--num_workers, --engine: the environment's function cannot be sent to another process: define it at the top "
                "level of a module."
            )
        return settings
    there = 1 if isinstance(task.held, gymnasium.Env) else task.held.num_envs
    what = "an object" if isinstance(task.held, gymnasium.Env) else f"{task.name} of {there}"
    if given.get("num_env") not in (None, 0, there):
        raise UserError(
            f"--num_env={given['num_env']}: the environment is {what}, of which there is one: give its id, or a function "
            "that makes it."
        )
    if (given.get("num_workers") or 1) > 1 or given.get("engine") not in (None, "local"):
        flag = "num_workers" if (given.get("num_workers") or 1) > 1 else "engine"
        raise UserError(
            f"--{flag}={given[flag]}: the environment is {what}, which stays in the process where it was made: "
            "give its id, or a function that makes it."
        )
    if isinstance(task.held, gymnasium.Env) and task.kwargs:
        settings["env_kwargs"] = json.dumps(task.kwargs, sort_keys=True)
    return {**settings, "num_env": there}


def single(task: Task, name: str, beside: str = "") -> Task:
    """The task, if it is of one environment.

    Args:
      name: what gave it, for the message.
      beside: what to give beside one environment, in which `{num_envs}` is how many these are.

    Raises:
      UserError: it is of several that step together.
    """
    if isinstance(task.held, _STEPPED):
        count, known = task.held.num_envs, _id_within(task.held)
        one = f"env={known!r}" if known else "its id"
        raise UserError(
            f"{name} must be one environment, not {task.name} of {count}: give {one}, or a "
            f"function that makes one of them{beside.format(num_envs=count)}."
        )
    return task


def are_one(task: Task, other: Task) -> bool:
    """Whether both are the same object, maybe in different wrappers."""
    inner = [getattr(one.held, "unwrapped", one.held) for one in (task, other)]
    return inner[0] is not None and inner[0] is inner[1]


def costs(task: Task) -> list[str]:
    """What it costs that the environment is no name, a sentence each."""
    lines = []
    if task.held is not None:
        lines.append(
            f"{task.name} is an object that cannot be made again: no worker processes, and a run that is resumed with it (no "
            "exact resume) need not have the numbers of one that was not interrupted."
        )
    if isinstance(task.held, VecEnv):
        lines.append(f"{task.name} keeps the random streams that it was made with: --seed sets weights and updates alone.")
    if task.name.startswith("object("):
        lines.append(
            f"flags.txt cannot name {task.name}: to resume or evaluate the run, the environment has to be given again."
        )
    elif task.held is not None:
        lines.append(
            f"The run is recorded as --env={task.name}: what was changed in the object since it was made is not in that."
        )
    return lines


def fresh(task: Task) -> Task:
    """The task of which worlds besides those of training can be made.

    Raises:
      UserError: it is an object that nothing says how to make.
    """
    if task.held is None:
        return task
    if task.name.startswith("object("):
        raise UserError(f"{task.name} cannot be made again, so evaluations (--eval_interval) need an eval_env of their own.")
    return dataclasses.replace(task, held=None, factory=None)


def keywords(env_kwargs: Any) -> dict[str, Any]:
    """The arguments that JSON text, or a mapping, stands for: what JSON makes of them.

    Raises:
      UserError: it is no JSON object.
    """
    if env_kwargs is None:
        return {}
    try:
        text = env_kwargs if isinstance(env_kwargs, str) else json.dumps(dict(env_kwargs), default=_plain)
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"--env_kwargs={env_kwargs} is no JSON ({error}): write it as --env_kwargs='{{\"forward_reward_weight\": 2}}'. "
            "What JSON cannot hold, a function given as env can."
        ) from None
    if not isinstance(found, dict):
        raise UserError(f"--env_kwargs={env_kwargs} must be a JSON object: '{{\"forward_reward_weight\": 2}}'.")
    return found


def canonical_keywords(env_kwargs: Any) -> str | None:
    """`keywords` as the text of the flag; None where there are none."""
    found = keywords(env_kwargs)
    return json.dumps(found, sort_keys=True) if found else None


def wrapper_names(env_wrapper: Any) -> list[str]:
    """Each wrapper as `module:name`, innermost first, of a text with commas or a sequence of names, classes and functions.

    Raises:
      UserError: a wrapper that has no such name.
    """
    if env_wrapper is None:
        return []
    if isinstance(env_wrapper, str):
        return [name.strip() for name in env_wrapper.split(",") if name.strip()]
    names = []
    for one in env_wrapper if isinstance(env_wrapper, list | tuple) else [env_wrapper]:
        name = one if isinstance(one, str) else named.name_of(one)
        if name is None:
            raise UserError(
                f"env_wrapper {one!r} is not at the top level of a module, so that flags.txt cannot name it: move it there, "
                "or give env as a function that makes the wrapped environment."
            )
        names.append(name)
    return names


def canonical_wrappers(env_wrapper: Any) -> str | None:
    """`wrapper_names` as the text of the flag; None where there are none."""
    return ",".join(wrapper_names(env_wrapper)) or None


def _plain(value: Any) -> Any:
    """A NumPy array or number as JSON has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not what JSON holds")


def _of_spec(spec: EnvSpec) -> Task:
    if _says_all(spec):
        return dataclasses.replace(tasks.resolve(spec.id), kwargs=_arguments(spec))
    made = functools.partial(gymnasium.make, spec)
    return Task(f"object({spec.id})", f"object({spec.id})", tasks.kind_of_factory(made), factory=made)


def _of_object(env: gymnasium.Env) -> Task:
    spec, kind = env.spec, tasks.kind_of_class(type(env.unwrapped))
    known = spec is not None and _says_all(spec) and _is_as_made(env)
    name = spec.id if spec is not None and known else f"object({type(env.unwrapped).__name__})"
    kwargs = _arguments(spec) if spec is not None and known else {}
    return Task(name, name, kind, kwargs=kwargs, factory=HandOut(env), held=env)


def _of_function(env: Callable[..., Any]) -> Task:
    function, kwargs = env, {}
    if isinstance(env, functools.partial) and not env.args and _is_json(env.keywords):
        function, kwargs = env.func, dict(env.keywords)
    name = named.name_of(function)
    if name is None:
        name, function, kwargs = f"object({getattr(env, '__name__', type(env).__name__)})", env, {}
    return Task(name, name, tasks.kind_of_factory(function, **kwargs), kwargs=kwargs, factory=function)


def _says_all(spec: EnvSpec) -> bool:
    """Whether an id that everybody's registry has, and arguments in JSON, make the same."""
    own = registry.get(spec.id)
    packaged = own is not None and isinstance(own.entry_point, str) and own.entry_point.startswith(("gymnasium.", "wng_tf."))
    return packaged and not spec.additional_wrappers and _is_json(spec.kwargs)


def _is_as_made(env: gymnasium.Env) -> bool:
    """Whether there is no wrapper around it that its specification does not have."""
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        if not type(layer).__module__.startswith("gymnasium."):
            return False
        layer = layer.env
    return True


def _arguments(spec: EnvSpec) -> dict[str, Any]:
    own = registry[spec.id]
    changed = {name: value for name, value in spec.kwargs.items() if own.kwargs.get(name) != value and name != "render_mode"}
    limit = {} if spec.max_episode_steps == own.max_episode_steps else {"max_episode_steps": spec.max_episode_steps}
    return {**changed, **limit}


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def _kind_of_stepped(env: Any) -> tasks.Kind:
    first = _first_within(env)
    return "other" if first is None else tasks.kind_of_class(type(first.unwrapped))


def _id_within(env: Any) -> str | None:
    """The id that the environments which step together were made by, if that is known."""
    spec = getattr(env, "spec", None) or getattr(_first_within(env), "spec", None)
    return getattr(spec, "id", None)


def _first_within(env: Any) -> Any:
    """The first of the environments that step together; None if they are not in this process."""
    inside = getattr(env, "slots", None) or getattr(getattr(env, "unwrapped", env), "envs", None)
    return getattr(inside[0], "env", inside[0]) if inside else None


def _survives_pickling(task: Task) -> bool:
    try:
        pickle.dumps(task)
    except Exception:  # whatever its __reduce__ does
        return False
    return True
