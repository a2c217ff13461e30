"""Actors that share out pieces of work. Whoever is lost is replaced, and its piece given to another."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from baselines_compat.vec_env.faults import WorkerError
from wng_tf.cluster.engine import MOST_LOSSES, START_SECONDS, TICK_SECONDS, Engine, Lost, asked_to_close
from wng_tf.errors import UserError


class Crew:
    """`size` actors, each with an object of its own that does any piece of work.

    What a piece gives must depend on its arguments alone: then nothing depends on how many actors there are, on which of
    them does what, and on how many are lost.

    Args:
      engine: runs the actors.
      make: makes the object of one actor; it has methods `ready`, which returns when it can work, and `close`.
      size: how many actors.
      patience: seconds to wait for an actor where there is none.
    """

    def __init__(self, engine: Engine, make: Callable[[], Any], size: int, patience: float = START_SECONDS):
        self._engine, self._make, self._size, self._patience = engine, make, size, patience
        self._idle: deque[Any] = deque()
        self._starting: dict[Any, Any] = {}  # ticket -> actor
        self._busy: dict[Any, tuple[Any, int | None]] = {}  # ticket -> actor and its piece; None: nobody wants it any more
        self._lost_at_start = 0
        self._worked = False  # an actor has started before
        self._remarks: list[str] = []
        for _ in range(size):
            self._start()

    def map(self, method: str, pieces: Sequence[tuple[Any, ...]], meanwhile: Callable[[], Any] = lambda: None) -> list[Any]:
        """What the method gives for the arguments of each piece, in their order.

        Args:
          meanwhile: called once when the pieces are on their way.

        Raises:
          UserError: no actor starts, the first time.
          WorkerError: one piece after another lost its actor, or the same one too often.
          BaseException: what an actor's object raised.
        """
        self._busy = {ticket: (actor, None) for ticket, (actor, _) in self._busy.items()}
        waiting, results = deque(range(len(pieces))), dict[int, Any]()
        losses: Counter[int] = Counter()
        alone_since: float | None = None
        self._assign(method, pieces, waiting)
        meanwhile()
        while len(results) < len(pieces):
            for ticket in self._engine.wait([*self._busy, *self._starting], TICK_SECONDS):
                if ticket in self._starting:
                    self._started(ticket)
                    continue
                actor, piece = self._busy.pop(ticket)
                try:
                    result = self._engine.result(ticket)
                except Lost as lost:
                    self._replace(actor, lost)
                    if piece is not None:
                        losses[piece] += 1
                        if losses[piece] >= MOST_LOSSES:
                            raise WorkerError(
                                f"Part {piece} of {len(pieces)} lost its Ray actor {losses[piece]} times in turn, the last "
                                f"time because: {lost}. It may be what ends them; continue with --resume."
                            ) from lost
                        waiting.appendleft(piece)
                except BaseException:
                    self._idle.append(actor)
                    raise
                else:
                    self._idle.append(actor)
                    if piece is not None:
                        results[piece] = result
            self._assign(method, pieces, waiting)
            if self._busy:
                alone_since = None
            elif len(results) < len(pieces):
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > self._patience:
                    self._give_up()
        return [results[i] for i in range(len(pieces))]

    def remarks(self) -> list[str]:
        """What was lost since this was last asked, a sentence each."""
        told, self._remarks = self._remarks, []
        return told

    def close(self) -> None:
        """Ends all actors. EnvironmentFailure, once all have ended, if closing an environment raised."""
        failure = asked_to_close(self._engine, self._idle)
        for actor in [*self._idle, *self._starting.values(), *(actor for actor, _ in self._busy.values())]:
            self._engine.end(actor)
        self._idle.clear()
        self._starting, self._busy = {}, {}
        if failure is not None:
            raise failure

    def _start(self) -> None:
        actor = self._engine.start(self._make)
        self._starting[self._engine.call(actor, "ready")] = actor

    def _assign(self, method: str, pieces: Sequence[tuple[Any, ...]], waiting: deque[int]) -> None:
        while waiting and self._idle:
            actor, piece = self._idle.popleft(), waiting.popleft()
            self._busy[self._engine.call(actor, method, *pieces[piece])] = actor, piece

    def _started(self, ticket: Any) -> None:
        actor = self._starting.pop(ticket)
        try:
            self._engine.result(ticket)
        except Lost as lost:
            self._lost_at_start += 1
            if self._lost_at_start >= MOST_LOSSES:
                kind = WorkerError if self._worked else UserError
                raise kind(f"Ray actors do not start, {self._lost_at_start} in turn died first: {lost}.") from lost
            self._replace(actor, lost)
        else:
            self._lost_at_start, self._worked = 0, True
            self._idle.append(actor)

    def _replace(self, actor: Any, lost: Lost) -> None:
        self._engine.end(actor)
        self._remarks.append(f"A Ray actor was lost ({lost}): what it was doing is done again, to the same numbers.")
        self._start()

    def _give_up(self) -> None:
        sentence = f"No Ray actor has started within {self._patience:g} s: {self._engine.describe()}"
        if self._worked:
            raise WorkerError(f"{sentence}. Continue with --resume.")
        raise UserError(f"{sentence}. Free some, or choose a smaller --num_workers.")
