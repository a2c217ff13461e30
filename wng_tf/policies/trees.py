"""Policies as plain data for checkpoints and files; `saved.from_tree` is the inverse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gymnasium import spaces

from wng_tf.policies import spaces as space_trees
from wng_tf.policies.spec import AnyNetwork, PolicySpec

if TYPE_CHECKING:
    from wng_tf.policies.acting import SavedPolicy

#: Where an exported model keeps the policy that it was made from; TensorFlow leaves the folder to whoever exports.
WITHIN_EXPORT = Path("assets.extra", "policy.npz")


def to_tree(policy: SavedPolicy) -> dict[str, Any]:
    """The policy as plain data for a checkpoint."""
    return {
        **shape_tree(policy.spec, policy.observation_space, policy.action_space, policy.value_network),
        "theta": policy.theta,
        "normaliser": None if policy.normalizer is None else policy.normalizer.to_tree(),
        "statistics": None if policy.statistics is None else policy.statistics.to_tree(),
        "about": dict(policy.about),
    }


def shape_tree(
    spec: PolicySpec, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], value: AnyNetwork | None = None
) -> dict[str, Any]:
    """A policy as plain data without its numbers, for a checkpoint that keeps those elsewhere."""
    return {
        "spec": spec.to_tree(),
        "value": None if value is None else value.to_tree(),
        "observation_space": space_trees.to_tree(observation_space),
        "action_space": space_trees.to_tree(action_space),
    }
