"""Vectorised environments in Baselines' names: `VecEnv`, `DummyVecEnv` (in this process), `SubprocVecEnv` (in workers).

Two ways to use one:

* `reset`, `step(actions)`: lock-step, as in Baselines; an environment whose episode ends is reset at once, its last
  observation is in `infos[i]["terminal_observation"]`, and `infos[i]["TimeLimit.truncated"]` tells a time limit.
* `collect(actor, nsteps, normalizer)`: whole segments at once, the fast way; see `slot.py`. What it returns does not
  depend on the number of workers.

One of somebody's own needs `reset` and `step_wait` alone: segments are then collected by stepping, see `stepping.py`, and a
resumed run begins new episodes.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np

from baselines_compat.actor import Actor, ActorSpec, JointActor
from baselines_compat.conform import size_of
from baselines_compat.errors import UserError
from baselines_compat.vec_env.arguments import check, whole
from baselines_compat.vec_env.faults import WorkerError
from baselines_compat.vec_env.normalizer import Normalizer
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays, SegmentInfo
from baselines_compat.vec_env.slot import EnvSlot
from baselines_compat.vec_env.slots import Slots
from baselines_compat.vec_env.stepping import Moves, SteppedCollection
from baselines_compat.vec_env.together import Together

EnvFn = Callable[[], gym.Env]


def lock_step(slot: EnvSlot, action: Any) -> tuple[np.ndarray, float, bool, dict]:
    """One step of one slot in Baselines' form, resetting at the end of an episode."""
    observation, reward, terminated, truncated, info = slot.step(action)
    done = terminated or truncated
    if done:
        episode = {"r": slot.episode_return, "l": slot.episode_length}
        info = {
            **info,
            "terminal_observation": observation,
            "TimeLimit.truncated": truncated and not terminated,
            "episode": episode,
        }
        observation = slot.reset(cut=not terminated)
    slot.pending = observation
    return observation, reward, done, info


Own = TypeVar("Own", bound="VecEnv")


class VecEnv(abc.ABC):
    """Several copies of an environment. Observations are flat: [num_envs, obs].

    Attributes:
      seed: of the exploration where segments are collected by stepping.
    """

    seed: int = 0
    _stepped: SteppedCollection | None = None

    def __init__(self, num_envs: int, observation_space: gym.Space, action_space: gym.Space):
        self.num_envs = num_envs
        self.observation_space = observation_space
        self.action_space = action_space
        self._actions: Sequence[Any] | None = None

    @abc.abstractmethod
    def reset(self) -> np.ndarray:
        """Start an episode everywhere; observations [num_envs, obs]."""

    @abc.abstractmethod
    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]: ...

    def step_async(self, actions: Sequence[Any]) -> None:
        self._actions = actions

    def step(self, actions: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        """observations [num_envs, obs], rewards [num_envs], dones [num_envs], infos."""
        self.step_async(actions)
        return self.step_wait()

    def collect(
        self, spec: ActorSpec | JointActor, flat: np.ndarray, nsteps: int, normalizer: Normalizer
    ) -> tuple[SegmentArrays, list[list[EpisodeRecord]]]:
        """A segment of `nsteps` from every environment; its samples are merged into `normalizer`.

        Args:
          spec: how actions are chosen: in each environment's process, or for all at once in this one.
          flat: weights of the policy [P] or more.

        Returns:
          arrays with a leading axis of environments (valid until the next call), and the finished episodes of each.
        """
        if isinstance(spec, JointActor):
            raise UserError(
                f"{type(self).__name__} can only be stepped, and so takes networks of dense layers alone: give env as an id, "
                "a function or a DummyVecEnv."
            )
        arrays, infos = self._stepping().collect(self.reset, self._moves, spec, flat, nsteps, normalizer)
        return arrays, self._merge(infos, normalizer)

    def _stepping(self) -> SteppedCollection:
        if self._stepped is None:
            self._stepped = SteppedCollection(self.observation_space, self.action_space, self.num_envs, self.seed)
        return self._stepped

    def _moves(self, actions: list[Any]) -> Moves:
        """A step in Baselines' form, read: where its infos keep no last observation, a time limit counts as an end."""
        observations, rewards, dones, infos = self.step(actions)
        followed, cut = np.array(observations), np.zeros(self.num_envs, bool)
        for i in np.flatnonzero(dones):
            last = infos[i].get("terminal_observation")
            if last is not None:
                followed[i] = last
                cut[i] = bool(infos[i].get("TimeLimit.truncated", False))
        ended = np.array(dones, bool) & ~cut
        return Moves(followed, np.asarray(rewards), ended, cut, np.array(observations), np.ones(self.num_envs, bool))

    def get_state(self) -> Any:
        """The state of every environment, for a checkpoint: dicts, lists and arrays."""
        return self._stepping().state()

    def set_state(self, states: Any, /) -> list[str]:
        """Continue from `get_state()`, in fresh environments. Returns what did not come back, a sentence each."""
        self._stepping().restore(states)
        return [
            f"{type(self).__name__} begins new episodes: the open ones are not in a checkpoint. The run goes on, but not "
            "with the numbers that it would have had without the interruption."
        ]

    def remarks(self) -> list[str]:
        """What users should know about the environments' randomness so far, a sentence each."""
        return []

    def close(self) -> None:  # noqa: B027 - one of somebody's own may have nothing to close
        """Close every environment. EnvironmentFailure, once all are closed, if one of them raised."""

    @staticmethod
    def _merge(infos: Sequence[SegmentInfo], normalizer: Normalizer) -> list[list[EpisodeRecord]]:
        for info in infos:  # in the order of the environments, whoever ran them
            normalizer.merge(info.observations, info.returns)
        return [info.episodes for info in infos]

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: Any) -> None:
        # What ended the block counts, and not what closing after it meets.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(WorkerError):
            self.close()


class DummyVecEnv(VecEnv):
    """All environments in this process, one after another.

    Args:
      env_fns: make the environments.
      seed: seed of the run.
      timeout: seconds after which an environment that does not come back is given up (EnvironmentFailure); 0: never.
        With it they live in a thread of their own.

    Raises:
      UserError: no functions, or a number that is none.
    """

    def __init__(self, env_fns: Sequence[EnvFn], seed: int = 0, timeout: float = 0.0):
        check(env_fns, timeout)
        self.slots = Slots(env_fns, range(len(env_fns)), whole("seed", seed, 0), timeout=timeout)
        first = self.slots[0].env
        super().__init__(len(self.slots), first.observation_space, first.action_space)

    def reset(self) -> np.ndarray:
        return np.stack(self.slots.map(EnvSlot.begin))

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        assert self._actions is not None, "step_wait without step_async"
        results = self.slots.map(lock_step, self._actions)
        observations, rewards, dones, infos = zip(*results, strict=True)
        return np.stack(observations), np.asarray(rewards), np.asarray(dones), list(infos)

    def collect(
        self, spec: ActorSpec | JointActor, flat: np.ndarray, nsteps: int, normalizer: Normalizer
    ) -> tuple[SegmentArrays, list[list[EpisodeRecord]]]:
        obs_size = size_of(self.observation_space)
        arrays = SegmentArrays.empty(nsteps, obs_size, self.action_space, self.num_envs)
        snapshot = normalizer.snapshot()
        if isinstance(spec, JointActor):
            spec.load(flat)
            together = Together(self.slots, spec.head, spec.free(), arrays, snapshot, normalizer.settings)
            together.begin()
            for t in range(nsteps):
                together.advance(spec.outputs(arrays.observations[:, t]))
            return arrays, self._merge(together.infos(), normalizer)
        actor = Actor(spec, flat)

        def collect(slot: EnvSlot) -> SegmentInfo:
            own = arrays.of(slot.index)
            return slot.watch_draws(lambda: slot.collect(actor, snapshot, normalizer.settings, own))

        infos = self.slots.map(collect)
        return arrays, self._merge(infos, normalizer)

    def get_state(self) -> list[dict[str, Any]]:
        return [slot.state() for slot in self.slots]

    def set_state(self, states: list[dict[str, Any]]) -> list[str]:
        return [line for lines in self.slots.map(EnvSlot.restore, states) for line in lines]

    def remarks(self) -> list[str]:
        return [line for slot in self.slots for line in slot.remarks()]

    def close(self) -> None:
        self.slots.close()
