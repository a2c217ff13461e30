"""One environment with everything that its trajectory depends on, and the loop that collects a segment from it.

A slot's segment depends on the slot's own random streams, the policy and the run's statistics, and on nothing of
other slots: so the result does not depend on how slots are spread over processes. No TensorFlow is imported here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np

from baselines_compat import streams
from baselines_compat.actions import chosen_shape, to_environment
from baselines_compat.actor import Actor
from baselines_compat.errors import NonFiniteError
from baselines_compat.running_mean_std import Moments
from baselines_compat.vec_env import faults, generators
from baselines_compat.vec_env.intake import NUMERIC, Intake
from baselines_compat.vec_env.normalizer import LocalNormalizer, NormalizerSettings
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays, SegmentInfo

Result = TypeVar("Result")


class EnvSlot:
    """An environment, its random streams, and a record of the open episode from which it can be restored.

    Args:
      env_fn: makes the environment.
      index: the environment's number; its streams are keyed by (seed, index).
      seed: seed of the run.
      place: where it is stepped, for messages.

    Raises:
      ValueError: from the constructor, as it was raised: bad input.
      EnvironmentFailure: from the constructor and every other call, whatever else the environment raises.
    """

    def __init__(self, env_fn: Callable[[], gym.Env], index: int, seed: int, place: str = ""):
        with faults.naming(f"Environment {index}{place}", "its constructor", ValueError):
            self.env = env_fn()
        self._env_fn = env_fn
        self.index = index
        self.who = f"Environment {index} ({faults.name_of(self.env)}){place}"
        self._first_seed = streams.ENVIRONMENT_START.words(1, seed, index)[0]
        self.rng = streams.ENVIRONMENT_ACTIONS.generator(seed, index)
        self.env.action_space.seed(self._first_seed)
        self._draws_from_shared = False
        self._find_generators()
        self.environment_action = to_environment(self.env.action_space)
        self._chosen = chosen_shape(self.env.action_space)
        self._intake = Intake(self.env, self.who)
        self.resets = 0
        self._begin()

    def _begin(self) -> None:
        """Nothing has happened yet: the next reset is the first one, which seeds the environment."""
        self._reset_seed: int | None = self._first_seed
        self.pending: np.ndarray | None = None
        self._reset_state: dict[str, Any] | None = None
        self._played: list[np.ndarray] = []  # the open episode's actions as chosen, piece by piece
        self.episode_return = 0.0
        self.episode_length = 0
        self._discounted = 0.0

    def reset(self, *, cut: bool = False) -> np.ndarray:
        """Start an episode; the first reset seeds the environment, later ones continue its stream.

        Args:
          cut: a time limit ended the last episode. A monitor below it did not see an end and may refuse the reset;
            then a fresh environment goes on with the generators of the old one.
        """
        self.resets += 1
        own = generators.states(self._places)
        seed, self._reset_seed = self._reset_seed, None
        if seed is None:
            self._reset_state = {"generators": own}
            try:
                observation = self._start()
            except faults.EnvironmentFailure:
                if not cut:
                    raise
                observation = self._anew(own)
        else:
            self._reset_state = {"seed": seed, "generators": own}
            observation = self._start(seed=seed)
            self._find_generators()
        self._played = []
        self.episode_return, self.episode_length, self._discounted = 0.0, 0, 0.0
        return observation

    def _anew(self, own: Mapping[str, Any], seed: int | None = None) -> np.ndarray:
        """The first observation of an episode in a fresh environment, whose generators begin in the states `own`."""
        with contextlib.suppress(Exception):
            self.env.close()
        with faults.naming(self.who, "its constructor"):
            self.env = self._env_fn()
        generators.restore(self.env, own)
        observation = self._start(seed=seed)
        self._find_generators()
        return observation

    def _find_generators(self) -> None:
        self._places = [*generators.find(self.env), *(generators.SHARED if self._draws_from_shared else ())]

    def _start(self, **seed: Any) -> np.ndarray:
        """Reset the environment. The observation [obs] float64, a copy: environments may reuse their buffer."""
        with faults.naming(self.who, "reset"):
            result = self.env.reset(**seed)
        return np.array(self._intake.reset(result)[0], np.float64)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Clip, act, and record. Returns raw observation [obs] float64, raw reward, terminated, truncated, info.

        The action is what a policy chooses, or has the shape of the space's members: choices count from zero.
        """
        if np.ndim(action) != len(self._chosen):
            action = np.reshape(action, self._chosen)
        self._played.append(np.array([action]))
        sent = self.environment_action(action)
        with faults.naming(self.who, "step"):
            result = self.env.step(sent)
        observation, reward, terminated, truncated, info = self._intake.step(result)
        self.episode_return += reward
        self.episode_length += 1
        return np.array(observation, np.float64), reward, terminated, truncated, info

    def collect(
        self,
        actor: Actor,
        snapshot: tuple[Moments, Moments],
        settings: NormalizerSettings,
        out: SegmentArrays,
    ) -> SegmentInfo:
        """Fill `out` with one segment, acting by `actor`; see `segment`."""
        segment = self.segment(actor.draw_perturbations(self.rng, len(out.rewards)), snapshot, settings, out)
        act, advance = actor.act, segment.send
        try:
            seen, perturbation = next(segment)
            while True:
                seen, perturbation = advance(act(seen, perturbation))
        except StopIteration as end:
            info: SegmentInfo = end.value
            return info

    def segment(
        self,
        perturbations: np.ndarray,
        snapshot: tuple[Moments, Moments],
        settings: NormalizerSettings,
        out: SegmentArrays,
    ) -> Generator[tuple[np.ndarray, np.ndarray], Any, SegmentInfo]:
        """Fill `out` with one segment, resetting as episodes end.

        Yields the normalized observation [obs] float32, a row of `out`, and the row of `perturbations` that goes with it;
        takes the action; returns what the segment adds.

        An engine step empties the processor's caches, so that each NumPy call after it costs some microseconds however
        small its arrays: what can wait is done for the whole segment before or after the loop.

        Raises:
          NonFiniteError: an observation, action or reward is NaN, infinite, or too large to go on with.
          UnusableOutput: an observation, reward or flag whose meaning is not clear.
        """
        steps = out.rewards.shape[0]
        local = LocalNormalizer(snapshot, settings)
        episodes: list[EpisodeRecord] = []
        raw_rewards: list[float] = []
        if self.pending is None:
            self.pending = self.reset()
        discounted = self._discounted
        # Row t: the raw observation before step t.
        raw = np.empty((steps + 1, self.pending.size))
        raw[0] = self.pending
        actions, final_observations = out.actions, out.final_observations
        final_observations[...] = 0.0
        out.terminated[...] = False
        out.truncated[...] = False
        first = 0  # step of the segment from which the open episode is in it
        send, clipped = self.env.step, self.environment_action
        observe = local.observe
        intake, plain, ndarray, kinds = self._intake, self._intake.plain, np.ndarray, NUMERIC
        for t, (seen, now, perturbation) in enumerate(zip(out.observations, raw, perturbations, strict=False)):
            observe(now, seen)
            action = yield seen, perturbation
            actions[t] = action
            try:
                result = send(clipped(action))
            except BaseException as error:
                if faults.is_users(error):
                    raise
                # What the environment choked on, if it is that.
                self._write_rewards(out, raw_rewards, local, discounted)
                self._check(raw[: t + 1], out, raw_rewards)
                raise faults.failure(error, self.who, "step") from error
            if type(result) is not tuple or len(result) != 5:
                result = intake.five(result)
            observation, reward, terminated, truncated, _ = result
            if type(observation) is not ndarray or observation.shape != plain or observation.dtype.kind not in kinds:
                observation = intake.observation(observation, "step")
            if type(reward) is not float:
                reward = intake.reward(reward)
            self.episode_return += reward
            self.episode_length += 1
            raw_rewards.append(reward)
            if terminated is not False or truncated is not False:
                terminated, truncated = intake.flag(terminated, "terminated"), intake.flag(truncated, "truncated")
            if terminated or truncated:
                out.terminated[t], out.truncated[t] = terminated, truncated
                final = np.array(observation, np.float64)
                if not np.isfinite(final).all():
                    self._write_rewards(out, raw_rewards, local, discounted)
                    self._check(np.concatenate([raw[: t + 1], final[np.newaxis]]), out, raw_rewards)
                final_observations[t] = local.normalize(final)
                episodes.append(EpisodeRecord(self.episode_return, self.episode_length, time.time()))
                observation, first = self.reset(cut=not terminated), t + 1
                send = self.env.step  # it may be another environment
            raw[t + 1] = observation
        if not (out.terminated[-1] or out.truncated[-1]):
            final_observations[-1] = local.normalize(raw[-1])
        returns, self._discounted = self._write_rewards(out, raw_rewards, local, discounted)
        self._played.append(actions[first:].copy())
        self.pending = raw[-1].copy()
        self._check(raw, out, raw_rewards)
        with np.errstate(over="ignore", invalid="ignore"):
            info = SegmentInfo(Moments.of(raw[:-1]), Moments.of(np.asarray(returns)), episodes)
        for name, moments in (("observations", info.observations), ("rewards", info.returns)):
            if not moments.finite:
                raise NonFiniteError(
                    f"{self.who} gave {name} so large that their mean and variance overflow: training stopped."
                )
        return info

    @staticmethod
    def _write_rewards(
        out: SegmentArrays, raw_rewards: list[float], local: LocalNormalizer, discounted: float
    ) -> tuple[list[float], float]:
        """Write the rewards so far; `discounted` is the return before them. The discounted returns, and the next one's."""
        count = len(raw_rewards)
        ended = np.logical_or(out.terminated[:count], out.truncated[:count]).tolist()
        scaled, returns, discounted = local.rewards(raw_rewards, ended, discounted)
        out.raw_rewards[:count], out.rewards[:count] = raw_rewards, scaled
        return returns, discounted

    def _check(self, raw: np.ndarray, out: SegmentArrays, raw_rewards: list[float]) -> None:
        """Name the first thing that is not finite: everything after it follows from it.

        Args:
          raw: observations so far [t + 1, obs].
          out: the segment, written up to step t, in the float32 that what is too large overflows.
          raw_rewards: so far.
        """
        seen = min(len(raw), len(out.rewards))
        faults = []
        places: tuple[tuple[str, Any, int], ...] = (
            ("a non-finite observation", raw, 0),
            ("an observation too large for float32", out.observations[:seen], 0),
            ("a non-finite action", out.actions[:seen], 0),
            ("a non-finite reward", raw_rewards, 0),
            ("a reward too large for float32", out.rewards[: len(raw_rewards)], 0),
            ("an observation too large for float32", out.final_observations[:seen], 1),  # those that followed
        )
        for order, (name, values, later) in enumerate(places):
            finite = np.isfinite(values)
            finite = finite.all(axis=1) if finite.ndim > 1 else finite
            if not finite.all():
                faults.append((int(np.argmin(finite)) + later, order, name))
        if faults:
            step, _, name = min(faults)
            raise NonFiniteError(f"Environment {self.index} met {name} at step {step} of the rollout: training stopped.")

    def begin(self) -> np.ndarray:
        """`reset`, for stepping one by one."""
        self.pending = self.reset()
        return self.pending

    def watch_draws(self, collect: Callable[[], Result]) -> Result:
        """What `collect` returns; from the first time on that it draws from generators of all modules, they are kept too."""
        if self._draws_from_shared:
            return collect()
        info, self._draws_from_shared = generators.drawn(collect)
        return info

    def state(self) -> dict[str, Any]:
        """Everything from which `restore` continues the slot: streams, and how the open episode came about."""
        if self._reset_state is None:
            return {"started": False, "noise": self.rng.bit_generator.state}
        self._find_generators()
        pieces = [piece for piece in self._played if len(piece)]  # nothing played is the same however it came about
        played = np.concatenate(pieces) if pieces else np.empty(0)
        return {
            "started": True,
            "noise": self.rng.bit_generator.state,
            "generators": generators.states(self._places),
            "reset": self._reset_state,
            "played": played,
            "discounted": self._discounted,
            "return": self.episode_return,
            "pending": self.pending,
            "draws_from_shared": self._draws_from_shared,
        }

    def remarks(self) -> list[str]:
        """What users should know about the environment's randomness, a sentence each."""
        if not self._draws_from_shared:
            return []
        return [
            f"{self.who} draws from the generators that all modules share (numpy.random, random): --seed does not set "
            "them, so the same flags give other numbers, and a resumed run may go on otherwise than one that was not "
            "interrupted. self.np_random does neither."
        ]

    def restore(self, state: dict[str, Any]) -> list[str]:
        """Continue from `state()`: put generators back, and replay the open episode.

        Returns:
          what did not come back as it was, a sentence each.
        """
        self.rng.bit_generator.state = state["noise"]
        self._draws_from_shared = state.get("draws_from_shared", False)
        if not state["started"]:
            self._begin()
            return []
        reset = state["reset"]
        raw = self._begin_again(reset)
        self._reset_seed = None
        self._reset_state = reset
        self._played = []
        self.episode_return, self.episode_length = 0.0, 0
        over = False
        for action in state["played"]:
            if over:
                break
            raw, _, terminated, truncated, _ = self.step(action)
            over = terminated or truncated
        generators.restore(self.env, state.get("generators", {}))
        self._find_generators()
        self.pending, self._discounted = raw, state["discounted"]
        same = not over and (
            "pending" not in state  # written by an older version
            or (np.array_equal(raw, state["pending"], equal_nan=True) and self.episode_return == state["return"])
        )
        if over:
            self.pending = self.reset()
        if same:
            return []
        return [
            f"{self.who} did not repeat its open episode, of {len(state['played'])} steps: something in it is random, or "
            "remembered from earlier episodes, that checkpoints do not hold. The run goes on, but not with the numbers "
            "that it would have had without the interruption."
        ]

    def _begin_again(self, reset: Mapping[str, Any]) -> np.ndarray:
        """The first observation of the open episode."""
        seed, own = reset.get("seed"), reset.get("generators")
        try:
            if seed is None:
                # A first reset with any seed makes sure that all generators exist. Not through the wrappers, where a
                # monitor may object to the next one.
                with faults.naming(self.who, "reset"):
                    self.env.unwrapped.reset(seed=0)
            if own is None and seed is None:  # written by an older version
                self.env.unwrapped.np_random.bit_generator.state = reset["rng"]
            generators.restore(self.env, own or {})
            return self._start(seed=seed)
        except faults.EnvironmentFailure:
            if own is None:
                raise
            return self._anew(own, seed)

    def close(self) -> None:
        with faults.naming(self.who, "close"):
            self.env.close()
