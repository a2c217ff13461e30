"""Environments that return odd things, as `odd_envs:odd/<what>-v0`; worker processes find the module too."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import gymnasium as gym
import ml_dtypes
import numpy as np
from gymnasium import spaces

REWARDS: dict[str, Any] = {
    "float": lambda r: r,
    "float32": np.float32,
    "bfloat16": ml_dtypes.bfloat16,
    "shape-1": lambda r: np.array([r], np.float32),
    "shape-1-1": lambda r: np.array([[r]]),
    "bfloat16-array": lambda r: np.array([r], ml_dtypes.bfloat16),
    "0-d": np.array,
    "list": lambda r: [r],
    "int": lambda r: int(4 * r),
    "int-array": lambda r: np.array([int(4 * r)]),
    "bool": lambda r: r > -0.5,
    "decimal": Decimal,
    "fraction": lambda r: Fraction(r).limit_denominator(64),
}
BAD_REWARDS: dict[str, Any] = {
    "none": lambda r: None,
    "text": str,
    "pair": lambda r: np.array([r, r]),
    "empty": lambda r: np.array([]),
    "complex": complex,
    "dict": lambda r: {"r": r},
}
OBSERVATIONS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "column": lambda x: x[:, np.newaxis],
    "row": lambda x: x[np.newaxis],
    "float16": lambda x: x.astype(np.float16),
    "bfloat16": lambda x: x.astype(ml_dtypes.bfloat16),
    "integers": lambda x: (4 * x).astype(np.int64),
    "bools": lambda x: x > 0,
    "0-d arrays": lambda x: [np.array(one) for one in x],
    "objects": lambda x: np.array([float(one) for one in x], object),
    "unmasked": lambda x: np.ma.array(x),
    "matrix": np.asmatrix,
}
BAD_OBSERVATIONS: dict[str, Any] = {
    "one": lambda x: x[:1],
    "scalar": lambda x: float(x[0]),
    "three": lambda x: np.append(x, 0.0),
    "two-by-two": lambda x: np.stack([x, x]),
    "none": lambda x: None,
    "text": lambda x: "01",
    "texts": lambda x: ["0", "1"],
    "dict": lambda x: {0: x[0], 1: x[1]},
    "complex": lambda x: x.astype(complex),
    "masked": lambda x: np.ma.array(x, mask=[False, True]),
    "ragged": lambda x: [x, x[:1]],
    "nones": lambda x: [None, 1.0],
    "dates": lambda x: np.array([0, 1], "datetime64[s]"),
}
FLAGS: dict[str, Any] = {
    "numpy": np.bool_,
    "0-d": np.array,
    "int": int,
    "float": float,
    "shape-1": lambda b: np.array([b]),
    "list": lambda b: [b],
}
BAD_FLAGS: dict[str, Any] = {
    "text": str,
    "none": lambda b: None,
    "pair": lambda b: [b, b],
    "nan": lambda b: np.nan,
    "two": lambda b: 2,
}


def _same(x: Any) -> Any:
    return x


class Odd(gym.Env):
    """Two observations, one action, seven steps; each of its results goes through a function first.

    Args:
      reward, observation, flag: what a step's become.
      first: what a reset's observation becomes.
      late: which results of `step` are odd: only those after so many steps.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, reward: Any = _same, observation: Any = _same, flag: Any = _same, first: Any = _same, late: int = 0):
        self.reward, self.observation, self.flag, self.first, self.late = reward, observation, flag, first, late
        self.t = self.steps = 0

    def _look(self) -> np.ndarray:
        return self.np_random.normal(size=2).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return self.first(self._look()), {}

    def step(self, action: np.ndarray):
        self.t += 1
        self.steps += 1
        reward, seen, over = -float(np.square(action).sum()), self._look(), self.t >= 7
        if self.steps <= self.late:
            return seen, reward, over, False, {}
        return self.observation(seen), self.reward(reward), self.flag(over), self.flag(False), {}


class OldReset(Odd):
    def reset(self, **kwargs: Any):
        return super().reset(**kwargs)[0]


class OldSeed(Odd):
    def reset(self):
        return super().reset()[0]


class OldOptions(Odd):
    def reset(self, seed: int | None = None):
        return super().reset(seed=seed)


class OldStep(Odd):
    def step(self, action: np.ndarray):
        observation, reward, over, _, info = super().step(action)
        return observation, reward, over, info


class Steps(Odd):
    """Another number of values from `step`, or none."""

    def __init__(self, count: int | None):
        super().__init__()
        self.count = count

    def step(self, action: np.ndarray):
        result = (*super().step(action), {})
        return None if self.count is None else result[: self.count]


class Parts(Odd):
    """A Dict of a choice and a matrix; `observation` changes the dict."""

    observation_space = spaces.Dict(
        {"choice": spaces.Discrete(3, start=1), "matrix": spaces.Box(-9.0, 9.0, (1, 2), np.float32)}
    )

    def _look(self) -> Any:
        return {"choice": int(self.np_random.integers(1, 4)), "matrix": self.np_random.normal(size=(1, 2)).astype(np.float32)}


class OldParts(Parts):
    def reset(self, **kwargs: Any):
        return super().reset(**kwargs)[0]


PARTS: dict[str, Any] = {
    "plain": _same,
    "arrays": lambda x: {"choice": np.array([x["choice"]]), "matrix": x["matrix"][0].tolist()},
}
BAD_PARTS: dict[str, Any] = {
    "transposed": lambda x: {**x, "matrix": np.zeros((2, 2))},
    "beyond": lambda x: {**x, "choice": 0},
    "half": lambda x: {**x, "choice": 1.5},
    "missing": lambda x: {"choice": 1},
    "array": lambda x: np.zeros(5, np.float32),
}


def _register(name: str, entry: type, **kwargs: Any) -> None:
    gym.register(f"odd/{name}-v0", entry_point=entry, kwargs=kwargs, max_episode_steps=7)


for _argument, _tables in (
    ("reward", (REWARDS, BAD_REWARDS)),
    ("observation", (OBSERVATIONS, BAD_OBSERVATIONS)),
    ("first", (OBSERVATIONS, BAD_OBSERVATIONS)),
    ("flag", (FLAGS, BAD_FLAGS)),
):
    for _table in _tables:
        for _name, _change in _table.items():
            _register(f"{_argument}-{_name.replace(' ', '-')}", Odd, **{_argument: _change})
for _name, _change in (PARTS | BAD_PARTS).items():
    _register(f"parts-{_name}", Parts, observation=_change)
_OLD = {"reset": OldReset, "seed": OldSeed, "options": OldOptions, "step": OldStep, "parts": OldParts}
for _name, _entry in _OLD.items():
    _register(f"old-{_name}", _entry)
for _size in ("1e160", "1e200", "1e308"):
    _register(f"huge-reward-{_size}", Odd, reward=lambda r, size=float(_size): size * ((1.0 + abs(r)) / 2.0), late=80)
    _register(f"huge-observation-{_size}", Odd, observation=lambda x, size=float(_size): x.astype(np.float64) * size, late=80)
for _count in (None, 3, 6):
    _register(f"steps-{_count}", Steps, count=_count)
