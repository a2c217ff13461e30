"""The policy of a finished or running evolution run, which acts by itself: the normaliser is inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actions import to_environment
from baselines_compat.conform import observations_of
from wng_tf.errors import UserError
from wng_tf.evolution.normaliser import Normaliser
from wng_tf.evolution.policies import ActionHead, PolicySpec, forward
from wng_tf.runtime import memory
from wng_tf.training import checkpoint, run_folder


@dataclass(frozen=True)
class SavedPolicy:
    """Acts in NumPy, exports to TensorFlow.

    Attributes:
        spec: the policy's shape.
        theta: [P].
        normaliser: of the observations; None: the policy sees them as they are.
        action_noise: standard deviation of the noise of a sampled action, in half-ranges.
        observation_space: of the environment.
    """

    spec: PolicySpec
    theta: NDArray[np.float64]
    normaliser: Normaliser | None
    action_noise: float
    observation_space: spaces.Box

    @cached_property
    def _layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        return self.spec.materialise(self.theta)

    @cached_property
    def _to_environment(self) -> Callable[[Any], Any]:
        return to_environment(self.action_space)

    @property
    def action_space(self) -> spaces.Space[Any]:
        """Of the environment."""
        return self.spec.head.space()

    def act(
        self, observation: NDArray[Any], rng: np.random.Generator | None = None, deterministic: bool = True
    ) -> NDArray[Any]:
        """Actions for raw observations [obs] or [B, obs], ready for the environment.

        Args:
            rng: for the noise of a sampled action; a fresh one if None.
            deterministic: without the noise that the population acted with (there is none for discrete actions).

        Raises:
            UserError: no observations of this policy's size.
            NonFiniteError: NaN or infinity in them.
        """
        x = observations_of(observation, self.spec.observations)[0].astype(np.float32)
        head = self.spec.head
        action = forward(self._layers, head, x if self.normaliser is None else self.normaliser(x))
        if head.discrete:
            return action
        if not deterministic and self.action_noise:
            rng = rng or np.random.default_rng()
            _, half = head.stretch()
            action = action + half * np.float32(self.action_noise) * rng.standard_normal(action.shape, np.float32)
        return self._to_environment(action)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Writes a SavedModel that needs nothing but TensorFlow.

        Signatures: `serving_default` (the action itself) and `sample` (with the population's noise), both from
            `observation`
        [B, obs] float32, as the environment gives it, to `action` [B, act] in the action space's dtype, or [B] int64.
        """
        import tensorflow as tf

        from wng_tf.evolution.exported import ExportedPolicy

        module = ExportedPolicy(self)
        tf.saved_model.save(module, os.fspath(path), signatures=module.signatures())
        return Path(path)


def to_tree(policy: SavedPolicy) -> dict[str, Any]:
    """The policy as plain data for a checkpoint."""
    space = policy.observation_space
    return {
        "spec": asdict(policy.spec),
        "theta": policy.theta,
        "normaliser": None if policy.normaliser is None else asdict(policy.normaliser),
        "action_noise": policy.action_noise,
        "observation_space": {"low": space.low, "high": space.high, "dtype": str(space.dtype)},
    }


def from_tree(tree: dict[str, Any]) -> SavedPolicy:
    """The inverse of `to_tree`.

    Raises:
        UserError: the tree is of a version that clipped observations even where it did not normalise them; or the policy
            is larger than the memory.
        AttributeError, IndexError, KeyError, TypeError, ValueError: it is the tree of something else.
    """
    if "normaliser" not in tree:
        raise UserError("This run is of an older version, whose policies saw observations otherwise: start it anew.")
    spec, head, space = tree["spec"], tree["spec"]["head"], tree["observation_space"]
    policy = SavedPolicy(
        spec=PolicySpec(
            network=spec["network"],
            observations=spec["observations"],
            hidden=tuple(spec["hidden"]),
            head=ActionHead(**{**head, "low": tuple(head["low"]), "high": tuple(head["high"])}),
        ),
        theta=tree["theta"],
        normaliser=None if tree["normaliser"] is None else Normaliser(**tree["normaliser"]),
        action_noise=tree["action_noise"],
        observation_space=spaces.Box(space["low"], space["high"], dtype=np.dtype(space["dtype"]).type),
    )
    expected = policy.spec.num_parameters
    if np.shape(policy.theta) != (expected,):
        raise ValueError(f"its weights have the shape {list(np.shape(policy.theta))}, not [{expected}]")
    # A Toeplitz matrix has many more entries than parameters.
    dense = sum(inputs * outputs for inputs, outputs, *_ in policy.spec.layers)
    memory.check({"The policy in the run's checkpoint": 4 * dense})
    shape = policy.observation_space.shape
    if shape != (policy.spec.observations,):
        raise ValueError(f"its observations have the shape {list(shape)}, not [{policy.spec.observations}]")
    return policy


def load_policy(run_dir: str | os.PathLike[str], which: str | int = "latest") -> SavedPolicy:
    """The policy in a checkpoint of a run: "latest", "best", or that of a step. It is the last one that was evaluated
    then.

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    folder = Path(run_dir) / run_folder.CHECKPOINTS
    _, state = checkpoint.load(folder, which)
    try:
        return from_tree(state["learner"]["policy"])
    except UserError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise checkpoint.no_policy(folder, error) from error
