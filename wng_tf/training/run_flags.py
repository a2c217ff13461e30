"""The flags of a run: which of them are no settings of its algorithm, and how `flags.txt` is written and read.

`flags.txt` has one `--name=value` a line, enough to repeat the run with `--flagfile`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from wng_tf import parts
from wng_tf.training.settings import operational

#: Flags of every run that are no settings of its algorithm, in the order of `--help`, with what they are to it: they name
#: it, say how long it is, change its numbers like a setting, or change nothing but where and how it is computed.
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "alg": "identity",
        "env": "identity",
        "num_timesteps": "length",
        "seed": "identity",
        "network": "result",
        "load_path": "result",
        "log_path": "operational",
        "resume": "operational",
        "progress": "operational",
        "num_threads": "operational",
    }
)


#: Settings that say how the environment is made, besides its name.
OPTIONS_OF_ENV = ("env_kwargs", "env_wrapper")


def beside_the_numbers(*configs: type) -> frozenset[str]:
    """Flags that do not change what a run of one length computes, with those settings of `configs` that do not either."""
    own = {name for name, role in ROLES.items() if role == "operational"}
    return frozenset(own).union(*map(operational, configs))


def may_change_on_resume(*configs: type) -> frozenset[str]:
    """Flags that may differ when a run is resumed; any other would make it a different run."""
    return beside_the_numbers(*configs) | {name for name, role in ROLES.items() if role == "length"}


def values(
    alg: str,
    env: str,
    seed: int,
    total_timesteps: int,
    network: str,
    log_path: str | None,
    config: Any,
    load_path: str | None = None,
) -> dict[str, Any]:
    """Every flag of a run with its value, in the order in which `flags.txt` lists them."""
    named = {"alg": alg, "env": env, "num_timesteps": total_timesteps, "seed": seed, "network": network}
    begun = {} if load_path is None else {"load_path": load_path}
    return {**named, **begun, "log_path": log_path, **dataclasses.asdict(config)}


def text(flags: Mapping[str, Any]) -> str:
    """The contents of `flags.txt`, without the last end of line; flags whose value is None are left out."""
    return "\n".join(f"--{name}={value_text(value)}" for name, value in flags.items() if value is not None)


def value_text(value: Any) -> str:
    """A value as a flag has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def lines(text: str) -> list[str]:
    """The lines of a `flags.txt` that are flags."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith(("#", "//"))]


def parse(lines: Iterable[str], known: Collection[str] = ()) -> dict[str, str]:
    """The values of flags by name, in the names and words of this version; later lines win.

    Args:
      lines: `--name=value`, `--name` or `--noname` each.
      known: names of flags, to tell `--normalize_rewards` from the opposite of an `rmalize_rewards`.
    """
    found = {}
    for line in lines:
        name, equals, value = line.lstrip("-").partition("=")
        if equals:
            found[name] = value
        elif name.startswith("no") and name not in known:
            found[name.removeprefix("no")] = "False"
        else:
            found[name] = "True"
    return parts.current_flags(found)
