"""Policies in checkpoints of earlier versions, in the form of this one.

Each family kept its own: policy gradients the layers of actor and critic, evolution strategies the name and sizes of the
network with the bounds of the actions. In both the key `discrete` chose between the two kinds of actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from wng_tf.errors import UserError
from wng_tf.policies import networks
from wng_tf.policies import spaces as space_trees
from wng_tf.policies.network import Network


def current(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tree that this version would have written.

    Raises:
      UserError: of a version that clipped observations even where it did not normalize them.
      AttributeError, KeyError, TypeError, ValueError: it is the tree of something else.
    """
    if "actor" in tree:
        return _of_policy_gradients(tree)
    if "normaliser" not in tree:
        raise UserError("This run is of an older version, whose policies saw observations otherwise: start it anew.")
    if "action_space" not in tree:
        return _of_evolution(tree)
    return tree


def _of_policy_gradients(tree: Mapping[str, Any]) -> dict[str, Any]:
    head = {"kind": "categorical" if tree["discrete"] else "gaussian"}
    return {
        "spec": {**Network.of_dense(tree["actor"]).to_tree(), "head": head},
        "value": Network.of_dense(tree["critic"]).to_tree(),
        **{name: tree[name] for name in ("theta", "normaliser", "observation_space", "action_space")},
        "statistics": tree.get("statistics"),
    }


def _of_evolution(tree: Mapping[str, Any]) -> dict[str, Any]:
    spec, head = tree["spec"], tree["spec"]["head"]
    build = {"toeplitz": networks.toeplitz, "mlp": networks.mlp}[spec["network"]]
    network = build(spec["observations"], tuple(spec["hidden"]), head["size"])
    if head["discrete"]:
        kind: dict[str, Any] = {"kind": "argmax"}
        action_space: spaces.Space[Any] = spaces.Discrete(head["size"])
    else:
        kind = {"kind": "stretched", "noise": tree["action_noise"]}
        dtype = np.dtype(head.get("dtype", "float32"))
        low, high = (np.array(head[bound], dtype) for bound in ("low", "high"))
        action_space = spaces.Box(low, high, dtype=dtype.type)
    return {
        "spec": {**network.to_tree(), "head": kind},
        "value": None,
        "action_space": space_trees.to_tree(action_space),
        **{name: tree[name] for name in ("theta", "normaliser", "observation_space")},
        "statistics": tree.get("statistics"),
    }
