"""What a run is, in a few words."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from wng_tf.runtime.registry import is_path
from wng_tf.training import run_flags, run_folder


def about(flags: Mapping[str, Any]) -> dict[str, str]:
    """Of a run's flags those that a policy says of the run that it is of.

    They are `alg`, `env`, what `env` was made with, and a `network` of somebody's own.
    """
    names = ("alg", "env", *run_flags.OPTIONS_OF_ENV, *(["network"] if is_path(str(flags.get("network"))) else []))
    return {name: flags[name] for name in names if flags.get(name) is not None}


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What a run is: enough to name it and to repeat it.

    Attributes:
      alg, env, env_id: algorithm, environment as the user named it, and what that became.
      seed, total_timesteps: seed and length of the run.
      flags: every flag with its value, in the order of `flags.txt`; None values are left out.
      defaults: flags whose value in a run of an older version, which did not have them, is known.
      may_change: flags that may differ when the run is resumed.
    """

    alg: str
    env: str
    env_id: str
    seed: int
    total_timesteps: int
    flags: Mapping[str, Any]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    may_change: Collection[str] = run_folder.MAY_CHANGE

    @property
    def about(self) -> dict[str, str]:
        """What a policy says of the run that it is of."""
        return about({**self.flags, "alg": self.alg, "env": self.env})

    def flags_text(self) -> str:
        """One `--name=value` a line."""
        return run_flags.text(self.flags)
