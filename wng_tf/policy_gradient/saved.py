"""The policy of a policy-gradient run, from its checkpoint alone: to act it needs no TensorFlow and no environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from baselines_compat.actions import to_environment
from baselines_compat.actor import Actor, ActorSpec
from baselines_compat.conform import observations_of
from baselines_compat.running_mean_std import RunningMeanStd
from baselines_compat.vec_env.normalizer import NormalizerSettings, normalize
from wng_tf.training import checkpoint, run_folder

if TYPE_CHECKING:
    from baselines_compat.policies import PolicyWithValue
    from baselines_compat.vec_env import VecNormalize


Layer = tuple[int, int, str]


@dataclass(frozen=True)
class SavedPolicy:
    """Acts in NumPy with the frozen normaliser, exports to TensorFlow. No optimiser, nothing that trains.

    Attributes:
      actor_spec: shape of the policy's network.
      critic_layers: dense layers (inputs, units, activation) of the value network.
      theta: [P] weights: of the actor with its logstd, then of the critic.
      mean, var: [obs] float64 statistics of the normaliser.
      normalizer: what it does with them.
      observation_space: of the environment, raw observations.
      action_space: of the environment.
    """

    actor_spec: ActorSpec
    critic_layers: tuple[Layer, ...]
    theta: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    normalizer: NormalizerSettings
    observation_space: spaces.Box
    action_space: spaces.Space[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_actor", Actor(self.actor_spec, self.theta))

    @property
    def std(self) -> np.ndarray | None:
        """Standard deviation [act] of a Gaussian policy, None for discrete actions."""
        return self._actor.std

    def act(
        self, observation: np.ndarray, rng: np.random.Generator | None = None, deterministic: bool = True
    ) -> Any:
        """The environment's action for a raw observation [obs], or actions [B, act] (integers [B]) for [B, obs].

        Args:
          rng: noise of a sampled action; a fresh generator if None.
          deterministic: the mean (the likeliest of discrete actions), or a sample of the policy.

        Raises:
          UserError: no observations of this policy's size.
          NonFiniteError: NaN or infinity in them.
        """
        observation, single = observations_of(observation, self.mean.size)
        params = self._actor.params(normalize(np.atleast_2d(observation), self.mean, self.var, self.normalizer))
        perturbations = None
        if not deterministic:
            perturbations = self._actor.draw_perturbations(rng or np.random.default_rng(), params.shape[0])
        actions = self._choose(params, perturbations)
        return actions[0] if single else actions

    def _choose(self, params: np.ndarray, perturbations: np.ndarray | None) -> np.ndarray:
        if self.actor_spec.discrete:
            if perturbations is None:
                return np.argmax(params, axis=-1)
            weights = np.exp(params - params.max(axis=-1, keepdims=True), dtype=np.float64)
            cumulative = np.cumsum(weights, axis=-1)
            below = cumulative <= perturbations * cumulative[:, -1:]
            return np.minimum(below.sum(axis=-1), params.shape[-1] - 1)
        raw = params if perturbations is None else params + perturbations
        return to_environment(self.action_space)(raw)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write a SavedModel that needs nothing but TensorFlow to the folder `path`; see `ExportedPolicy`."""
        import tensorflow as tf

        from wng_tf.policy_gradient.exported import ExportedPolicy

        module = ExportedPolicy(self)
        tf.saved_model.save(module, os.fspath(path), signatures=module.signatures())
        return Path(path)


def describe(policy: PolicyWithValue, venv: VecNormalize) -> dict[str, Any]:
    """What a checkpoint says of the policy besides its weights and the normaliser's statistics."""
    settings = venv.normalizer.settings
    return {
        "actor": policy.actor_spec().layers,
        "critic": policy.critic_layers(),
        "discrete": policy.discrete,
        "normalizer": {"ob": settings.ob, "clipob": settings.clipob, "epsilon": settings.epsilon},
        "observation_space": _space_tree(venv.observation_space),
        "action_space": _space_tree(venv.action_space),
    }


def load_policy(run_dir: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """The policy in a checkpoint of a run: "latest", "best", or the one of a given step.

    Raises:
      UserError: there is no such checkpoint, or it is damaged.
    """
    folder = Path(run_dir) / run_folder.CHECKPOINTS
    _, state = checkpoint.load(folder, which)
    try:
        return _from_state(state["learner"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise checkpoint.no_policy(folder, error) from error


def _from_state(state: Mapping[str, Any]) -> SavedPolicy:
    shape = state["policy"]
    statistics = RunningMeanStd()
    statistics.restore(state["env"]["normalizer"]["ob_rms"])
    policy = SavedPolicy(
        actor_spec=ActorSpec(_layers_of(shape["actor"]), shape["discrete"]),
        critic_layers=_layers_of(shape["critic"]),
        theta=state["learner"]["theta"],
        mean=np.asarray(statistics.mean, np.float64),
        var=np.asarray(statistics.var, np.float64),
        normalizer=NormalizerSettings(**shape["normalizer"]),
        observation_space=_space_of(shape["observation_space"]),
        action_space=_space_of(shape["action_space"]),
    )
    _check(policy)
    return policy


def _check(policy: SavedPolicy) -> None:
    """ValueError unless weights and statistics have the sizes that go with the layers and the observations."""
    actor, critic = policy.actor_spec.size, sum((inputs + 1) * units for inputs, units, _ in policy.critic_layers)
    if np.shape(policy.theta) != (actor + critic,):
        raise ValueError(f"its weights have the shape {list(np.shape(policy.theta))}, not [{actor + critic}]")
    shape = policy.observation_space.shape
    if not policy.mean.shape == policy.var.shape == shape:
        raise ValueError(f"its statistics have the shape {list(policy.mean.shape)}, not {list(shape)}")


def _layers_of(tree: list[list[Any]]) -> tuple[Layer, ...]:
    return tuple((inputs, units, activation) for inputs, units, activation in tree)


def _space_tree(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n)}
    return {"low": space.low, "high": space.high}


def _space_of(tree: Mapping[str, Any]) -> spaces.Space[Any]:
    if "n" in tree:
        return spaces.Discrete(tree["n"])
    return spaces.Box(tree["low"], tree["high"], dtype=tree["low"].dtype.type)
