"""Every member of a population runs one episode, all of them side by side in one vector environment.

The loop over the horizon is one `tf.function`. At each step the whole chunk acts at once (`wng_tf.policies.populations`), and
all its worlds step together in one `tf.numpy_function`. What the rollouts leave behind (rewards, lengths, last observations,
sums for the normalizer) is written by that same call into arrays made beforehand. Where episodes end early, the loop stops
each time half of the members are done and goes on with the others alone, so that a few long episodes do not pay for the
policies of all.

A rollout depends on its own parameters, seed and noise alone: the result does not depend on how the population is cut
into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from threading import Event
from typing import Any

import gymnasium
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from baselines_compat.actions import from_environment, to_environment
from baselines_compat.errors import NonFiniteError
from wng_tf.evolution.embeddings import Trajectories
from wng_tf.policies.normalizers import ObservationNormalizer, shifted_and_scaled
from wng_tf.policies.populations import population_of
from wng_tf.policies.spec import PolicySpec


@dataclass(frozen=True)
class Rollouts:
    """What N rollouts left behind.

    Attributes:
      returns: [N], undiscounted sums of rewards.
      trajectories: what embeddings are made of.
      observation_squares: [N, observations], sums of squares of the observations that were acted on.
    """

    returns: NDArray[np.float64]
    trajectories: Trajectories
    observation_squares: NDArray[np.float64]


class _Record:
    """Arrays of one chunk's rollouts, filled step by step."""

    def __init__(self, num: int, horizon: int, observations: int, actions: int, every_step: bool):
        self.rewards = np.zeros((num, horizon))
        self.lengths = np.zeros(num, np.int64)
        self.sums = np.zeros((num, observations))
        self.squares = np.zeros((num, observations))
        self.last = np.zeros((num, observations))
        self.alive = np.ones(num, np.bool_)
        self.observations = np.zeros((num, horizon, observations), np.float32) if every_step else None
        self.actions = np.zeros((num, horizon, actions), np.float32) if every_step else None
        self.broken = ""
        self.failure: BaseException | None = None
        self.step = 0
        # Worlds whose members still act, and the actions of all worlds; None: everybody does.
        self.members: NDArray[np.int64] | None = None
        self.chosen: NDArray[Any] | None = None
        # Added to the actions of all worlds, [horizon, num, actions].
        self.noise: NDArray[np.float32] | None = None

    def restart(self, noise: NDArray[np.float32] | None) -> None:
        for array in (self.rewards, self.lengths, self.sums, self.squares, self.observations, self.actions):
            if array is not None:
                array[...] = 0
        self.alive[:] = True
        self.broken, self.failure, self.step = "", None, 0
        self.members = self.chosen = None
        self.noise = noise

    def compact(self) -> NDArray[np.int64]:
        """Go on with the members that are alive; returns their worlds."""
        self.chosen = np.array(self.chosen)  # what TensorFlow handed over is not ours to write to
        self.members = np.flatnonzero(self.alive)
        return self.members

    def rollouts(self, count: int) -> Rollouts:
        """A copy of the first `count` rollouts."""
        trajectories = Trajectories(
            rewards=self.rewards[:count].copy(),
            lengths=self.lengths[:count].copy(),
            final_observations=self.last[:count].copy(),
            observation_sums=self.sums[:count].copy(),
            observations=None if self.observations is None else self.observations[:count].copy(),
            actions=None if self.actions is None else self.actions[:count].copy(),
        )
        return Rollouts(trajectories.rewards.sum(axis=1), trajectories, self.squares[:count].copy())


class EpisodeLoop:
    """Runs populations of one policy in chunks of `env.num_envs` worlds."""

    def __init__(
        self,
        spec: PolicySpec,
        env: gymnasium.vector.VectorEnv[Any, Any, Any],
        horizon: int,
        *,
        every_step: bool = False,
        normalize: bool = True,
    ):
        """Prepares buffers and the compiled loop.

        Args:
          spec: the policy's shape, whose head is deterministic.
          env: a vector environment without autoreset whose worlds freeze when they end, or never end within the
            horizon.
          horizon: at most this many steps a rollout.
          every_step: record every observation and action.
          normalize: observations go through a normalizer, and they and their squares are summed for the next one.
        """
        self.spec, self.env, self.horizon = spec, env, horizon
        self._normalize = normalize
        self._stop = Event()
        self._record = _Record(env.num_envs, horizon, spec.observations, spec.head.num_coordinates, every_step)
        head: Any = spec.head  # a `DeterministicHead`
        self._noise_scale = np.float32(head.noise) * head.noise_scale()
        self._to_environment = to_environment(env.single_action_space)
        self._from_environment = from_environment(env.single_action_space)
        self._network = population_of(spec.network)
        layers = self._network.signature()
        vectors = [tf.TensorSpec([spec.observations])] * (2 if normalize else 0)
        signature = [layers, vectors, tf.TensorSpec([None, spec.observations])]
        self._loop = tf.function(self._run, input_signature=signature, autograph=False)

    def __call__(
        self,
        parameters: NDArray[np.float64],
        seeds: Sequence[int],
        noise: NDArray[np.float32] | None,
        normalizer: ObservationNormalizer | None,
        stop: Event | None = None,
    ) -> Rollouts:
        """Runs one episode with every row of `parameters`.

        Args:
          parameters: [N, P].
          seeds: [N], of the worlds.
          noise: [horizon, N, actions], standard normal; None: no noise.
          normalizer: for the observations; None, and only then, if the loop was made without.
          stop: once it is set, the call returns at its next step, with rollouts that are worth nothing.

        Raises:
          NonFiniteError: an observation, reward or action was NaN or infinite.
          EnvironmentFailure, WorkerError: the worlds failed.
        """
        self._stop = stop or Event()
        chunk = self.env.num_envs
        scaled = None if noise is None else noise * self._noise_scale
        parts = []
        for start in range(0, len(parameters), chunk):
            end = min(start + chunk, len(parameters))
            # The last chunk is filled up with copies of its last member, whose rollouts are thrown away.
            rows = np.minimum(np.arange(start, start + chunk), end - 1)
            own_noise = None if scaled is None else scaled[:, rows]
            parts.append(self._chunk(parameters[rows], [seeds[i] for i in rows], own_noise, normalizer, end - start))
        return concatenate(parts)

    def _chunk(
        self,
        parameters: NDArray[np.float64],
        seeds: list[int],
        noise: NDArray[np.float32] | None,
        normalizer: ObservationNormalizer | None,
        count: int,
    ) -> Rollouts:
        record = self._record
        record.restart(noise)
        used = np.arange(len(seeds)) < count
        every: Any = seeds  # Gymnasium's annotation leaves lists out
        observation, _ = self.env.reset(seed=every)
        record.alive[:] = used
        record.last = np.asarray(observation, np.float64)
        with np.errstate(over="ignore"):
            inputs = np.asarray(observation, np.float32)
        if not np.isfinite(inputs).all():
            record.broken = _broken_observation(observation)
        else:
            layers = self._network.weights(parameters)
            vectors = [] if normalizer is None else [tf.constant(vector) for vector in normalizer.vectors()]
            members: Any = slice(None)
            while True:
                self._loop(
                    tf.nest.map_structure(lambda part, chosen=members: tf.constant(part[chosen]), layers),
                    vectors,
                    tf.constant(inputs[members]),
                )
                if record.failure is not None:
                    raise record.failure
                if record.broken or self._stop.is_set() or record.step == self.horizon or not record.alive.any():
                    break
                members = record.compact()
                inputs = record.last.astype(np.float32)
        if record.broken:
            raise NonFiniteError(
                f"{record.broken} at step {record.step} of a rollout: the run stops, its last "
                "checkpoint is kept. A smaller --lr or --sigma may avoid it."
            )
        return record.rollouts(count)

    def _run(self, layers: list[Any], normalizer: list[tf.Tensor], observation: tf.Tensor) -> tf.Tensor:
        """Steps of the members whose layers these are, until `_step` says that it is enough; the last observations."""

        def body(x: tf.Tensor, _: tf.Tensor) -> list[tf.Tensor]:
            action = self._act(layers, shifted_and_scaled(x, normalizer))
            x_next, going = tf.numpy_function(self._step_or_stop, [action], [tf.float32, tf.bool], stateful=True)
            x_next.set_shape(observation.shape)
            going.set_shape([])
            return [x_next, going]

        return tf.while_loop(lambda x, going: going, body, [observation, tf.constant(True)], parallel_iterations=1)[0]

    def _act(self, layers: list[Any], x: tf.Tensor) -> tf.Tensor:
        """Actions of N policies, one observation each, before noise and bounds."""
        return self.spec.head.mode_tensor(self._network.outputs(layers, x))

    def _step_or_stop(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], np.bool_]:
        """`_step`; an exception ends the loop and is kept, as TensorFlow would put one of its own in its place."""
        try:
            return self._step(actions)
        except BaseException as error:
            self._record.failure = error
            return np.zeros((len(actions), self.spec.observations), np.float32), np.bool_(False)

    def _step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], np.bool_]:
        """Steps the worlds and writes down what happened; runs inside the graph. The second result: go on as before."""
        record = self._record
        alive, t, members = record.alive, record.step, record.members
        if members is None or record.chosen is None:
            record.chosen = actions
        else:
            # Worlds that have ended are frozen: what they are sent does not matter.
            record.chosen[members] = actions
            actions = record.chosen
        outputs = actions if record.noise is None else actions + record.noise[t]
        actions = self._to_environment(outputs)
        everybody = alive.all()
        if self._normalize:
            weight = 1.0 if everybody else alive[:, np.newaxis]
            record.sums += record.last * weight
            record.squares += np.square(record.last) * weight
        if record.observations is not None and record.actions is not None:
            record.observations[alive, t] = record.last[alive]
            record.actions[alive, t] = self.spec.head.coordinates(self._from_environment(actions))[alive]

        observation, reward, terminated, truncated, _ = self.env.step(actions)
        record.rewards[:, t] = reward if everybody else np.where(alive, reward, 0.0)
        record.lengths += alive
        record.last = observation
        record.step = t + 1
        record.alive = alive & ~(terminated | truncated)
        # A sum is not finite where a term is not; it costs less than looking at each.
        with np.errstate(over="ignore", invalid="ignore"):
            x = observation.astype(np.float32)
            fine = np.isfinite(x.sum() + reward.sum() + outputs.sum())
        if not fine:
            broken = (
                ("NaN or infinite action", outputs),
                (_broken_observation(observation), x),
                ("NaN or infinite reward", reward),
            )
            record.broken = next((name for name, array in broken if not np.isfinite(array).all()), "")
        count = len(alive) if members is None else len(members)
        half = 2 * np.count_nonzero(record.alive) > count
        going = half and record.step < self.horizon and not record.broken and not self._stop.is_set()
        return x if members is None else x[members], np.bool_(going)


def _broken_observation(observation: NDArray[np.float64]) -> str:
    return "Observation too large for float32" if np.isfinite(observation).all() else "NaN or infinite observation"


def concatenate(parts: Sequence[Rollouts], order: NDArray[np.int64] | None = None) -> Rollouts:
    """The rollouts of all parts one after another, then put into `order`: the i-th is the order[i]-th of them."""
    if len(parts) == 1 and order is None:
        return parts[0]

    def join(pick: Callable[[Rollouts], Any]) -> Any:
        arrays = [pick(part) for part in parts]
        if arrays[0] is None:
            return None
        joined = np.concatenate(arrays)
        return joined if order is None else joined[order]

    names = [field.name for field in fields(Trajectories)]
    trajectories = Trajectories(**{name: join(attrgetter(f"trajectories.{name}")) for name in names})
    return Rollouts(join(lambda part: part.returns), trajectories, join(lambda part: part.observation_squares))
