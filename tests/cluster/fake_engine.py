"""Actors that live in this process, end their calls in a shuffled order, and are lost when a test says so."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from wng_tf.cluster.engine import Lost
from wng_tf.cluster.served import Served, opened

Loses = Callable[[int, str, int], str | None]
"""From the number of an actor (in the order of their start), a method and the number of its call (over all actors) to when
that actor is lost: "before" or "after" it did what it was told; None: not then. "never" leaves the call without an end."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ticket:
    """A call."""

    number: int
    actor: int
    method: str
    args: tuple[Any, ...]


class FakeEngine:
    """An `Engine`.

    Args:
      loses: when actors are lost.
      seed: of the order in which calls end.

    Attributes:
      started: the number of processors of each actor started.
      called: actor and method of every call.
      cpus: how many are free.
      closed: whether it was closed.
    """

    def __init__(self, loses: Loses = lambda actor, method, call: None, seed: int = 0):
        self._loses = loses
        self._rng = np.random.default_rng(seed)
        self._numbers = itertools.count()
        self._calls: dict[str, itertools.count] = {}
        self._served: dict[int, Served] = {}
        self._ended: set[int] = set()
        self._answers: dict[Ticket, Any] = {}
        self._hanging: set[Ticket] = set()
        self.started: list[int] = []
        self.called: list[tuple[int, str]] = []
        self.cpus = 1.0
        self.closed = False

    def start(self, make: Callable[[], Any], *, cpus: int = 1) -> int:
        self.started.append(cpus)
        number = len(self.started) - 1
        self._served[number] = Served(pickle.loads(pickle.dumps(make)))
        return number

    def call(self, actor: int, method: str, *args: Any) -> Ticket:
        self.called.append((actor, method))
        return Ticket(next(self._numbers), actor, method, pickle.loads(pickle.dumps(args)))

    def share(self, value: Any) -> Any:
        return value

    def wait(self, tickets: list[Ticket], seconds: float) -> list[Ticket]:
        tickets = [ticket for ticket in tickets if ticket not in self._hanging]
        ended = [ticket for ticket in tickets if ticket in self._answers]
        if tickets and not ended:
            ticket = tickets[self._rng.integers(len(tickets))]
            # An actor's calls come one after another.
            ticket = min((other for other in tickets if other.actor == ticket.actor), key=lambda other: other.number)
            self._do(ticket)
            ended = [ticket] if ticket in self._answers else []
        return ended

    def _do(self, ticket: Ticket) -> None:
        when = None
        if ticket.actor not in self._ended:
            call = next(self._calls.setdefault(ticket.method, itertools.count()))
            when = self._loses(ticket.actor, ticket.method, call)
        if when == "never":
            self._hanging.add(ticket)
            return
        if when == "before" or ticket.actor in self._ended:
            self._ended.add(ticket.actor)
            self._answers[ticket] = None
            return
        answer = self._served[ticket.actor].answer(ticket.method, ticket.args)
        self._answers[ticket] = None if when == "after" else pickle.loads(pickle.dumps(answer))
        if when == "after":
            self._ended.add(ticket.actor)

    def result(self, ticket: Ticket) -> Any:
        answer = self._answers[ticket]
        if answer is None:
            raise Lost(f"actor {ticket.actor} died")
        return opened(answer)

    def end(self, actor: int) -> None:
        self._ended.add(actor)

    def free(self) -> float:
        return self.cpus

    def describe(self) -> str:
        return f"the cluster has {self.cpus:g} CPUs, {self.cpus:g} of them free"

    def close(self) -> None:
        self.closed = True


def losing(*losses: tuple[str, int, str]) -> Loses:
    """Actors are lost in those calls: method, number of its call, and "before" or "after"."""
    table = {(method, call): when for method, call, when in losses}
    return lambda actor, method, call: table.get((method, call))
