"""Segments from environments that can only be stepped together: what `VecEnv.collect` is where nothing faster is known.

The numbers are those of `EnvSlot.collect`: the same random streams, the same working copy of the statistics for each
environment. Where an environment spends a call on its reset, the others go on until all have their steps; what they do
beyond that is played and counted in their episodes, and not learnt from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from baselines_compat import streams
from baselines_compat.actions import to_environment
from baselines_compat.actor import Actor, ActorSpec
from baselines_compat.conform import size_of
from baselines_compat.errors import NonFiniteError
from baselines_compat.running_mean_std import Moments
from baselines_compat.vec_env.normalizer import LocalNormalizer, Normalizer
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays, SegmentInfo


class Moves(NamedTuple):
    """What one call did to each of E environments; where the call was a reset, only `now` says something.

    `followed` [E, ...]: the observation after the step, also where the episode ended with it; `rewards`, `terminated`,
    `truncated` [E]; `now` [E, ...]: the observation to act on next; `ready` [E]: False where the next call is a reset.
    """

    followed: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    now: np.ndarray
    ready: np.ndarray


class _World:
    """What is remembered of one environment between segments."""

    def __init__(self, index: int, seed: int):
        self.index = index
        self.rng = streams.ENVIRONMENT_ACTIONS.generator(seed, index)
        self.begin()

    def begin(self) -> None:
        self.episode_return, self.episode_length, self.discounted = 0.0, 0, 0.0


class _Segment:
    """One environment's part of a segment while it comes to be."""

    def __init__(self, world: _World, actor: Actor, normalizer: Normalizer, out: SegmentArrays):
        steps = out.rewards.shape[0]
        self.world, self.actor, self.out, self.steps = world, actor, out, steps
        self.local = LocalNormalizer(normalizer.snapshot(), normalizer.settings)
        self.gamma = normalizer.settings.gamma
        self.perturbations = actor.draw_perturbations(world.rng, steps)
        self.raw: list[np.ndarray] = []
        self.returns: list[float] = []
        self.episodes: list[EpisodeRecord] = []
        self.t = 0
        out.final_observations[...] = 0.0
        out.terminated[...] = out.truncated[...] = False

    @property
    def full(self) -> bool:
        return self.t == self.steps

    def act(self, observation: np.ndarray) -> Any:
        """The action at a raw observation [obs]; beyond the segment's end its last perturbation serves again."""
        if self.full:
            return self.actor.act(self.local.normalize(observation), self.perturbations[-1])
        self._check("observation", observation)
        self.raw.append(observation)
        seen = self.out.observations[self.t]
        self.local.observe(observation, seen)
        action = self.actor.act(seen, self.perturbations[self.t])
        self.out.actions[self.t] = action
        self._check("action", action)
        return action

    def take(self, followed: np.ndarray, reward: float, terminated: bool, truncated: bool) -> None:
        """What came of that action."""
        world, out, t = self.world, self.out, self.t
        self._check("reward", reward)
        world.episode_return += reward
        world.episode_length += 1
        world.discounted = world.discounted * self.gamma + reward
        if not self.full:
            out.raw_rewards[t] = reward
            self.returns.append(world.discounted)
            out.rewards[t] = self.local.reward(reward, world.discounted)
            out.terminated[t], out.truncated[t] = terminated, truncated
            if terminated or truncated or t == self.steps - 1:
                self._check("observation", followed)
                out.final_observations[t] = self.local.normalize(followed)
            self.t += 1
        if terminated or truncated:
            self.episodes.append(EpisodeRecord(world.episode_return, world.episode_length, time.time()))
            world.begin()

    def _check(self, what: str, value: Any) -> None:
        if not np.isfinite(value).all():
            raise NonFiniteError(
                f"Environment {self.world.index} met a non-finite {what} at step {self.t} of the rollout: training stopped."
            )

    def info(self) -> SegmentInfo:
        with np.errstate(over="ignore", invalid="ignore"):
            info = SegmentInfo(Moments.of(np.stack(self.raw)), Moments.of(np.asarray(self.returns)), self.episodes)
        for name, moments in (("observations", info.observations), ("rewards", info.returns)):
            if not moments.finite:
                raise NonFiniteError(
                    f"Environment {self.world.index} gave {name} so large that their mean and variance overflow: training "
                    "stopped."
                )
        return info


class SteppedCollection:
    """Collects segments by stepping environments together.

    Args:
      observation_space, action_space: of one environment.
      num_envs: how many there are.
      seed: seed of the run; the exploration of environment i has the stream keyed by (seed, i).
    """

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, num_envs: int, seed: int):
        self._spaces = size_of(observation_space), action_space
        self._worlds = [_World(i, seed) for i in range(num_envs)]
        self._to_environment = to_environment(action_space)
        self._now: np.ndarray | None = None
        self._ready = np.ones(num_envs, bool)
        self._sent: list[Any] = []  # a reset takes no action, and the call wants one

    def collect(
        self,
        begin: Callable[[], np.ndarray],
        advance: Callable[[list[Any]], Moves],
        spec: ActorSpec,
        flat: np.ndarray,
        nsteps: int,
        normalizer: Normalizer,
    ) -> tuple[SegmentArrays, list[SegmentInfo]]:
        """A segment of `nsteps` from every environment. The statistics do not change: `SegmentInfo` has what to add.

        Args:
          begin: resets all; observations [E, ...].
          advance: a call with an action for each, as the environment takes it.
          spec, flat: the policy and its weights.
          normalizer: the statistics of the run.

        Raises:
          NonFiniteError: an observation, action or reward is NaN or infinite, or too large to go on with.
        """
        obs_size, action_space = self._spaces
        actor = Actor(spec, flat)
        arrays = SegmentArrays.empty(nsteps, obs_size, action_space, len(self._worlds))
        parts = [_Segment(world, actor, normalizer, arrays.of(world.index)) for world in self._worlds]
        if self._now is None:
            self._now = self._flat(begin())
        while not all(part.full for part in parts):
            for i in np.flatnonzero(self._ready) if self._sent else range(len(parts)):
                action = self._to_environment(parts[i].act(self._now[i]))
                self._sent[i : i + 1] = [action]
            moves = advance(list(self._sent))
            followed = self._flat(moves.followed)
            for i in np.flatnonzero(self._ready):
                parts[i].take(followed[i], float(moves.rewards[i]), bool(moves.terminated[i]), bool(moves.truncated[i]))
            self._now, self._ready = self._flat(moves.now), np.array(moves.ready, bool)
        return arrays, [part.info() for part in parts]

    def state(self) -> list[dict[str, Any]]:
        """The exploration's streams, for a checkpoint."""
        return [{"noise": world.rng.bit_generator.state} for world in self._worlds]

    def restore(self, states: Sequence[dict[str, Any]]) -> None:
        """The inverse of `state`; every environment begins an episode."""
        for world, state in zip(self._worlds, states, strict=True):
            world.rng.bit_generator.state = state["noise"]
            world.begin()
        self._now, self._ready = None, np.ones(len(self._worlds), bool)

    def _flat(self, observations: np.ndarray) -> np.ndarray:
        return np.array(observations, np.float64).reshape(len(self._worlds), -1)
