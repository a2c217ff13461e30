"""Environments that live in an actor: what it is told, and what it tells back. No TensorFlow is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from baselines_compat.actor import Actor, ActorSpec
from baselines_compat.conform import size_of
from baselines_compat.vec_env.normalizer import NormalizerSettings
from baselines_compat.vec_env.segment import SegmentArrays, SegmentInfo
from baselines_compat.vec_env.slot import EnvSlot
from baselines_compat.vec_env.slots import Slots
from baselines_compat.vec_env.vec_env import EnvFn, lock_step

States = list[dict[str, Any]]


class SlotsWorker:
    """Some of a run's environments.

    Args:
      number: of the actor, for messages.
      env_fns, indices: make the environments, and their numbers.
      seed: of the run.
      timeout: seconds after which an environment that does not come back is given up; 0: never.

    Raises:
      ValueError, EnvironmentFailure: an environment cannot be made.
    """

    def __init__(self, number: int, env_fns: Sequence[EnvFn], indices: Sequence[int], seed: int, timeout: float):
        self.slots = Slots(env_fns, indices, seed, f" in Ray actor {number}", timeout)

    def spaces(self) -> tuple[gym.Space, gym.Space]:
        """Of observations and actions."""
        return self.slots[0].env.observation_space, self.slots[0].env.action_space

    def collect(
        self, told: tuple[ActorSpec, np.ndarray, Any, NormalizerSettings, int]
    ) -> tuple[SegmentArrays, list[SegmentInfo], States]:
        """A segment of every environment [k, T, ...], what it adds to the statistics, and the states that follow it.

        Args:
          told: the policy's shape and weights, the normalizer's statistics and settings, the steps T.
        """
        spec, flat, snapshot, settings, steps = told
        # What comes from another machine may not be written to.
        actor = Actor(spec, np.array(flat))
        observation_space, action_space = self.spaces()
        arrays = SegmentArrays.empty(steps, size_of(observation_space), action_space, len(self.slots))
        rows = iter(range(len(self.slots)))

        def collect_one(slot: EnvSlot) -> SegmentInfo:
            own = arrays.of(next(rows))
            return slot.watch_draws(lambda: slot.collect(actor, snapshot, settings, own))

        return arrays, self.slots.map(collect_one), self.get_state()

    def reset(self) -> list[np.ndarray]:
        """Starts an episode in every environment."""
        return self.slots.map(EnvSlot.begin)

    def step(self, actions: Sequence[Any]) -> list[tuple]:
        """One step of every environment."""
        return self.slots.map(lock_step, actions)

    def get_state(self) -> States:
        """The state of every environment."""
        return [slot.state() for slot in self.slots]

    def set_state(self, states: States) -> list[str]:
        """Continue from `get_state()`. Returns what did not come back, a sentence each."""
        return [line for lines in self.slots.map(EnvSlot.restore, states) for line in lines]

    def remarks(self) -> list[str]:
        """What users should know about the environments' randomness, a sentence each."""
        return [line for slot in self.slots for line in slot.remarks()]

    def close(self) -> None:
        """Closes every environment."""
        self.slots.close()
