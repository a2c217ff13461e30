"""What an environment's `reset` and `step` return, checked: taken where its meaning is clear, else refused by name.

The quick checks of ordinary results are made where the results come in (`EnvSlot.collect`); `Intake` is for the rest.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from baselines_compat.conform import Unclear, described, fitted, number, shape_of, truth
from baselines_compat.errors import UnusableOutput

NUMERIC = "fiub"
"""Kinds of NumPy's own types of real numbers."""

_OLD_STEP = (
    "has a step of the old Gym interface, which returns (observation, reward, done, info): Gymnasium's step returns "
    "(observation, reward, terminated, truncated, info)."
)
_OTHER_STEP = (
    "returned something else from step than (observation, reward, terminated, truncated, info), which is expected: correct "
    "the environment."
)
_OLD_RESET = (
    "has a reset of the old Gym interface, which returns the observation alone: Gymnasium's reset returns "
    "(observation, info)."
)
_OLD_ARGUMENTS = (
    "has a reset of the old Gym interface, which takes no {missing}: Gymnasium's is reset(*, seed=None, options=None) and "
    "returns (observation, info)."
)
_CALLERS = ("gymnasium.core", "gymnasium.wrappers", "gymnasium.vector", "baselines_compat.", "wng_tf.")


class Intake:
    """Takes what one environment returns.

    Args:
      env: the environment; its observation space is a Box.
      who: its name in messages.

    Raises:
      UnusableOutput: from every method, on what is not clear.
    """

    def __init__(self, env: gym.Env, who: str):
        self.shape = shape_of(env.observation_space)
        self.plain = (math.prod(self.shape),)
        self.who = who

    def reset(self, result: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """The flat observation [obs] and the info of what `reset` returned."""
        observation, info = reset_result(result, self.who)
        return self.observation(observation, "reset"), info

    def step(self, result: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Flat observation [obs], reward, terminated, truncated and info of what `step` returned."""
        observation, reward, terminated, truncated, info = self.five(result)
        return (
            self.observation(observation, "step"),
            reward if type(reward) is float else self.reward(reward),
            self.flag(terminated, "terminated"),
            self.flag(truncated, "truncated"),
            {} if info is None else info,
        )

    def five(self, result: Any) -> tuple[Any, Any, Any, Any, Any]:
        """What `step` returned, if it is five values."""
        if isinstance(result, tuple | list) and len(result) == 5:
            return tuple(result)
        if isinstance(result, tuple | list) and len(result) == 4:
            raise UnusableOutput(f"{self.who} {_OLD_STEP}")
        self._refuse(described(result), "step", "(observation, reward, terminated, truncated, info) is expected")

    def observation(self, value: Any, where: str) -> np.ndarray:
        """The flat observation [obs]; the environment's own array if it is one."""
        if type(value) is np.ndarray and value.shape == self.shape and value.dtype.kind in NUMERIC:
            return value.reshape(-1)
        try:
            return fitted(value, self.shape).reshape(-1)
        except Unclear as error:
            self._refuse(f"the observation {error}", where, f"its observation space has shape {self.shape}")

    def reward(self, value: Any) -> float:
        """The reward as a float."""
        try:
            return number(value)
        except Unclear as error:
            self._refuse(f"the reward {error}", "step", "one number is expected")

    def flag(self, value: Any, name: str) -> bool:
        """`terminated` or `truncated` as a bool."""
        if value is True or value is False:
            return value
        try:
            return truth(value)
        except Unclear as error:
            self._refuse(f"{name} {error}", "step", "True or False is expected")

    def _refuse(self, what: str, where: str, expected: str) -> NoReturn:
        raise UnusableOutput(f"{self.who} returned {what} from {where}, where {expected}: correct the environment.")


def reset_result(result: Any, who: str) -> tuple[Any, dict[str, Any]]:
    """Observation and info of what `reset` returned.

    Raises:
      UnusableOutput: it is no pair of them.
    """
    if isinstance(result, tuple | list) and len(result) == 2 and (result[1] is None or isinstance(result[1], Mapping)):
        return result[0], {} if result[1] is None else dict(result[1])
    if result is None:
        raise UnusableOutput(f"{who} returned None from reset, where (observation, info) is expected: correct it.")
    raise UnusableOutput(f"{who} {_OLD_RESET}")


def old_interface(error: BaseException, who: str) -> UnusableOutput | None:
    """What an exception says of the interface, if it comes of a wrapper or caller that expected Gymnasium's; else None."""
    frame = _innermost(error)
    if frame is None or not frame.f_globals.get("__name__", "").startswith(_CALLERS):
        return None
    text = str(error)
    if isinstance(error, TypeError) and "reset() got an unexpected keyword argument" in text:
        missing = "options" if "'options'" in text else "seed"
        return UnusableOutput(f"{who} {_OLD_ARGUMENTS.format(missing=missing)}")
    if not isinstance(error, ValueError | TypeError) or "unpack" not in text:
        return None
    if frame.f_code.co_name == "reset":
        return UnusableOutput(f"{who} {_OLD_RESET}")
    if frame.f_code.co_name == "step":
        return UnusableOutput(f"{who} {_OLD_STEP if 'got 4' in text else _OTHER_STEP}")
    return None


def _innermost(error: BaseException) -> types.FrameType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame
