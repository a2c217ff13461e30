"""The engine of many machines: a Ray task a job. The sweep's folder must be one that every node sees.

A task whose worker or node is lost is started again by Ray, on another node if need be. It then meets what the lost one
left on disk: a run that is still alive is waited for, a dead one continues from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from wng_tf.cluster.connect import join

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often Ray may start a task again after losing its worker or node.
LOST_WORKER_RETRIES = 5

_TICK_SECONDS = 0.2


class RayEngine:
    """`map` over Ray tasks of one CPU each.

    Args:
      jobs: tasks given to Ray at a time; None: all, and Ray runs as many as the cluster has CPUs.
      address: of the cluster (`auto` or `host:6379`); None: a cluster of this machine alone.

    Raises:
      UserError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, jobs: int | None = None, address: str | None = None):
        self._ray = join(address, jobs)  # a cluster of our own gets --jobs CPUs; one that runs already has its own number
        self._jobs = jobs
        self._tasks: dict[Any, Any] = {}
        self._stopping = False

    def map(
        self, function: Callable[[Item, Callable[[], bool]], Result], items: Iterable[Item], tick: Callable[[], None]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """As `LocalEngine.map`; the function is told to stop by a KeyboardInterrupt.

        Of items that are made as they are drawn (no `Sequence`) no more are drawn than the cluster has CPUs.
        """
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=LOST_WORKER_RETRIES)(_call)
        source = iter(items)
        most = self._jobs if isinstance(items, Sequence) else self._jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        while True:
            while not self._stopping and (most is None or len(self._tasks) < most):
                try:
                    item = next(source)
                except StopIteration:
                    break
                self._tasks[task.remote(function, item)] = item
            if not self._tasks:
                return
            tick()
            ready, _ = ray.wait(list(self._tasks), num_returns=1, timeout=_TICK_SECONDS)
            for reference in ready:
                item = self._tasks.pop(reference)
                try:
                    yield item, ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield item, error

    def stop(self) -> None:
        """Cancels every task; those that have not begun are not begun."""
        self._stopping = True
        for reference in self._tasks:
            self._ray.cancel(reference, force=False)


def _call(function: Callable[[Item, Callable[[], bool]], Result], item: Item) -> Result:
    return function(item, _never)


def _never() -> bool:
    return False
