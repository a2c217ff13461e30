"""What the logic of this package asks of the library that runs actors, and the one way in which an actor is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError
from wng_tf.errors import UserError

MOST_LOSSES = 5
"""How often in turn the same piece of work may lose its actor: then the work itself is what ends them."""

START_SECONDS = 300.0
"""How long the first actor may take to start: a cluster may be busy, and TensorFlow is slow to import."""

TICK_SECONDS = 0.5

CLOSE_SECONDS = 5.0
"""How long environments may take to close."""


class Lost(Exception):
    """The actor died, or cannot be reached: nothing is known of what it was told, and it is of no use any more."""


class Engine(Protocol):
    """Actors: each holds one object, made in it, and calls its methods one after another.

    Actors and tickets are the engine's own: they are hashable, and nothing else is known of them.
    """

    def start(self, make: Callable[[], Any], *, cpus: int = 1) -> Any:
        """An actor that makes its object at its first call; starting goes on by itself.

        Args:
          make: picklable.
          cpus: processors that it takes up.
        """

    def call(self, actor: Any, method: str, *args: Any) -> Any:
        """Has the actor call a method of its object. A ticket for the result."""

    def share(self, value: Any) -> Any:
        """A value that several calls take as an argument, sent once."""

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """The tickets whose calls have ended, as soon as there is one, or when so many seconds have passed."""

    def result(self, ticket: Any) -> Any:
        """What the call returned.

        Raises:
          Lost: the actor was lost before the result was here.
          UserError: the actor cannot make its object, for want of a module.
          BaseException: what the method raised, if it is of a kind that the user is to see.
          WorkerError: anything else that was raised, with its traceback.
        """

    def end(self, actor: Any) -> None:
        """Ends the actor, whatever it does. An actor that is lost or has ended is passed over."""

    def free(self) -> float:
        """Processors that no actor takes up."""

    def describe(self) -> str:
        """What there is, in words: `the cluster has 4 CPUs, of which 1 is free`."""

    def close(self) -> None:
        """Ends everything that was started."""


def asked_to_close(engine: Engine, actors: Sequence[Any]) -> EnvironmentFailure | None:
    """Has the objects of idle actors close their environments. The first failure of an environment; others do not matter."""
    failure = None
    closing = {engine.call(actor, "close") for actor in actors}
    until = time.monotonic() + CLOSE_SECONDS
    while closing and time.monotonic() < until:
        for ticket in engine.wait(list(closing), TICK_SECONDS):
            closing.remove(ticket)
            try:
                engine.result(ticket)
            except EnvironmentFailure as error:
                failure = failure or error
            except (Lost, UserError, WorkerError):
                continue
    return failure
