"""The policy of a run, whichever family trained it: it acts in NumPy with its normalizer inside, and exports itself."""

from __future__ import annotations

import os
from pathlib import Path

from wng_tf import algorithms, parts
from wng_tf.envs import sources, tasks
from wng_tf.errors import UserError
from wng_tf.policies import saved
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.saved import SavedPolicy
from wng_tf.runtime.paths import expanded
from wng_tf.runtime.trust import check as check_trust
from wng_tf.training import run_folder

__all__ = ["SavedPolicy", "environment", "flag", "load", "load_to_act", "task"]


def load(path_or_run: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """A policy from where it is kept: `wng_tf.load`. Imports no TensorFlow, and nothing that is named there.

    Args:
      path_or_run: folder of a run, one of its checkpoints, a file that `policy.save` wrote, or the folder of an exported
        model.
      which: checkpoint of a run: "latest", "best", or the one of a given step.

    Raises:
      UserError: there is none of these, or it is damaged.
    """
    path = expanded(path_or_run)
    if path.is_dir() and not (path / run_folder.SAVED_MODEL).exists():
        algorithms.find(flag(path, "alg"))  # says so where the folder is no run's
    return saved.load(path, which)


def load_to_act(path_or_run: str | os.PathLike[str], which: str | int = "latest", trust: bool = False) -> SavedPolicy:
    """As `load`, for one that is to act: imports what has its layers, the module of a network of somebody's own.

    Args:
      trust: also one of a module that is not an installed package's. A policy whose layers are all known needs no module.

    Raises:
      UserError: as `load`; or such a module is not trusted, or cannot be imported.
    """
    policy = load(path_or_run, which)
    network = policy.about.get("network")
    kept = [one for one in (policy.spec.network, policy.value_network) if isinstance(one, KerasNetwork)]
    if network is not None and any(one.unregistered() for one in kept):
        if not trust:
            check_trust(network, f"'{path_or_run}'")
        parts.NETWORKS.find(network)
    return policy


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


def task(run_dir: str | os.PathLike[str], trust: bool = False) -> tasks.Task:
    """The environment that a run was trained in, with its arguments and wrappers; `trust` as for `environment`.

    Raises:
      UserError: as `environment`, of wrappers too; or there is no such environment.
    """
    name, values = environment(run_dir, trust), run_folder.flag_values(run_dir)
    wrappers = values.get("env_wrapper")
    if not trust:
        for wrapper in sources.wrapper_names(wrappers):
            check_trust(wrapper, f"'{Path(run_dir) / run_folder.FLAGS}'")
    return sources.with_options(tasks.resolve(name), values.get("env_kwargs"), wrappers)


def flag(run_dir: str | os.PathLike[str], name: str) -> str:
    """The value of a flag of a run.

    Raises:
      UserError: there is no run in the folder, or its flags do not say.
    """
    values = run_folder.flag_values(run_dir)
    if name in values:
        return values[name]
    raise UserError(f"'{Path(run_dir) / run_folder.FLAGS}' has no --{name}: it is not the file that a run writes.")
