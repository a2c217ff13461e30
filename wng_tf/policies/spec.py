"""The shape of a policy: a network, and a head that makes actions of its outputs. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wng_tf import parts
from wng_tf.policies import heads
from wng_tf.policies.heads.base import Head, StochasticHead
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.network import Network

AnyNetwork = Network | KerasNetwork
"""A chain of layers, which acts in NumPy, or a Keras model."""


@dataclass(frozen=True)
class PolicySpec:
    """What turns parameters into actions.

    Raises:
      ValueError: the head does not take as many outputs as the network has.
    """

    network: AnyNetwork
    head: Head

    def __post_init__(self) -> None:
        if self.network.outputs != self.head.num_outputs:
            raise ValueError(f"a network of {self.network.outputs} outputs, and a head of {self.head.num_outputs}")

    @property
    def observations(self) -> int:
        """Length of an observation."""
        return self.network.inputs

    @property
    def num_free(self) -> int:
        """Parameters of the head, which come after the network's."""
        return self.head.num_free if isinstance(self.head, StochasticHead) else 0

    @property
    def num_parameters(self) -> int:
        """P."""
        return self.network.size + self.num_free

    def free(self, theta: NDArray[Any]) -> NDArray[np.float32]:
        """The head's parameters of θ [P] or more."""
        return theta[self.network.size : self.num_parameters].astype(np.float32)

    def materialise(self, theta: NDArray[Any]) -> list[Any]:
        """See `Network.matrices`."""
        return self.network.matrices(theta)

    def to_tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        head = {"kind": heads.name_of(self.head), **self.head.settings()}
        return {**self.network.to_tree(), "head": head}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], space: spaces.Space[Any]) -> PolicySpec:
        """The inverse of `to_tree`, for a policy of that action space.

        Raises:
          UserError: a kind of head that is not registered. Nothing is imported by the name in the tree.
          AttributeError, KeyError, TypeError, ValueError: the tree of something else.
        """
        settings = dict(tree["head"])
        head = parts.HEADS.registered(settings.pop("kind")).of(space, **settings)
        return cls(network_from_tree(tree), head)


def network_from_tree(tree: Mapping[str, Any]) -> AnyNetwork:
    """The network whose `to_tree` gave the tree. ValueError, TypeError, KeyError: it is the tree of something else."""
    return KerasNetwork.from_tree(tree) if "keras" in tree else Network.from_tree(tree)
