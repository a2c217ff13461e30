"""What an actor's shell holds: the object, and how what it raises is told to the process that called. No TensorFlow."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from typing import Any

from baselines_compat.errors import NonFiniteError, UserError
from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError, described
from baselines_compat.vec_env.processes import survives_pickling

Answer = tuple[str, Any]


class Served:
    """An object that is made when it is first needed.

    Args:
      make: makes it.
    """

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._object: Any = None

    def answer(self, method: str, args: tuple[Any, ...]) -> Answer:
        """("ok", result), ("raised", exception) or ("error", traceback)."""
        making = self._object is None
        try:
            if making:
                self._object = self._make()
                making = False
            return "ok", getattr(self._object, method)(*args)
        except BaseException as error:
            return _told(error, making)


def _told(error: BaseException, making: bool) -> Answer:
    # What the program that started the actor could make and this one cannot, this machine lacks.
    if making and isinstance(error, UserError):
        return "raised", UserError(f"A Ray actor on {socket.gethostname()} cannot do its part: {error}")
    if isinstance(error, NonFiniteError | UserError | EnvironmentFailure):
        return "raised", error
    if making and isinstance(error, ValueError):
        return "raised", error if survives_pickling(error) else ValueError(described(error))
    return "error", traceback.format_exc()


def opened(answer: Answer) -> Any:
    """The result of an answer.

    Raises:
      UserError: the actor cannot load what it is to run.
      BaseException: what the object raised.
      WorkerError: anything else that was raised, with its traceback.
    """
    word, value = answer
    if word == "ok":
        return value
    if word == "raised":
        raise value
    if word == "missing":
        raise UserError(
            f"A Ray actor cannot load its part of the program, {value}: every node of the cluster needs the same "
            "packages and modules as this machine."
        )
    raise WorkerError(f"A Ray actor failed:\n{value}")
