"""Action heads: everything that depends on the kind of the actions. A new kind is a file here, a line in `parts`."""

from __future__ import annotations

from typing import Any, TypeVar

from gymnasium import spaces

from wng_tf import parts
from wng_tf.errors import UserError
from wng_tf.policies.heads.base import DeterministicHead, Head, StochasticHead

__all__ = ["DeterministicHead", "Head", "StochasticHead", "deterministic", "name_of", "of_policy", "stochastic"]

Kind = TypeVar("Kind", bound=Head)


def stochastic(space: spaces.Space[Any]) -> StochasticHead:
    """The head of policy gradients for an action space, the one that was registered last of those that take it.

    Raises:
      UserError: none does.
    """
    return _find(space, StochasticHead).of(space)


def deterministic(space: spaces.Space[Any], noise: float = 0.0) -> DeterministicHead:
    """The head of evolution strategies for an action space; `noise` is that of sampled actions, where it takes any.

    Raises:
      UserError: none takes the space.
    """
    return _find(space, DeterministicHead).of(space, noise=noise)


def of_policy(policy: Any) -> StochasticHead:
    """The head of a `PolicyWithValue`, also of one that was built with the plain heads of `baselines_compat`."""
    return policy.head if isinstance(policy.head, StochasticHead) else stochastic(policy.action_space)


def name_of(head: Head) -> str:
    """The name under which the head's class is registered.

    Raises:
      UserError: under none.
    """
    for name in parts.HEADS:
        if parts.HEADS.find(name) is type(head):
            return name
    raise UserError(f"The action head {type(head).__name__} has no name: register it with wng_tf.parts.HEADS.register.")


def _find(space: spaces.Space[Any], kind: type[Kind]) -> type[Kind]:
    for name in reversed(parts.HEADS.names()):
        head: type[Head] = parts.HEADS.find(name)
        if issubclass(head, kind) and head.takes(space):
            return head
    raise UserError(f"No action head takes the action space {space}: register one with wng_tf.parts.HEADS.register.")
