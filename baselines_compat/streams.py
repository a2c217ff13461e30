"""Random streams by purpose: a key of its own for every (seed, purpose, index). No TensorFlow is imported here.

`np.random.SeedSequence` alone does not give that: it cuts integers into words of 32 bits and pads with zeros, so that
`[2**32 + 5]`, `[5, 1]` and `[5, 1, 0]` are one key. Here the words are a hash of the seed, the purpose's name and the index.
Purposes that are older than the hash keep the keys that they had, for numbers that fit into their words: so runs repeat
what they were, to the last bit. Those keys have five words at most, the hash eight.
"""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Callable

import numpy as np

__all__ = ["ENVIRONMENT_ACTIONS", "ENVIRONMENT_START", "WEIGHTS", "Purpose"]


@dataclasses.dataclass(frozen=True)
class Purpose:
    """What a stream's numbers are for.

    Attributes:
      name: part of the key, unlike that of any other purpose.
      index: what the stream is counted by, in order; empty if a seed has one such stream.
      small: the key of seeds and indices below `limit`, as a `SeedSequence` or a bit generator; None: hashed like the rest.
      limit: where `small` ends: above it, numbers no longer fit into its words.
    """

    name: str
    index: tuple[str, ...] = ()
    small: Callable[..., np.random.SeedSequence | np.random.BitGenerator] | None = None
    limit: int = 2**32

    def key(self, seed: int, *index: int) -> np.random.SeedSequence | np.random.BitGenerator:
        """What the stream begins from.

        Raises:
          ValueError: a negative number, or more or fewer indices than the purpose has.
        """
        numbers = [operator.index(number) for number in (seed, *index)]
        if len(index) != len(self.index) or min(numbers) < 0:
            known = " and ".join(("seed", *self.index))
            raise ValueError(f"The stream '{self.name}' is keyed by {known}, integers from 0, not by {numbers}.")
        if self.small is not None and max(numbers) < self.limit:
            return self.small(*numbers)
        digest = hashlib.blake2b(repr([self.name, *numbers]).encode(), digest_size=32).digest()
        return np.random.SeedSequence(np.frombuffer(digest, "<u4").astype(np.uint32))

    def generator(self, seed: int, *index: int) -> np.random.Generator:
        """The stream itself, of a Philox generator. Raises ValueError as `key` does."""
        key = self.key(seed, *index)
        return np.random.Generator(np.random.Philox(key) if isinstance(key, np.random.SeedSequence) else key)

    def words(self, count: int, seed: int, *index: int) -> list[int]:
        """The first `count` words of 32 bits, for what takes a seed of its own. Raises ValueError as `key` does."""
        key = self.key(seed, *index)
        if not isinstance(key, np.random.SeedSequence):
            raise ValueError(f"The stream '{self.name}' gives numbers, not seeds.")
        return [int(word) for word in key.generate_state(count)]


WEIGHTS = Purpose("weights", small=np.random.SeedSequence)
"""Initial weights of policy and value: a seed for each of the four parts."""

ENVIRONMENT_START = Purpose(
    "environment start", ("environment",), lambda seed, i: np.random.SeedSequence([seed, i], spawn_key=(0,))
)
"""The seed of a training environment's first reset; later episodes continue the environment's own stream."""

ENVIRONMENT_ACTIONS = Purpose(
    "environment actions", ("environment",), lambda seed, i: np.random.SeedSequence([seed, i], spawn_key=(1,))
)
"""The policy's exploration in a training environment."""
