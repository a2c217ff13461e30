"""How a user stops a run: Ctrl-C, SIGTERM or SIGHUP, once after this update, twice at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any

from baselines_compat.vec_env.processes import STOP_SIGNALS, leave_terminal


class Interrupted(Exception):
    """The user asked to stop (Ctrl-C, SIGTERM or SIGHUP); the state is saved."""


class StopNow(KeyboardInterrupt):
    """The user asked to stop twice."""


class StopRequest:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a flag; the same one again interrupts at once.

    The same one: a scheduler and the sweep that it stops may both tell a run, each in its own way.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._received: set[int] = set()
        self._previous: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        return bool(self._received)

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            # Under nohup a hangup stays ignored.
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if number in self._received:
            raise StopNow
        first = not self._received
        self._received.add(number)
        if number not in (signal.SIGINT, signal.SIGTERM):
            leave_terminal()
        if first:
            with contextlib.suppress(OSError):
                self._say("Stopping after this update; once more stops at once.")

    def remove(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
