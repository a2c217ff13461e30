"""The policy in a checkpoint, whichever family trained it: to act it needs no TensorFlow and no environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actions import to_environment
from baselines_compat.conform import observations_of
from baselines_compat.running_mean_std import RunningMeanStd
from wng_tf.errors import UserError
from wng_tf.policies import earlier, normalizers
from wng_tf.policies import spaces as space_trees
from wng_tf.policies.heads.base import DeterministicHead, StochasticHead
from wng_tf.policies.network import Matrices, Network
from wng_tf.policies.normalizers import ObservationNormalizer
from wng_tf.policies.spec import PolicySpec
from wng_tf.runtime import memory
from wng_tf.training import checkpoint, run_folder


@dataclass(frozen=True)
class SavedPolicy:
    """Acts in NumPy with the frozen normalizer, exports to TensorFlow. No optimiser, nothing that trains.

    Attributes:
      spec: the policy's network and action head.
      theta: [P] parameters: of the network, of the head, and of the value network, if there is one.
      normalizer: of the observations; None: the policy sees them as they are.
      observation_space: of the environment, raw observations; a Box of one dimension.
      action_space: of the environment; what `act` returns belongs to it.
      value: the value network of a policy gradient.
    """

    spec: PolicySpec
    theta: NDArray[Any]
    normalizer: ObservationNormalizer | None
    observation_space: spaces.Box
    action_space: spaces.Space[Any]
    value: Network | None = None

    @cached_property
    def _matrices(self) -> Matrices:
        return self.spec.network.matrices(np.asarray(self.theta))

    @cached_property
    def _to_environment(self) -> Callable[[Any], Any]:
        return to_environment(self.action_space)

    @property
    def normaliser(self) -> ObservationNormalizer | None:
        """`normalizer` under its earlier name, for programs that read it."""
        return self.normalizer

    @property
    def std(self) -> NDArray[np.float32] | None:
        """Standard deviation [act] of a Gaussian policy, None for others."""
        head = self.spec.head
        return head.std(self.spec.free(self.theta)) if isinstance(head, StochasticHead) else None

    def act(self, observation: NDArray[Any], rng: np.random.Generator | None = None, deterministic: bool = True) -> Any:
        """The environment's action for a raw observation [obs], or actions [B, ...] for [B, obs].

        Args:
          rng: noise of a sampled action; a fresh generator if None.
          deterministic: the mean (the likeliest of discrete actions), or a sample of the policy. Of evolution strategies:
            without or with the noise that the population acted with (there is none for discrete actions).

        Raises:
          UserError: no observations of this policy's size.
          NonFiniteError: NaN or infinity in them.
        """
        x, single = observations_of(observation, self.spec.observations)
        x = np.atleast_2d(x)
        x = x.astype(np.float32) if self.normalizer is None else self.normalizer(x)
        outputs = self.spec.network.forward(self._matrices, x)
        head: Any = self.spec.head  # of either kind
        if deterministic:
            actions = head.mode(outputs)
        elif isinstance(head, StochasticHead):
            perturbations = head.draw(self.spec.free(self.theta), rng or np.random.default_rng(), len(outputs))
            actions = head.acts(outputs, perturbations)
        else:
            actions = _with_noise(head, head.mode(outputs), rng)
        actions = self._to_environment(actions)
        return actions[0] if single else actions

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write a SavedModel that needs nothing but TensorFlow to the folder `path`; see `exported.ExportedPolicy`."""
        from wng_tf.policies import exported

        return exported.export(self, path)


def _with_noise(head: DeterministicHead, actions: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
    if not head.noise or not head.num_noise:
        return actions
    rng = rng or np.random.default_rng()
    noise = head.noise_scale() * np.float32(head.noise) * rng.standard_normal(actions.shape, np.float32)
    noisy: NDArray[Any] = actions + noise
    return noisy


def to_tree(policy: SavedPolicy) -> dict[str, Any]:
    """The policy as plain data for a checkpoint."""
    return {
        **shape_tree(policy.spec, policy.observation_space, policy.action_space, policy.value),
        "theta": policy.theta,
        "normaliser": None if policy.normalizer is None else policy.normalizer.to_tree(),
    }


def shape_tree(
    spec: PolicySpec, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], value: Network | None = None
) -> dict[str, Any]:
    """A policy as plain data without its numbers, for a checkpoint that keeps those elsewhere."""
    return {
        "spec": spec.to_tree(),
        "value": None if value is None else value.to_tree(),
        "observation_space": space_trees.to_tree(observation_space),
        "action_space": space_trees.to_tree(action_space),
    }


def from_tree(tree: Mapping[str, Any]) -> SavedPolicy:
    """The inverse of `to_tree`; also of the trees that earlier versions wrote.

    Raises:
      UserError: the tree is of a version that clipped observations even where it did not normalize them; the policy is
        larger than the memory; or its action head is of a kind that is not registered.
      AttributeError, IndexError, KeyError, TypeError, ValueError: it is the tree of something else.
    """
    tree = earlier.current(tree)
    action_space = space_trees.from_tree(tree["action_space"])
    observation_space = space_trees.from_tree(tree["observation_space"])
    if not isinstance(observation_space, spaces.Box):
        raise ValueError(f"a policy with observations of {observation_space}")
    policy = SavedPolicy(
        spec=PolicySpec.from_tree(tree["spec"], action_space),
        theta=tree["theta"],
        normalizer=normalizers.from_tree(tree["normaliser"]),
        observation_space=observation_space,
        action_space=action_space,
        value=None if tree["value"] is None else Network.from_tree(tree["value"]),
    )
    _check(policy)
    return policy


def _check(policy: SavedPolicy) -> None:
    """ValueError unless weights and statistics have the sizes that go with the layers and the observations."""
    expected = policy.spec.num_parameters + (0 if policy.value is None else policy.value.size)
    if np.shape(policy.theta) != (expected,):
        raise ValueError(f"its weights have the shape {list(np.shape(policy.theta))}, not [{expected}]")
    # A Toeplitz matrix has many more entries than parameters.
    memory.check({"The policy in the run's checkpoint": 4 * policy.spec.network.entries})
    shape = policy.observation_space.shape
    for vector in () if policy.normalizer is None else policy.normalizer.vectors():
        if vector.shape != shape:
            raise ValueError(f"its statistics have the shape {list(vector.shape)}, not {list(shape)}")
    if shape != (policy.spec.observations,):
        raise ValueError(f"its observations have the shape {list(shape)}, not [{policy.spec.observations}]")


def load_policy(run_dir: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """The policy in a checkpoint of a run: "latest", "best", or the one of a given step.

    That of a policy gradient is the one after the last update, that of an evolution strategy the one evaluated last.

    Raises:
      UserError: there is no such checkpoint, or it is damaged.
    """
    folder = Path(run_dir) / run_folder.CHECKPOINTS
    _, state = checkpoint.load(folder, which)
    try:
        return from_tree(_complete(state["learner"]))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a state that is whole, but of something else, makes NumPy raise nearly anything
        raise checkpoint.no_policy(folder, error) from error


def _complete(state: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's tree with its numbers, which policy gradients keep beside it: they train with them."""
    tree = dict(state["policy"])
    if "env" in state:
        statistics = RunningMeanStd()
        statistics.restore(state["env"]["normalizer"]["ob_rms"])
        tree["theta"] = state["learner"]["theta"]
        tree["normaliser"] = {"settings": tree["normalizer"], "mean": statistics.mean, "var": statistics.var}
    return tree
