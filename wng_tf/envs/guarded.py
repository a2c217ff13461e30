"""One environment, for commands that step it themselves: `with guarded("Hopper-v5") as world:`."""

from __future__ import annotations

import contextlib
from typing import Any

import gymnasium

from baselines_compat.vec_env.faults import EnvironmentFailure, failure, is_users, naming
from wng_tf.envs import tasks


class Guarded(gymnasium.Wrapper):
    """An environment whose exceptions have its name, and that can be reset before its episode ends.

    One that refuses an early reset (a monitor that records whole episodes) is replaced by a fresh one, which is all the
    same to a reset with a seed.

    Args:
      name: as for `tasks.make`.
      **kwargs: for `tasks.make`.

    Raises:
      UserError: as for `tasks.make`.
      EnvironmentFailure: from every method: the environment raised.
    """

    def __init__(self, name: str, **kwargs: Any):
        self._make = lambda: tasks.make(name, **kwargs)
        self._who = name
        self._open = False
        super().__init__(self._make())

    def reset(self, **kwargs: Any):
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
        with naming(self._who, "close"):
            self.env.close()

    def __exit__(self, kind: type[BaseException] | None = None, *rest: Any) -> bool:
        # What ended the block counts, and not what closing after it meets.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(EnvironmentFailure):
            self.close()
        return False
