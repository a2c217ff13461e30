"""What of an environment's spaces the algorithms handle, and observations as one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

from baselines_compat.conform import Unclear, conform
from baselines_compat.errors import UnusableOutput
from baselines_compat.flattening import flat_space, flattened
from baselines_compat.vec_env.intake import reset_result
from wng_tf.errors import UserError
from wng_tf.parts import HEADS

#: A network has that many outputs, or inputs, at most.
MOST_NUMBERS = 10_000_000


def check_actions(title: str, space: spaces.Space[Any], heads: Sequence[Any]) -> None:
    """UserError unless a registered head, or one of `heads`, takes actions of the space."""
    unclear = isinstance(space, spaces.Box) and np.isnan([space.low, space.high]).any()
    taken = any(head.takes(space) for head in (*map(HEADS.find, HEADS), *heads))
    if taken and not unclear and 0 not in (space.shape or ()):
        check_size(title, "action", space)
        return
    raise UserError(
        f"{title} has the action space {shown(space)}; the algorithms handle a Box, Discrete, MultiDiscrete or MultiBinary "
        "that is not empty. Wrap the environment so that its actions have that form, and register the wrapped one."
    )


def check_observations(title: str, space: spaces.Space[Any]) -> None:
    """UserError unless the members of the space are numbers, of which there are always as many."""
    if not _makes_a_vector(space) or spaces.flatdim(space) == 0:
        raise UserError(
            f"{title} has the observation space {shown(space)}; the algorithms handle numbers of which there are always as "
            "many: Box, Discrete, MultiDiscrete, MultiBinary, and a Dict (with names) or Tuple of these, not empty. Wrap the "
            "environment so that its observations have that form, and register the wrapped one."
        )
    check_size(title, "observation", space)


def check_size(title: str, what: str, space: spaces.Space[Any]) -> None:
    """UserError if the flat form of the space has more numbers than a network can have inputs or outputs."""
    try:
        size = spaces.flatdim(space)
    except (NotImplementedError, ValueError):  # of somebody's own kind, and with a head of its own
        return
    if size > MOST_NUMBERS:
        raise UserError(
            f"{title} has the {what} space {shown(space)}, of {size} numbers or choices; the algorithms handle "
            f"{MOST_NUMBERS} at most. Wrap the environment so that it has fewer, and register the wrapped one."
        )


def flat_observations(title: str, env: gymnasium.Env) -> gymnasium.Env:
    """The environment with observations that are one vector: itself, if they are.

    Raises:
      UserError: they cannot be made one.
    """
    space = env.observation_space
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.shape != (0,):
        return env
    check_observations(title, space)
    return Flattened(env, title)


class Flattened(FlattenObservation):
    """Observations as one vector, from what `conform` makes of them.

    Raises:
      UnusableOutput: from `reset` and `step`: an observation that is none of the environment's space.
    """

    def __init__(self, env: gymnasium.Env, who: str):
        super().__init__(env)
        self.observation_space = flat_space(env.observation_space)
        self._who = who

    def reset(self, **kwargs: Any):
        observation, info = reset_result(self.env.reset(**kwargs), self._who)
        return self.observation(observation), info

    def observation(self, observation: Any) -> np.ndarray:
        try:
            member = conform(observation, self.env.observation_space)
        except Unclear as error:
            raise UnusableOutput(
                f"{self._who} returned the observation {error}, which is not of its observation space: correct it."
            ) from None
        return flattened(member, self.env.observation_space)


def shown(space: spaces.Space[Any]) -> str:
    """The space in one line."""
    return " ".join(str(space).split())


def _makes_a_vector(space: spaces.Space) -> bool:
    """Whether its members are numbers, of which there are always as many."""
    if isinstance(space, spaces.Dict):
        return all(isinstance(key, str) for key in space.spaces) and all(map(_makes_a_vector, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_makes_a_vector, space.spaces))
    return isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))
