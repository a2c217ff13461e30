"""The policy that acts, whichever family trained it: it needs no TensorFlow and no environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actions import from_environment, to_environment
from baselines_compat.conform import observations_of
from baselines_compat.running_mean_std import Moments
from wng_tf.errors import UserError
from wng_tf.policies.heads.base import DeterministicHead, Head, StochasticHead
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.normalizers import ObservationNormalizer
from wng_tf.policies.observations import rows_of
from wng_tf.policies.spec import AnyNetwork, PolicySpec
from wng_tf.policies.trees import to_tree
from wng_tf.runtime import faults, output
from wng_tf.runtime.paths import expanded
from wng_tf.training import checkpoint


class Statistics(NamedTuple):
    """What the normalizers of a run have seen so far, from which a run that begins with its policy goes on.

    Attributes:
      observations: of the raw observations, each [obs].
      returns: of the discounted returns, by whose deviation rewards are scaled; None where nothing scales them.
    """

    observations: Moments
    returns: Moments | None = None

    def to_tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {name: None if moments is None else moments._asdict() for name, moments in self._asdict().items()}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Statistics:
        """The inverse of `to_tree`. KeyError, TypeError, ValueError: the tree of something else."""
        returns = tree["returns"]
        return cls(_moments(tree["observations"]), None if returns is None else _moments(returns))


def _moments(tree: Mapping[str, Any]) -> Moments:
    return Moments(float(tree["count"]), np.asarray(tree["mean"], np.float64), np.asarray(tree["m2"], np.float64))


#: What of the Keras networks that a policy was trained as can be had from the policy itself.
_OF_THE_MODEL = frozenset(
    [
        *["actor", "critic", "logstd", "parameters", "pdtype", "pd", "pd_flat", "flatten", "unflatten"],
        *["size", "policy_size", "num_policy_weights", "num_shared", "in_numpy", "actor_spec", "critic_layers"],
    ]
)


@dataclass(frozen=True)
class SavedPolicy:
    """A policy of either family, as training returns it and as it is saved: it acts on what an environment gives.

    It acts in NumPy with the frozen normalizer, and exports to TensorFlow. No optimiser, nothing that trains. The names are
    Stable-Baselines3's (`predict`, `save`) and Baselines' (`step`, `value`).

    Attributes:
      spec: the policy's network and action head.
      theta: [P] parameters: of the network, of the head, and of the value network, if there is one.
      normalizer: of the observations; None: the policy sees them as they are.
      observation_space: of the environment, flat; a Box of one dimension.
      action_space: of the environment; what acts returns what belongs to it.
      value_network: of a policy gradient.
      statistics: what the normalizers have seen; None: nothing is known of it.
      about: the run that it is of, as far as it is known: `alg`, `env`, what `env` was made with, and `network` if it is
        somebody's own, as flags name them.
      model: the Keras networks that were trained, on normalized observations, where they were trained in this process.
    """

    spec: PolicySpec
    theta: NDArray[Any]
    normalizer: ObservationNormalizer | None
    observation_space: spaces.Box
    action_space: spaces.Space[Any]
    value_network: AnyNetwork | None = None
    statistics: Statistics | None = field(default=None, repr=False, compare=False)
    about: Mapping[str, str] = field(default_factory=dict, compare=False)
    model: Any = field(default=None, repr=False, compare=False)

    # ---- acting ---------------------------------------------------------------------------------------------------

    @property
    def acts_through_tensorflow(self) -> bool:
        """Whether acting imports TensorFlow: of a network that is no chain of dense layers."""
        return isinstance(self.spec.network, KerasNetwork)

    def predict(
        self, observation: Any, state: None = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, None]:
        """Stable-Baselines3's `predict`: (the environment's action or actions, None: there is no recurrent state).

        Args:
          observation: raw, as the environment gives it: an array, a choice, a dict, a tuple; or a batch of them, whose
            arrays have one axis more, at the front.
          state, episode_start: of recurrent policies, which there are none of: None.
          deterministic: the likeliest action, or a fresh sample. Of evolution strategies: without or with the noise that
            the population acted with.

        Raises:
          UserError: no observation of this policy's, nor a batch of them.
          NonFiniteError: NaN or infinity in it.
        """
        del episode_start
        if state is not None:
            raise UserError("This policy has no recurrent state: write deterministic=... by its name, and leave out `state`.")
        outputs, single = self._seen(observation)
        actions = self._to_environment(self._chosen(outputs, self._rng, deterministic))
        return (self._first(actions) if single else actions), None

    def step(self, observation: Any, S: None = None, M: Any = None) -> tuple[Any, Any, None, Any]:
        """Baselines' `step`: actions, values, states (None: no recurrence) and -log π of the actions, for fresh samples.

        -log π is the density of the action that is returned, after it was clipped to the action space, so that it can be
        computed again from what was stored. Without a batch each is one action or number. Evolution strategies have neither
        values nor a distribution of actions: both are None.

        Args:
          observation: as for `predict`.
          S, M: states and masks of Baselines' recurrent policies, which there are none of.
        """
        del S, M
        x, single = self._normalized(observation)
        outputs = self._forward(x)
        actions = self._to_environment(self._chosen(outputs, self._rng, deterministic=False))
        values = None if self.value_network is None else self._values(x)
        neglogpacs = None
        head = self.spec.head
        if isinstance(head, StochasticHead):
            neglogpacs = -head.log_prob(outputs, self.spec.free(self.theta), from_environment(self.action_space)(actions))
        if not single:
            return actions, values, None, neglogpacs
        first = (None if x is None else x[0] for x in (values, neglogpacs))
        return self._first(actions), next(first), None, next(first)

    def value(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """Baselines' `value`: the value network's estimates [B] of the discounted return, or one number without a batch.

        In units of the rewards that the run trained with: scaled ones, unless it had `normalize_rewards=False`.

        Raises:
          UserError: the policy has no value network, as those of evolution strategies; or as for `predict`.
        """
        del args, kwargs  # states and masks of Baselines' recurrent policies
        if self.value_network is None:
            raise UserError("This policy has no value function: evolution strategies train none.")
        x, single = self._normalized(observation)
        values = self._values(x)
        return values[0] if single else values

    def act(self, observation: NDArray[Any], rng: np.random.Generator | None = None, deterministic: bool = True) -> Any:
        """The environment's action for a flat raw observation [obs], or actions [B, ...] for [B, obs].

        Args:
          rng: noise of a sampled action; the policy's own generator if None.
          deterministic: the mean (the likeliest of discrete actions), or a sample of the policy. Of evolution strategies:
            without or with the noise that the population acted with (there is none for discrete actions).

        Raises:
          UserError: no observations of this policy's size.
          NonFiniteError: NaN or infinity in them.
        """
        flat, single = observations_of(observation, self.spec.observations)
        actions = self._chosen(self._outputs(np.atleast_2d(flat)), rng or self._rng, deterministic)
        actions = self._to_environment(actions)
        return self._first(actions) if single else actions

    def set_random_seed(self, seed: int | None = None) -> None:
        """Stable-Baselines3's: the samples of `predict`, `step` and `act` repeat from here on; None: they do not."""
        self.__dict__["_rng"] = np.random.default_rng(seed)

    def _seen(self, observation: Any) -> tuple[NDArray[np.float32], bool]:
        rows, single = rows_of(observation, self.observation_space)
        return self._outputs(rows), single

    def _normalized(self, observation: Any) -> tuple[NDArray[np.float32], bool]:
        rows, single = rows_of(observation, self.observation_space)
        return self._scaled(rows), single

    def _scaled(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return rows.astype(np.float32) if self.normalizer is None else self.normalizer(rows)

    def _outputs(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return self._forward(self._scaled(rows))

    def _forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        network: Any = self.spec.network  # of either kind
        outputs: NDArray[np.float32] = network.forward(self._matrices, x)
        return outputs

    def _first(self, actions: Any) -> Any:
        """The only action of a batch: a number of Discrete, else an array."""
        return actions[0] if isinstance(self.action_space, spaces.Discrete) else actions[0, ...]

    def _chosen(self, outputs: NDArray[np.float32], rng: np.random.Generator, deterministic: bool) -> Any:
        head: Any = self.spec.head  # of either kind
        if deterministic:
            return head.mode(outputs)
        if isinstance(head, StochasticHead):
            return head.acts(outputs, head.draw(self.spec.free(self.theta), rng, len(outputs)))
        return _with_noise(head, head.mode(outputs), rng)

    def _values(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.value_network is not None
        network: Any = self.value_network  # of either kind
        values: NDArray[np.float32] = network.forward(self._value_matrices, x)[:, 0]
        return values

    @cached_property
    def _matrices(self) -> list[Any]:
        return self.spec.network.matrices(np.asarray(self.theta))

    @cached_property
    def _value_matrices(self) -> list[Any]:
        assert self.value_network is not None
        return self.value_network.matrices(np.asarray(self.theta)[self.spec.num_parameters :])

    @cached_property
    def _to_environment(self) -> Callable[[Any], Any]:
        return to_environment(self.action_space)

    @cached_property
    def _rng(self) -> np.random.Generator:
        return np.random.default_rng()

    # ---- what it is -----------------------------------------------------------------------------------------------

    @property
    def normaliser(self) -> ObservationNormalizer | None:
        """`normalizer` under its earlier name, for programs that read it."""
        return self.normalizer

    @property
    def std(self) -> NDArray[np.float32] | None:
        """Standard deviation [act] of a Gaussian policy, None for others."""
        head = self.spec.head
        return head.std(self.spec.free(self.theta)) if isinstance(head, StochasticHead) else None

    @property
    def head(self) -> Head:
        """From the network's outputs to actions."""
        return self.spec.head

    @property
    def discrete(self) -> bool:
        """Whether the actions are whole numbers."""
        return not isinstance(self.action_space, spaces.Box)

    def get_flat(self) -> NDArray[Any]:
        """A copy of `theta`."""
        return np.array(self.theta)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            model = self.__dict__.get("model") if name in _OF_THE_MODEL else None
            if model is None:
                why = ": its Keras networks are there only where they were trained" if name in _OF_THE_MODEL else ""
                raise AttributeError(f"A policy has no '{name}'{why}.", name=name, obj=self)
            return getattr(model, name)

    def __getstate__(self) -> dict[str, Any]:
        """Without the Keras networks and what can be computed again."""
        names = {one.name for one in fields(self)}
        return {**{name: value for name, value in self.__dict__.items() if name in names}, "model": None}

    # ---- keeping --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the policy to one file, which `wng_tf.load` reads: plain arrays, no pickle. Returns its path.

        Folders above it are made; a file that is there is replaced once the new one is whole.

        Raises:
          UserError: it cannot be written to.
        """
        target = expanded(path)
        if target.is_dir():
            raise UserError(f"'{target}' is a folder: name a file to save the policy to.")
        with faults.naming(target, "give another path"), output.made(target.parent):
            checkpoint.save_file(target, {"policy": to_tree(self)})
        return target

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write a SavedModel that needs nothing but TensorFlow to the folder `path`; see `exported.ExportedPolicy`."""
        from wng_tf.policies import exported

        return exported.export(self, path)


def _with_noise(head: DeterministicHead, actions: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    if not head.noise or not head.num_noise:
        return actions
    noise = head.noise_scale() * np.float32(head.noise) * rng.standard_normal(actions.shape, np.float32)
    noisy: NDArray[Any] = actions + noise
    return noisy
