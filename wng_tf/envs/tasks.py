"""From what a user writes after `--env` to an environment that the algorithms can train on.

A name is a short name (a task of the paper on the embedded engine, PyBullet), any Gymnasium id (`Hopper-v5`), or
`module:Id-v0`, which imports `module` first so that it can register its ids.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator, registry

import wng_tf.envs  # noqa: F401  registers our ids
from baselines_compat.vec_env.faults import described, is_users, naming
from baselines_compat.vec_env.watched import Watched
from wng_tf.envs.space_checks import check_actions, flat_observations
from wng_tf.errors import UserError

Kind = Literal["mujoco", "pybullet", "classic", "other"]

#: The kinds in words.
KINDS: dict[str, str] = {"mujoco": "MuJoCo", "pybullet": "PyBullet", "classic": "classic-control", "other": "other"}

SHORT_NAMES: dict[str, str] = {
    "Hopper": "wng_tf/HopperBullet-v0",
    "Walker2d": "wng_tf/Walker2dBullet-v0",
    "HalfCheetah": "wng_tf/HalfCheetahBullet-v0",
    "Ant": "wng_tf/AntBullet-v0",
    "Humanoid": "wng_tf/HumanoidBullet-v0",
    "Reacher": "wng_tf/ReacherBullet-v0",
    "DoublePendulum": "wng_tf/InvertedDoublePendulumBullet-v0",
    "Point": "wng_tf/Point-v0",
    "Quadruped": "wng_tf/Quadruped-v0",
}

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
    """

    name: str
    env_id: str
    kind: Kind
    kwargs: dict[str, Any] = field(default_factory=dict)


def resolve(name: str) -> Task:
    """The task behind a short name, a Gymnasium id or `module:Id-v0`; the environment is not made.

    Raises:
      UserError: no such environment, with the closest names; or its module cannot be imported.
    """
    env_id = SHORT_NAMES.get(name, name)
    spec = _find_spec(name, env_id)
    return Task(name=name, env_id=env_id, kind=_kind(spec))


def check(task: Task) -> None:
    """Say early that an environment cannot be made, as far as that is known without making it.

    Raises:
      UserError: Gymnasium keeps the id only to say that the environment has gone.
    """
    if _has_moved(task.env_id.rpartition(":")[2]):
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
        Watched(timeout).call(lambda: make(task.name).close(), lambda: task.name)
    except UserError:
        raise
    except Exception:
        return


def make(name: str, *, heads: Sequence[Any] = (), **kwargs: Any) -> gymnasium.Env:
    """Makes the environment of `resolve(name)` with flat observations.

    Dict, Tuple, discrete and multi-dimensional observations are flattened to one vector, images to fractions of 255; the
    observation space remembers the environment's own (`FlatBox`). Gymnasium's passive checker is left out: it changes no
    number, and costs time at every step.

    Args:
      name: as for `resolve`. Pass the name, not the environment, to a spawned worker.
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
    try:
        env = gymnasium.make(_faster(task.env_id), **options)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise UserError(f"{_title(task)} cannot be made: {_sentence(error)}{_advice_for(task, error)}") from error
    except (TypeError, gymnasium.error.Error) as error:
        if isinstance(error, TypeError) and not kwargs:
            raise  # nothing was asked of it that it could refuse
        raise UserError(f"{_title(task)} cannot be made with {kwargs or 'its defaults'}: {_sentence(error)}") from error
    try:
        check_actions(_title(task), env.action_space, heads)
        return flat_observations(_title(task), env)
    except UserError:
        env.close()
        raise


def _faster(env_id: str) -> EnvSpec | str:
    """The id's specification with the faster class of the same numbers behind it, or the id where there is none."""
    spec = registry.get(env_id)
    if spec is None or not isinstance(spec.entry_point, str) or spec.entry_point not in _FASTER:
        return env_id
    spec = copy.deepcopy(spec)
    spec.entry_point = _FASTER[str(spec.entry_point)]
    return spec


def _find_spec(name: str, env_id: str) -> EnvSpec:
    module, _, bare_id = env_id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UserError(
                f"--env {name}: module {module!r} cannot be imported ({error}). Install it, or correct its name."
            ) from error
        except BaseException as error:  # a module may raise anything, and may end the process
            if is_users(error):
                raise
            raise UserError(
                f"--env {name}: module {module!r} cannot be imported ({described(error)}). Correct it."
            ) from error
    elif bare_id not in registry and "BulletEnv-" in bare_id:
        _register_packaged_bullet_ids(name)
    if bare_id in registry:
        return registry[bare_id]
    raise UserError(_unknown(name, module, bare_id))


def _register_packaged_bullet_ids(name: str) -> None:
    try:
        importlib.import_module("pybullet_envs_gymnasium")
    except ImportError as error:
        raise UserError(
            f"--env {name}: {_sentence(error)} Try: pip install pybullet_envs_gymnasium (from Python 3.12 on with "
            "--no-deps, because it asks for pybullet by a name that has no wheels there), or the same tasks without it: "
            f"{', '.join(short for short, env_id in SHORT_NAMES.items() if 'Bullet' in env_id)}."
        ) from error


def _unknown(name: str, module: str, bare_id: str) -> str:
    hint = _did_you_mean(bare_id)
    if module:
        return f"There is no environment {name!r}: the module {module!r} registers no {bare_id!r}. {hint or _ids_of(module)}"
    hint = hint or f"Short names are {', '.join(SHORT_NAMES)}."
    return f"There is no environment {name!r}. {hint} For an id that another package registers, write module:Id-v0."


def _did_you_mean(bare_id: str) -> str:
    """A question with the closest names that there are; empty if none is close."""
    wanted = bare_id.lower()
    stem = _stem(wanted)
    known = {candidate.lower(): candidate for candidate in [*SHORT_NAMES, *filter(_can_be_made, registry)]}
    close = [known[wanted]] if wanted in known else []
    # Then the same task under another version, the newest first, then names that look alike.
    close += sorted((known[low] for low in known if _stem(low) == stem), reverse=True)
    close += [known[low] for low in difflib.get_close_matches(wanted, known, n=4)]
    close = list(dict.fromkeys(close))[:4]
    return f"Did you mean {' or '.join(close)}?" if wanted and close else ""


def _ids_of(module: str) -> str:
    """What the package registers, as a sentence."""
    package = module.partition(".")[0]
    entries = {env_id: _module_of(spec.entry_point).partition(".")[0] for env_id, spec in registry.items()}
    own = [env_id for env_id, owner in entries.items() if owner == package and _can_be_made(env_id)]
    if not own:
        return "It can be imported, but has no environments."
    return f"It has {', '.join(own[:8])}{' and others' if len(own) > 8 else ''}."


def _module_of(entry_point: Any) -> str:
    return entry_point.partition(":")[0] if isinstance(entry_point, str) else getattr(entry_point, "__module__", "") or ""


def _has_moved(bare_id: str) -> bool:
    """Whether Gymnasium keeps the id only to say where the environment went."""
    entry_point = registry[bare_id].entry_point
    return not isinstance(entry_point, str) and _module_of(entry_point) == "gymnasium.envs"


def _stem(env_id: str) -> str:
    return env_id.rpartition("-v")[0] or env_id


def _can_be_made(env_id: str) -> bool:
    """False for the ids that Gymnasium keeps only to say where the environment went."""
    return isinstance(registry[env_id].entry_point, str)


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
    bases = (_kind_of_module(base.__module__) for base in getattr(creator, "__mro__", ()))
    return next((kind for kind in bases if kind is not None), "other")


def _kind_of_module(module: str) -> Kind | None:
    return next((kind for prefix, kind in _KIND_OF_MODULE.items() if module.startswith(prefix)), None)


def _title(task: Task) -> str:
    return task.env_id if task.name == task.env_id else f"{task.name} ({task.env_id})"


def _sentence(error: BaseException) -> str:
    text = str(error).strip().rstrip(".")
    return f"{text}." if text else f"{type(error).__name__}."


def _advice_for(task: Task, error: BaseException) -> str:
    bare_id = task.env_id.rpartition(":")[2]
    return f" {_did_you_mean(bare_id)}" if _has_moved(bare_id) else _advice(error, task.kind)


def _advice(error: BaseException, kind: Kind) -> str:
    # Gymnasium's own messages already carry the command.
    return "" if "pip install" in str(error) else f" Try: {_INSTALL[kind]}."
