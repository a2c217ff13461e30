"""Calls of environments that are given up when they hang."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from baselines_compat.vec_env.faults import EnvironmentFailure

Result = TypeVar("Result")

LONGEST_WAIT = 1.0
"""Seconds between two looks at the progress, at most."""


class Watched:
    """Calls functions in a thread of its own, and leaves it behind when an environment does not come back.

    What is waited for is progress, so that a call may go through many steps: watching costs those nothing. An engine that
    hangs without ever letting go of Python's interpreter lock stops the thread that waits, too, and is not noticed.
    Counted are the waits themselves: what passes while the whole process is stopped (Ctrl-Z) is nobody's delay.

    Args:
      seconds: how long there may be no progress; 0: for ever, and calls are made directly.

    Attributes:
      hung: a call was given up; nothing more can be called.
    """

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds
        self.hung: EnvironmentFailure | None = None
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._results: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(
        self, function: Callable[[], Result], who: Callable[[], str], progress: Callable[[], Any] = lambda: None
    ) -> Result:
        """What `function` returns or raises.

        Args:
          function: made of calls of environments.
          who: names the one that is at work.
          progress: a value that changes with every step.

        Raises:
          EnvironmentFailure: it hung, now or earlier.
        """
        if not self.seconds:
            return function()
        if self.hung is not None:
            raise self.hung
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="environments", daemon=True)
            self._thread.start()
        self._calls.put(function)
        seen, waited = progress(), 0.0
        interval = min(self.seconds / 4, LONGEST_WAIT)
        while True:
            try:
                result, error = self._wait(interval)
            except queue.Empty:
                now = progress()
                seen, waited = now, waited + interval if now == seen else 0.0
                if waited >= self.seconds:
                    raise self._give_up(who()) from None
                continue
            if error is not None:
                raise error
            return result

    def _wait(self, seconds: float) -> tuple[Any, BaseException | None]:
        """What the call returned and what it raised. queue.Empty: it has not come back."""
        result: tuple[Any, BaseException | None] = self._results.get(timeout=seconds)
        return result

    def _work(self) -> None:
        while (function := self._calls.get()) is not None:
            try:
                self._results.put((function(), None))
            except BaseException as error:  # of whatever kind: it is raised where it is waited for
                self._results.put((None, error))

    def _give_up(self, who: str) -> EnvironmentFailure:
        assert self._thread is not None and self._thread.ident is not None  # it runs: it was waited for
        frame = sys._current_frames().get(self._thread.ident)
        where = "".join(traceback.format_stack(frame)) if frame is not None else ""
        self.hung = EnvironmentFailure(f"{who} hung: it did not come back within {self.seconds:g} s (--env_timeout).", where)
        return self.hung

    def close(self) -> None:
        """End the thread, unless it hangs."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread = None
