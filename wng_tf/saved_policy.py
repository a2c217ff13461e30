"""The policy of a run, whichever family trained it: it acts in NumPy with its normaliser inside, and exports itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from wng_tf import families
from wng_tf.errors import UserError
from wng_tf.runtime.paths import expanded
from wng_tf.runtime.trust import check as check_trust
from wng_tf.training import checkpoint, run_folder


class SavedPolicy(Protocol):
    """What both families offer.

    Attributes:
      observation_space: a Box of one dimension, of raw observations.
      action_space: a Box of one dimension, or Discrete; what `act` returns belongs to it.
    """

    @property
    def observation_space(self) -> spaces.Box: ...

    @property
    def action_space(self) -> spaces.Space[Any]: ...

    def act(
        self, observation: np.ndarray, rng: np.random.Generator | None = None, deterministic: bool = True
    ) -> Any:
        """The environment's action for a raw observation [obs], or actions for [B, obs].

        Args:
          rng: where a sampled action takes its noise from.
          deterministic: the most likely action, or a sampled one.
        """

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write a SavedModel to the folder `path`, see `wng_tf.export`."""


def load(run_dir: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """The policy in a checkpoint of a run: "latest", "best", or the one of a given step. Imports no TensorFlow.

    Raises:
      UserError: there is no run or no such checkpoint, or it is damaged.
    """
    run_dir = expanded(run_dir)
    family = families.find(flag(run_dir, "alg"))
    try:
        return family.load(run_dir, which)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a state that is whole, but of something else, makes NumPy raise nearly anything
        raise checkpoint.no_policy(Path(run_dir) / run_folder.CHECKPOINTS, error) from error


def environment(run_dir: str | os.PathLike[str], trust: bool = False) -> str:
    """The name of the environment that a run was trained in.

    Args:
      trust: also one of a module that is not an installed package's. To make such an environment runs that module.

    Raises:
      UserError: there is no run in the folder, or it names such a module and is not trusted.
    """
    name = flag(run_dir, "env")
    if not trust:
        check_trust(name, f"'{Path(run_dir) / run_folder.FLAGS}'")
    return name


def flag(run_dir: str | os.PathLike[str], name: str) -> str:
    """The value of a flag of a run.

    Raises:
      UserError: there is no run in the folder, or its flags do not say.
    """
    values = run_folder.flag_values(run_dir)
    if name in values:
        return values[name]
    raise UserError(f"'{Path(run_dir) / run_folder.FLAGS}' has no --{name}: it is not the file that a run writes.")
