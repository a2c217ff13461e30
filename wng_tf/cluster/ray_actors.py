"""The engine of Ray's actors."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from baselines_compat.vec_env.faults import WorkerError
from wng_tf.cluster import shell
from wng_tf.cluster.connect import join
from wng_tf.cluster.engine import Lost
from wng_tf.cluster.served import Served, opened
from wng_tf.errors import UserError

_DECIDING = ("numpy", "tensorflow", "gymnasium", "mujoco", "pybullet")
"""Packages of which another version may give other last digits."""


class RayActors:
    """See `engine.Engine`.

    Args:
      address: of the cluster, as for `connect.check_ray`.
      actors: how many there will be at a time; a cluster of this machine alone has as many CPUs.

    Raises:
      UserError: Ray is not installed, the cluster does not answer, or it has fewer CPUs.
    """

    def __init__(self, address: str | None, actors: int):
        before = _is_joined()
        self._ray = join(address, actors)
        self._leave = not before  # a connection that the program had before is the program's
        self._actors: set[Any] = set()
        total = self._ray.cluster_resources().get("CPU", 0.0)
        if total < actors:
            self.close()
            raise UserError(
                f"--num_workers={actors} is more than the {total:g} CPUs of the Ray cluster: each actor takes one. Choose "
                "fewer, or add nodes."
            )
        pickling = self._ray.cloudpickle
        pickling.register_pickle_by_value(shell)
        self._dumps = pickling.dumps
        self._class = self._ray.remote(max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(shell.Shell)

    def start(self, make: Callable[[], Any], *, cpus: int = 1) -> Any:
        about = sys.path, _variables(), _versions()
        actor = self._class.options(num_cpus=cpus).remote(*about, self._dumps(Served(make)))
        self._actors.add(actor)
        return actor

    def call(self, actor: Any, method: str, *args: Any) -> Any:
        return actor.call.remote(method, *args)

    def share(self, value: Any) -> Any:
        return self._ray.put(value)

    def wait(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        ready, _ = self._ray.wait(list(tickets), num_returns=len(tickets), timeout=0)
        if not ready and tickets:
            ready, _ = self._ray.wait(list(tickets), num_returns=1, timeout=seconds)
        return list(ready)

    def result(self, ticket: Any) -> Any:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(ticket)
        except errors.RayTaskError as error:  # the shell itself raised, or its arguments could not be read
            raise WorkerError(f"A Ray actor failed:\n{error}") from None
        except errors.RayError as error:
            raise Lost(_first_line(error)) from error
        return opened(answer)

    def end(self, actor: Any) -> None:
        self._actors.discard(actor)
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):  # it has gone
            self._ray.kill(actor, no_restart=True)

    def free(self) -> float:
        return float(self._ray.available_resources().get("CPU", 0.0))

    def describe(self) -> str:
        total, free = self._ray.cluster_resources().get("CPU", 0.0), self.free()
        return f"the cluster has {total:g} CPUs, {free:g} of them free"

    def close(self) -> None:
        for actor in list(self._actors):
            self.end(actor)
        if self._leave:
            self._ray.shutdown()
            self._leave = False


def _variables() -> dict[str, str]:
    """TensorFlow's settings of this process: some of them change the last digits."""
    own = {name: value for name, value in os.environ.items() if name.startswith("TF_")}
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **own}


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _DECIDING:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _is_joined() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
