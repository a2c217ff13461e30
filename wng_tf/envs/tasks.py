"""From what a user writes after `--env` to an environment that the algorithms can train on.

A name is a short name (a task of the paper on the embedded engine, PyBullet), any Gymnasium id (`Hopper-v5`),
`module:Id-v0`, which imports `module` first so that it can register its ids, or `module:name` of a class or function that
makes an environment. `wng_tf.envs.sources` has what else people hold: objects, and functions without a name.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator, registry

import wng_tf.envs  # noqa: F401  registers our ids
from baselines_compat.vec_env.faults import naming
from baselines_compat.vec_env.watched import Watched
from wng_tf.envs import ids, named
from wng_tf.envs.ids import SHORT_NAMES
from wng_tf.envs.space_checks import check_actions, flat_observations
from wng_tf.errors import UserError

Kind = Literal["mujoco", "pybullet", "classic", "other"]

#: The kinds in words.
KINDS: dict[str, str] = {"mujoco": "MuJoCo", "pybullet": "PyBullet", "classic": "classic-control", "other": "other"}

_KIND_OF_MODULE: dict[str, Kind] = {
    "gymnasium.envs.mujoco": "mujoco",
    "wng_tf.envs.point": "mujoco",
    "wng_tf.envs.quadruped": "mujoco",
    "wng_tf.envs.pybullet": "pybullet",
    "pybullet_envs_gymnasium": "pybullet",
    "gymnasium.envs.classic_control": "classic",
}

# Entry points of Gymnasium's and of the faster class with the same numbers.
_FASTER: dict[str, str] = {
    f"gymnasium.envs.mujoco.{packaged}": f"wng_tf.envs.{faster}"
    for packaged, faster in {
        "hopper_v5:HopperEnv": "mujoco_stepping:FastHopper",
        "walker2d_v5:Walker2dEnv": "mujoco_stepping:FastWalker2d",
        "half_cheetah_v5:HalfCheetahEnv": "mujoco_stepping:FastHalfCheetah",
        "swimmer_v5:SwimmerEnv": "mujoco_stepping:FastSwimmer",
        "inverted_pendulum_v5:InvertedPendulumEnv": "mujoco_stepping:FastPendulum",
        "inverted_double_pendulum_v5:InvertedDoublePendulumEnv": "mujoco_stepping:FastDoublePendulum",
        "ant_v5:AntEnv": "mujoco_stepping_bodies:FastAnt",
        "humanoid_v5:HumanoidEnv": "mujoco_stepping_bodies:FastHumanoid",
        "humanoidstandup_v5:HumanoidStandupEnv": "mujoco_stepping_bodies:FastHumanoidStandup",
        "reacher_v5:ReacherEnv": "mujoco_stepping_bodies:FastReacher",
        "pusher_v5:PusherEnv": "mujoco_stepping_bodies:FastPusher",
    }.items()
}

_INSTALL: dict[Kind, str] = {
    "mujoco": "pip install 'gymnasium[mujoco]'",
    "pybullet": (
        "pip install pybullet (Linux, up to Python 3.11) or pip install pybullet-arm64 (Python 3.10 to 3.13), which are "
        "one engine; where neither has a wheel, the tasks on MuJoCo, as --env=Hopper-v5"
    ),
    "classic": "pip install 'gymnasium[classic-control]'",
    "other": "install the package that provides it",
}


@dataclass(frozen=True)
class Task:
    """What a name after `--env` became.

    Attributes:
      name: what the user wrote.
      env_id: the Gymnasium id, with `module:` before it where the user named a module.
      kind: the physics behind it, which picks the defaults of the algorithms.
      kwargs: arguments for the environment's constructor.
      wrappers: each makes an environment of one; the first is the innermost.
      factory: makes the environment from `kwargs`, in the place of an id.
      held: the environment itself, or several that step together, where an object stands for an id.
    """

    name: str
    env_id: str
    kind: Kind
    kwargs: dict[str, Any] = field(default_factory=dict)
    wrappers: tuple[Callable[[Any], Any], ...] = ()
    factory: Callable[..., Any] | None = None
    held: Any = None

    @property
    def is_plain(self) -> bool:
        """Whether its id says all that there is to it."""
        return not (self.kwargs or self.wrappers or self.factory)


def resolve(name: str | Task) -> Task:
    """The task behind a short name, a Gymnasium id, `module:Id-v0` or `module:name`; one that is a task already.

    Raises:
      UserError: no such environment, with the closest names; or its module cannot be imported.
    """
    if isinstance(name, Task):
        if name.factory is None and name.held is None:
            _find(name.name, name.env_id)  # in another process its id may not be registered yet
        return name
    env_id = SHORT_NAMES.get(name, name)
    found = _find(name, env_id)
    if isinstance(found, EnvSpec):
        return Task(name=name, env_id=env_id, kind=_kind(found))
    return Task(name=name, env_id=env_id, kind=kind_of_factory(found), factory=found)


def check(task: Task) -> None:
    """Say early that an environment cannot be made, as far as that is known without making it.

    Raises:
      UserError: Gymnasium keeps the id only to say that the environment has gone.
    """
    if task.factory is None and ids.has_moved(task.env_id.rpartition(":")[2]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the sentence says it
            make(task.name)


def check_spaces(task: Task, timeout: float = 0.0) -> None:
    """Say early that an environment has spaces that no algorithm handles, by making one of somebody's own.

    Those of Gymnasium's that are robots or classic are known to be handled. Whatever else goes wrong while one is made is
    left to be met, and named, where it is made in earnest.

    Raises:
      UserError: the environment cannot be made, or its spaces are not handled.
    """
    if task.kind != "other":
        return
    try:
        Watched(timeout).call(lambda: make(task).close(), lambda: task.name)
    except UserError:
        raise
    except Exception:
        return


def make(name: str | Task, *, heads: Sequence[Any] = (), **kwargs: Any) -> gymnasium.Env:
    """Makes the environment of `resolve(name)` with flat observations.

    Dict, Tuple, discrete and multi-dimensional observations are flattened to one vector, images to fractions of 255; the
    observation space remembers the environment's own (`FlatBox`). Gymnasium's passive checker is left out: it changes no
    number, and costs time at every step.

    Args:
      name: as for `resolve`. Pass the name or the task, not the environment, to a spawned worker.
      heads: action heads to count besides the registered ones, for processes in which they are not registered.
      **kwargs: for the environment's constructor and `gymnasium.make` (`render_mode`, `max_episode_steps`, ...).

    Returns:
      An environment with a Box observation space of one dimension, and actions that a head takes: a Box, Discrete,
      MultiDiscrete or MultiBinary, unless others are registered.

    Raises:
      UserError: unknown name, missing dependency, refused argument, or a space the algorithms do not handle.
      EnvironmentFailure: the constructor raised anything else.
    """
    task = resolve(name)
    options = {"disable_env_checker": True, **task.kwargs, **kwargs}
    with naming(_title(task), "its constructor", UserError):
        return _make(task, options, kwargs, heads)


def _make(task: Task, options: dict[str, Any], kwargs: dict[str, Any], heads: Sequence[Any]) -> gymnasium.Env:
    asked = {**task.kwargs, **kwargs}
    try:
        env = gymnasium.make(_faster(task.env_id), **options) if task.factory is None else task.factory(**asked)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise UserError(f"{_title(task)} cannot be made: {_sentence(error)}{_advice_for(task, error)}") from error
    except (TypeError, gymnasium.error.Error) as error:
        if isinstance(error, TypeError) and not asked:
            raise  # nothing was asked of it that it could refuse
        raise UserError(f"{_title(task)} cannot be made with {asked or 'its defaults'}: {_sentence(error)}") from error
    _check_made(task, env, "it")
    try:
        for wrapper in task.wrappers:
            env = _wrapped(task, wrapper, env)
        check_actions(_title(task), env.action_space, heads)
        return flat_observations(_title(task), env)
    except UserError:
        env.close()
        raise


def _wrapped(task: Task, wrapper: Callable[..., Any], env: gymnasium.Env) -> gymnasium.Env:
    """The environment in one more wrapper.

    Raises:
      UserError: it takes other arguments than the environment alone, or makes something else than an environment.
      EnvironmentFailure: it raised.
    """
    name = getattr(wrapper, "__name__", str(wrapper))
    try:
        inspect.signature(wrapper).bind(env)
    except TypeError as error:
        raise UserError(
            f"The wrapper {name} of {_title(task)} cannot be made of the environment alone ({error}): give a function of "
            "the environment that makes it with its other arguments, as --env_wrapper=package.module:function."
        ) from None
    except ValueError:  # one that does not say what it takes
        pass
    with naming(_title(task), f"the wrapper {name}", UserError):
        wrapped = wrapper(env)
    _check_made(task, wrapped, f"the wrapper {name}")
    return cast(gymnasium.Env, wrapped)


def _faster(env_id: str) -> EnvSpec | str:
    """The id's specification with the faster class of the same numbers behind it, or the id where there is none."""
    spec = registry.get(env_id)
    if spec is None or not isinstance(spec.entry_point, str) or spec.entry_point not in _FASTER:
        return env_id
    spec = copy.deepcopy(spec)
    spec.entry_point = _FASTER[str(spec.entry_point)]
    return spec


def _check_made(task: Task, env: Any, maker: str) -> None:
    """UserError if something else was made than an environment."""
    if not isinstance(env, gymnasium.Env):
        raise UserError(f"{_title(task)}: {maker} made {type(env).__name__}, which is no Gymnasium environment.")


def _find(name: str, env_id: str) -> EnvSpec | Callable[..., Any]:
    module, _, bare_id = env_id.rpartition(":")
    if module:
        imported = named.import_module(module, f"--env {name}")
        if bare_id not in registry and callable(getattr(imported, bare_id, None)):
            return named.find(env_id, "env")
    elif bare_id not in registry and "BulletEnv-" in bare_id:
        _register_packaged_bullet_ids(name)
    if bare_id in registry:
        return registry[bare_id]
    if name.startswith("object("):
        raise UserError(
            f"The environment of this run, {name[7:-1]}, was given as an object or a function that flags cannot name: give "
            "it again, as learn(env=..., resume=True) or evaluate_run(run, env=...)."
        )
    raise UserError(ids.unknown(name, module, bare_id))


def _register_packaged_bullet_ids(name: str) -> None:
    try:
        importlib.import_module("pybullet_envs_gymnasium")
    except ImportError as error:
        raise UserError(
            f"--env {name}: {_sentence(error)} Try: pip install pybullet_envs_gymnasium (from Python 3.12 on with "
            "--no-deps, because it asks for pybullet by a name that has no wheels there), or the same tasks without it: "
            f"{', '.join(short for short, env_id in SHORT_NAMES.items() if 'Bullet' in env_id)}."
        ) from error


def _kind(spec: EnvSpec) -> Kind:
    creator: object = spec.entry_point
    if isinstance(creator, str):
        kind = _kind_of_module(creator)
        if kind is not None:
            return kind
        try:
            creator = load_env_creator(creator)
        except (ImportError, AttributeError, gymnasium.error.Error):
            return "other"  # `make` says what is missing
    return kind_of_class(creator)


def kind_of_class(creator: object) -> Kind:
    """The physics behind an environment's class, by the modules of its bases; "other" for what is no class."""
    bases = (_kind_of_module(base.__module__) for base in getattr(creator, "__mro__", ()))
    return next((kind for kind in bases if kind is not None), "other")


def kind_of_factory(factory: Callable[..., Any], **kwargs: Any) -> Kind:
    """The physics behind what a class, or a function, makes; a function is called to see."""
    if isinstance(factory, type):
        return kind_of_class(factory)
    try:
        env = factory(**kwargs)
        env.close()
        return kind_of_class(type(env.unwrapped))
    except Exception:  # `make` says what is wrong with it
        return "other"


def _kind_of_module(module: str) -> Kind | None:
    return next((kind for prefix, kind in _KIND_OF_MODULE.items() if module.startswith(prefix)), None)


def _title(task: Task) -> str:
    return task.env_id if task.name == task.env_id else f"{task.name} ({task.env_id})"


def _sentence(error: BaseException) -> str:
    text = str(error).strip().rstrip(".")
    return f"{text}." if text else f"{type(error).__name__}."


def _advice_for(task: Task, error: BaseException) -> str:
    bare_id = task.env_id.rpartition(":")[2]
    return f" {ids.did_you_mean(bare_id)}" if ids.has_moved(bare_id) else _advice(error, task.kind)


def _advice(error: BaseException, kind: Kind) -> str:
    # Gymnasium's own messages already carry the command.
    return "" if "pip install" in str(error) else f" Try: {_INSTALL[kind]}."
