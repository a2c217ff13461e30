"""The engine of one machine: a thread a job, each of which waits for a process of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_TICK_SECONDS = 0.2


class LocalEngine:
    """`map` over `jobs` threads. The functions only wait for processes, so threads do."""

    def __init__(self, jobs: int):
        self._jobs = jobs
        self._stop = threading.Event()

    def map(
        self, function: Callable[[Item, Callable[[], bool]], Result], items: Iterable[Item], tick: Callable[[], None]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yields (item, result) as they come, or (item, exception) where the function raised.

        Args:
          function: takes an item and a function that tells whether to stop.
          items: begun in this order; each is drawn when there is room for it, and not before.
          tick: called several times a second while waiting.
        """
        source = iter(items)
        results: queue.SimpleQueue = queue.SimpleQueue()
        at_work = 0
        while True:
            while at_work < self._jobs and not self._stop.is_set():
                try:
                    item = next(source)
                except StopIteration:
                    break
                threading.Thread(target=self._work, args=(function, item, results), daemon=True).start()
                at_work += 1
            if not at_work:
                return
            tick()
            try:
                result = results.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            at_work -= 1
            yield result

    def stop(self) -> None:
        """Asks every function at work to end; those that have not begun are not called."""
        self._stop.set()

    def _work(self, function: Callable, item: Item, results: queue.SimpleQueue) -> None:
        try:
            results.put((item, function(item, self._stop.is_set)))
        except Exception as error:
            results.put((item, error))
