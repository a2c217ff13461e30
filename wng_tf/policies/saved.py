"""Policies from where they are kept: the checkpoints of runs, saved files, exported models. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.running_mean_std import RunningMeanStd
from wng_tf.errors import UserError
from wng_tf.policies import earlier, normalizers
from wng_tf.policies import spaces as space_trees
from wng_tf.policies.acting import SavedPolicy, Statistics
from wng_tf.policies.spec import PolicySpec, network_from_tree
from wng_tf.policies.trees import WITHIN_EXPORT, shape_tree, to_tree
from wng_tf.runtime import memory
from wng_tf.runtime.paths import expanded
from wng_tf.training import checkpoint, run_folder, run_info

__all__ = ["SavedPolicy", "Statistics", "from_tree", "load", "load_policy", "shape_tree", "to_tree"]


def load(path: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """The policy in a run's folder, a checkpoint, a file that `SavedPolicy.save` wrote, or an exported model's folder.

    Nothing that it names is imported.

    Args:
      which: of a run's folder: "latest", "best", or the step of a checkpoint.

    Raises:
      UserError: there is none of these, or it is damaged.
    """
    path = expanded(path)
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        raise UserError(f"There is no run in '{path}', and no saved policy of that name.")
    if (path / run_folder.SAVED_MODEL).exists():
        if not (path / WITHIN_EXPORT).is_file():
            raise UserError(f"The exported model '{path}' does not hold its policy: name the run that it was exported from.")
        return _of_file(path / WITHIN_EXPORT)
    return load_policy(path, which)


def load_policy(run_dir: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """The policy in a checkpoint of a run: "latest", "best", or the one of a given step.

    That of a policy gradient is the one after the last update, that of an evolution strategy the one evaluated last.

    Raises:
      UserError: there is no such checkpoint, or it is damaged.
    """
    folder = Path(run_dir) / run_folder.CHECKPOINTS
    _, state = checkpoint.load(folder, which)
    return _of_state(state, folder, Path(run_dir))


def _of_file(path: Path) -> SavedPolicy:
    state = checkpoint.load_file(path)
    return _of_state(state, path, path.parent.parent if path.parent.name == run_folder.CHECKPOINTS else None)


def _of_state(state: Any, place: Path, run: Path | None) -> SavedPolicy:
    try:
        policy = from_tree(state["policy"] if "policy" in state else _complete(state["learner"]))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a state that is whole, but of something else, makes NumPy raise nearly anything
        raise checkpoint.no_policy(place, error) from error
    if run is None or not (run / run_folder.FLAGS).is_file():
        return policy
    return dataclasses.replace(policy, about=run_info.about(run_folder.flag_values(run)))


def _complete(state: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's tree with its numbers, which policy gradients keep beside it: they train with them."""
    tree = dict(state["policy"])
    if "env" in state:
        normalizer = state["env"]["normalizer"]
        statistics = RunningMeanStd()
        statistics.restore(normalizer["ob_rms"])
        tree["theta"] = _separate(state["learner"]["theta"], *tree.get("shared", (0, 0)))
        tree["normaliser"] = {"settings": tree["normalizer"], "mean": statistics.mean, "var": statistics.var}
        tree["statistics"] = {"observations": normalizer["ob_rms"], "returns": normalizer.get("ret_rms")}
    elif tree.get("statistics") is None:  # of an earlier version: what the strategy has seen, the last generation included
        tree["statistics"] = {"observations": state["strategy"]["moments"], "returns": None}
    return tree


def from_tree(tree: Mapping[str, Any]) -> SavedPolicy:
    """The inverse of `to_tree`; also of the trees that earlier versions wrote.

    Raises:
      UserError: the tree is of a version that clipped observations even where it did not normalize them; the policy is
        larger than the memory; or its action head is of a kind that is not registered.
      AttributeError, IndexError, KeyError, TypeError, ValueError: it is the tree of something else.
    """
    tree = earlier.current(tree)
    action_space = space_trees.from_tree(tree["action_space"])
    observation_space = space_trees.from_tree(tree["observation_space"])
    if not isinstance(observation_space, spaces.Box):
        raise ValueError(f"a policy with observations of {observation_space}")
    policy = SavedPolicy(
        spec=PolicySpec.from_tree(tree["spec"], action_space),
        theta=tree["theta"],
        normalizer=normalizers.from_tree(tree["normaliser"]),
        observation_space=observation_space,
        action_space=action_space,
        value_network=None if tree["value"] is None else network_from_tree(tree["value"]),
        statistics=None if tree.get("statistics") is None else Statistics.from_tree(tree["statistics"]),
        about={str(name): str(value) for name, value in tree.get("about", {}).items()},
    )
    _check(policy)
    return policy


def _check(policy: SavedPolicy) -> None:
    """ValueError unless weights and statistics have the sizes that go with the layers and the observations."""
    expected = policy.spec.num_parameters + (0 if policy.value_network is None else policy.value_network.size)
    if np.shape(policy.theta) != (expected,):
        raise ValueError(f"its weights have the shape {list(np.shape(policy.theta))}, not [{expected}]")
    # A Toeplitz matrix has many more entries than parameters.
    memory.check({"The policy in the run's checkpoint": 4 * policy.spec.network.entries})
    shape = policy.observation_space.shape
    seen = None if policy.statistics is None else policy.statistics.observations
    vectors = (*(() if policy.normalizer is None else policy.normalizer.vectors()), *(() if seen is None else seen[1:]))
    for vector in vectors:
        if vector.shape != shape:
            raise ValueError(f"its statistics have the shape {list(vector.shape)}, not {list(shape)}")
    if shape != (policy.spec.observations,):
        raise ValueError(f"its observations have the shape {list(shape)}, not [{policy.spec.observations}]")


def _separate(theta: NDArray[Any], shared: int, policy: int) -> NDArray[Any]:
    """θ with its first `shared` numbers again after those of the policy: weights that the value network has, too."""
    return np.concatenate([theta[:policy], theta[:shared], theta[policy:]]) if shared else theta
