"""The slots of one process, called together and given up together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym

from baselines_compat.vec_env import faults
from baselines_compat.vec_env.slot import EnvSlot
from baselines_compat.vec_env.watched import Watched


class Slots:
    """Slots of one process, each call of which may be given up.

    Args:
      env_fns, indices, seed, place: of the slots, see `EnvSlot`.
      timeout: seconds after which an environment that does not come back is given up; 0: never.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]],
        indices: Sequence[int],
        seed: int,
        place: str = "",
        timeout: float = 0.0,
    ):
        self._all: list[EnvSlot] = []
        self._watched = Watched(timeout)
        self._at = f"Environment {indices[0]}{place}"

        def make() -> None:
            for fn, i in zip(env_fns, indices, strict=True):
                self._at = f"Environment {i}{place}"
                self._all.append(EnvSlot(fn, i, seed, place))
            list(faults.distinct(slot.env for slot in self._all))

        self._watched.call(make, self._who, lambda: len(self._all))

    def __iter__(self) -> Iterator[EnvSlot]:
        return iter(self._all)

    def __getitem__(self, i: int) -> EnvSlot:
        return self._all[i]

    def __len__(self) -> int:
        return len(self._all)

    def map(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """`function(slot, ...)` of every slot, with an element of each of `arguments`."""

        def call() -> list[Any]:
            results = []
            for slot, *own in zip(self._all, *arguments, strict=True):
                self._at = slot.who
                results.append(function(slot, *own))
            return results

        return self._watched.call(call, self._who, lambda: [(slot.resets, slot.episode_length) for slot in self._all])

    def close(self) -> None:
        """Close every slot, unless one hangs. EnvironmentFailure: the first of their failures."""
        if self._watched.hung is None:
            self._watched.call(lambda: close_all(self._all), self._who)
            self._watched.close()

    def _who(self) -> str:
        return self._at


def close_all(slots: Sequence[EnvSlot]) -> None:
    """Close every slot, also after one of them failed.

    Raises:
      EnvironmentFailure: the first of their failures.
    """
    first = None
    for slot in slots:
        try:
            slot.close()
        except faults.EnvironmentFailure as error:
            first = first or error
    if first is not None:
        raise first
