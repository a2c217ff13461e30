"""A segment of experience: its arrays, what it adds to the statistics, and the episodes that ended in it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import gymnasium as gym
import numpy as np

from baselines_compat.actions import chosen_shape
from baselines_compat.running_mean_std import Moments


class EpisodeRecord(NamedTuple):
    """A finished episode: undiscounted return of raw rewards, length, time of its end (seconds since the epoch)."""

    r: float
    l: int  # noqa: E741 - Baselines' name
    t: float


@dataclasses.dataclass
class SegmentArrays:
    """Where a segment of T steps is written; views into shared memory when a worker fills it.

    `observations` [T, obs] float32 normalized, `actions` [T, act] float32 (or [T] int32) before clipping, `rewards`
    [T] float32 scaled, `raw_rewards` [T] float64, `terminated` and `truncated` [T] bool, `final_observations`
    [T, obs] float32: at a step that ends an episode, or the segment, the normalized observation that followed it.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    raw_rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_observations: np.ndarray

    @staticmethod
    def layout(steps: int, obs_size: int, action_space: gym.Space) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shapes and dtypes of the arrays for one environment."""
        # Boxes take real numbers, all other spaces the numbers of choices.
        dtype = "float32" if isinstance(action_space, gym.spaces.Box) else "int32"
        actions = ((steps, *chosen_shape(action_space)), dtype)
        return {
            "observations": ((steps, obs_size), "float32"),
            "actions": actions,
            "rewards": ((steps,), "float32"),
            "raw_rewards": ((steps,), "float64"),
            "terminated": ((steps,), "bool"),
            "truncated": ((steps,), "bool"),
            "final_observations": ((steps, obs_size), "float32"),
        }

    @classmethod
    def empty(cls, steps: int, obs_size: int, action_space: gym.Space, num_env: int) -> SegmentArrays:
        """Fresh arrays with a leading axis of environments [num_env, T, ...]."""
        layout = cls.layout(steps, obs_size, action_space)
        return cls(**{name: np.zeros((num_env, *shape), dtype) for name, (shape, dtype) in layout.items()})

    def of(self, index: int) -> SegmentArrays:
        """The arrays of one environment (views)."""
        return SegmentArrays(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})


class SegmentInfo(NamedTuple):
    """What a segment adds besides its arrays."""

    observations: Moments
    returns: Moments
    episodes: list[EpisodeRecord]
