"""One environment, for commands that step it themselves: `with guarded("Hopper-v5") as world:`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import gymnasium

from baselines_compat.vec_env.faults import EnvironmentFailure, failure, is_users, naming
from baselines_compat.vec_env.watched import Watched
from wng_tf.envs import tasks
from wng_tf.envs.tasks import Task


class Guarded(gymnasium.Wrapper):
    """An environment whose exceptions have its name, and that can be reset before its episode ends.

    One that refuses an early reset (a monitor that records whole episodes) is replaced by a fresh one, which is all the
    same to a reset with a seed.

    Args:
      name: as for `tasks.make`.
      timeout: seconds after which it is given up when it does not come back; 0: never.
      **kwargs: for `tasks.make`.

    Raises:
      UserError: as for `tasks.make`.
      EnvironmentFailure: from every method: the environment raised, or hung.
    """

    def __init__(self, name: str | Task, timeout: float = 0.0, **kwargs: Any):
        self._make = lambda: tasks.make(name, **kwargs)
        self._who = name.name if isinstance(name, Task) else name
        self._open = False
        self._watched = Watched(timeout)
        super().__init__(self._watch(self._make))

    def _watch(self, function: Callable[[], Any]) -> Any:
        return self._watched.call(function, lambda: self._who)

    def reset(self, **kwargs: Any):
        return self._watch(lambda: self._reset(**kwargs))

    def render(self):
        return self._watch(self.env.render)

    def _reset(self, **kwargs: Any):
        try:
            with naming(self._who, "reset"):
                result = self.env.reset(**kwargs)
        except EnvironmentFailure:
            if not self._open:
                raise
            with contextlib.suppress(Exception):
                self.env.close()
            self.env = self._make()
            with naming(self._who, "reset"):
                result = self.env.reset(**kwargs)
        self._open = True
        return result

    def step(self, action: Any):
        return self._watch(lambda: self._step(action))

    def _step(self, action: Any):
        try:
            result = self.env.step(action)
        except BaseException as error:
            if is_users(error):
                raise
            raise failure(error, self._who, "step") from error
        with contextlib.suppress(TypeError, IndexError, ValueError):  # whoever reads the result says what is wrong with it
            self._open = not result[2]  # of an outer time limit what is inside does not know
        return result

    def close(self) -> None:
        if self._watched.hung is None:
            with naming(self._who, "close"):
                self._watch(self.env.close)
            self._watched.close()

    def __exit__(self, kind: type[BaseException] | None = None, *rest: Any) -> Literal[False]:
        # What ended the block counts, and not what closing after it meets.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(EnvironmentFailure):
            self.close()
        return False
