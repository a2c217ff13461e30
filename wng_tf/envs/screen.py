"""Environments on a screen: `with showing("Hopper-v5") as world:` and step `world`."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium

from wng_tf.envs import tasks, traits
from wng_tf.envs.apart import placed
from wng_tf.envs.guarded import Guarded
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError

#: Kinds of tasks whose windows are known to need a screen; others are tried.
_WINDOWS = frozenset({"mujoco", "pybullet", "classic"})
#: Those whose windows are OpenGL's, which does not go together with TensorFlow in one process.
_OPENGL = frozenset({"mujoco", "pybullet"})
#: Those that do not draw by themselves, as Gymnasium's do with render_mode="human".
_DRAWN_BY_HAND = frozenset({"pybullet"})
_FILM = "film the policy instead, with python -m wng_tf.evaluate --run=FOLDER --video=film.mp4"


def check(env: str | Task) -> None:
    """Say early that there is no screen for an environment's window.

    Raises:
      UserError: there is none; or there is no such environment.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        return
    task = tasks.resolve(env)
    kind = task.kind
    if kind in _WINDOWS and not (kind == "classic" and os.environ.get("SDL_VIDEODRIVER")):  # pygame's own word for where
        raise UserError(
            f"{task.name} cannot be shown: there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set). Run this where "
            f"there is a screen, or {_FILM}."
        )


@contextlib.contextmanager
def showing(env: str | Task, timeout: float = 0.0, own_process: bool | None = False) -> Iterator[gymnasium.Env]:
    """An environment that shows itself as it is stepped.

    Args:
      env: a short name, a Gymnasium id or a task.
      timeout: seconds after which the environment is given up when it does not come back; 0: never.
      own_process: whether the environment is in a process of its own, see `placed`.

    Raises:
      UserError: as `check`; the environment cannot be made, or has no window.
      EnvironmentFailure: from the world's methods: the environment raised, such as where its window cannot be opened.
      WorkerError: the process died.
    """
    check(env)
    task = tasks.resolve(env)
    with placed(functools.partial(_showing, task, timeout), task, _OPENGL, own_process) as world:
        yield world


@contextlib.contextmanager
def _showing(task: Task, timeout: float) -> Iterator[gymnasium.Env]:
    """`showing` in this process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*render_mode='human'.*")  # what it warns of is refused below
        made = Guarded(task, timeout, **traits.drawing(task, "human"))
    with made as world:
        if "human" not in (world.metadata.get("render_modes") or ()):
            raise UserError(f"{task.name} cannot be shown: it has no render mode 'human'. Where it draws pictures, {_FILM}.")
        yield _Drawn(world) if task.kind in _DRAWN_BY_HAND else world


class _Drawn(gymnasium.Wrapper):
    """Renders after every reset and step, which lets PyBullet's window keep the pace of time."""

    def reset(self, **kwargs: Any):
        result = self.env.reset(**kwargs)
        self.env.render()
        return result

    def step(self, action: Any):
        result = self.env.step(action)
        self.env.render()
        return result
