"""What can be said of a task's environment: its time limit, and how it is made so that it draws."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import gymnasium
from gymnasium.envs.registration import registry
from gymnasium.wrappers import TimeLimit

from wng_tf.envs import tasks
from wng_tf.envs.tasks import Task


def time_limit(task: Task) -> int | None:
    """Steps after which the task's environment cuts an episode; None if it does not say.

    Raises:
      UserError, EnvironmentFailure: as for `tasks.make`; of a task that its id alone says nothing is made.
    """
    if task.is_plain:
        return registry[task.env_id.rpartition(":")[2]].max_episode_steps
    with contextlib.ExitStack() as stack:
        if isinstance(task.held, gymnasium.Env):
            env = task.held
            for wrapper in task.wrappers:
                env = wrapper(env)
        else:
            env = tasks.make(task)
            stack.callback(env.close)
        return limit_of(env)


def limit_of(env: gymnasium.Env) -> int | None:
    """Steps after which the environment, or a time limit around it, cuts an episode; None if it does not say."""
    limits = [] if env.spec is None or env.spec.max_episode_steps is None else [env.spec.max_episode_steps]
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            limits.append(layer._max_episode_steps)
        layer = layer.env
    return min(limits, default=None)


def drawing(task: Task, mode: str) -> dict[str, Any]:
    """What the environment is made with so that it draws; functions of the user's may decide that themselves."""
    if task.factory is None:
        return {"render_mode": mode}
    try:
        inspect.signature(task.factory).bind_partial(render_mode=mode)
    except (TypeError, ValueError):
        return {}
    return {"render_mode": mode}
