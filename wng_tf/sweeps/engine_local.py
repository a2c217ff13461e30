"""The engine of one machine: a thread a job, each of which waits for a process of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
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
        self, function: Callable[[Item, Callable[[], bool]], Result], items: Sequence[Item], tick: Callable[[], None]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yields (item, result) as they come, or (item, exception) where the function raised.

        Args:
          function: takes an item and a function that tells whether to stop.
          items: begun in this order.
          tick: called several times a second while waiting.
        """
        waiting: queue.SimpleQueue = queue.SimpleQueue()
        results: queue.SimpleQueue = queue.SimpleQueue()
        for item in items:
            waiting.put(item)
        threads = [
            threading.Thread(target=self._work, args=(function, waiting, results), daemon=True)
            for _ in range(min(self._jobs, len(items)))
        ]
        for thread in threads:
            thread.start()
        while True:
            tick()
            # Asked before the queue: what a thread leaves there before it ends is not lost.
            at_work = any(thread.is_alive() for thread in threads)
            try:
                yield results.get(timeout=_TICK_SECONDS if at_work else 0.0)
            except queue.Empty:
                if not at_work:
                    return

    def stop(self) -> None:
        """Asks every function at work to end; those that have not begun are not called."""
        self._stop.set()

    def _work(self, function: Callable, waiting: queue.SimpleQueue, results: queue.SimpleQueue) -> None:
        while not self._stop.is_set():
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results.put((item, function(item, self._stop.is_set)))
            except Exception as error:
                results.put((item, error))
