"""Joining a Ray cluster, with one sentence where that fails."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from wng_tf.errors import UserError

_PATIENCE = 10.0  # seconds for an address to answer


def check_ray(address: str | None) -> None:
    """What can be said about a cluster before anything slow is done.

    Args:
      address: `auto` or `host:6379`; None: a cluster of this machine alone.

    Raises:
      UserError: Ray is not installed, or nobody listens at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine=ray needs Ray: pip install 'wng_tf[ray]'.")
    if address is not None:
        _check_reachable(address)


def join(address: str | None, num_cpus: int | None = None) -> Any:
    """Connects this process to the cluster, or makes one of this machine alone; one that is connected stays as it is.

    Args:
      address: as for `check_ray`.
      num_cpus: of a cluster of this machine alone; None: its cores.

    Returns:
      the module `ray`.

    Raises:
      UserError: Ray is not installed, or the cluster does not answer.
    """
    check_ray(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray 3 will do, and 2 warns of
    import ray

    address = address or os.environ.get("RAY_ADDRESS") or None
    own: dict[str, Any] = {"num_cpus": num_cpus, "include_dashboard": False} if address is None else {}
    try:
        with _signals_kept():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                ignore_reinit_error=True,
                **own,
            )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise UserError(_no_answer(address, error)) from error
    return ray


def is_here(address: str) -> bool:
    """Whether a cluster's address is one of this machine."""
    host = _host_and_port(address)[0]
    if not host:
        return True  # auto: the cluster that runs on this machine
    with contextlib.suppress(OSError):
        family, _, _, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.bind(place)  # no other machine's address can be bound
            return True
    return False


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM over; a handler that the program has set stays."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before):
            with contextlib.suppress(ValueError):  # not the main thread, in which Ray changes nothing either
                signal.signal(signal.SIGTERM, before)


def _host_and_port(address: str) -> tuple[str, str]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), port


def _check_reachable(address: str) -> None:
    """Ray itself keeps trying an address that nobody listens at for more than five minutes."""
    host, port = _host_and_port(address)
    if not host:
        return  # auto: Ray finds out at once
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(_no_answer(address, error)) from error


def _no_answer(address: str | None, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if address is None:
        return f"Ray cannot start a cluster on this machine ({reason})."
    return f"The Ray cluster '{address}' does not answer ({reason}): check --ray_address."
