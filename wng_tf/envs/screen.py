"""Environments on a screen: `with showing("Hopper-v5") as world:` and step `world`."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium

from wng_tf.envs import tasks
from wng_tf.envs.guarded import Guarded
from wng_tf.errors import UserError

#: Kinds of tasks whose windows are known to need a screen; others are tried.
_WINDOWS = frozenset({"mujoco", "pybullet", "classic"})
#: Those that do not draw by themselves, as Gymnasium's do with render_mode="human".
_DRAWN_BY_HAND = frozenset({"pybullet"})
_FILM = "film the policy instead, with python -m wng_tf.evaluate --run=FOLDER --video=film.mp4"


def check(env: str) -> None:
    """Say early that there is no screen for an environment's window.

    Raises:
      UserError: there is none; or there is no such environment.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        return
    kind = tasks.resolve(env).kind
    if kind in _WINDOWS and not (kind == "classic" and os.environ.get("SDL_VIDEODRIVER")):  # pygame's own word for where
        raise UserError(
            f"{env} cannot be shown: there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set). Run this where there "
            f"is a screen, or {_FILM}."
        )


@contextlib.contextmanager
def showing(env: str, timeout: float = 0.0) -> Iterator[gymnasium.Env]:
    """An environment that shows itself as it is stepped.

    Args:
      env: a short name or a Gymnasium id.
      timeout: seconds after which the environment is given up when it does not come back; 0: never.

    Raises:
      UserError: as `check`; the environment cannot be made, or has no window.
      EnvironmentFailure: from the world's methods: the environment raised, such as where its window cannot be opened.
    """
    check(env)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*render_mode='human'.*")  # what it warns of is refused below
        made = Guarded(env, timeout, render_mode="human")
    with made as world:
        if "human" not in (world.metadata.get("render_modes") or ()):
            raise UserError(f"{env} cannot be shown: it has no render mode 'human'. Where it draws pictures, {_FILM}.")
        yield _Drawn(world) if tasks.resolve(env).kind in _DRAWN_BY_HAND else world


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
