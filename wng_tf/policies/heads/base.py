"""What an action head is: everything that depends on the kind of the actions.

A head says which action spaces it takes, and makes actions from a network's outputs. Two kinds:

* `StochasticHead`, for policy gradients: outputs and free parameters are those of a distribution, from which actions are
  drawn. It knows the distribution, its geometries, and what the estimators ask of drawn actions.
* `DeterministicHead`, for evolution strategies: the outputs are the action; the noise that a population acts with is added.

Heads are small frozen values, which are pickled to rollout workers: their modules import TensorFlow when it is used first.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actor import ActionHead
from wng_tf.policies.geometry import Geometry

if TYPE_CHECKING:
    import tensorflow as tf


Own = TypeVar("Own", bound="Head")


class Head(abc.ABC):
    """What both kinds have.

    Attributes:
      num_outputs: outputs of the network.
    """

    if TYPE_CHECKING:  # read only: a property, a field or a constant of the subclass

        @property
        def num_outputs(self) -> int: ...

    @classmethod
    @abc.abstractmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        """Whether it makes actions of that space."""

    @classmethod
    @abc.abstractmethod
    def of(cls: type[Own], space: spaces.Space[Any], **settings: Any) -> Own:
        """The head for a space that it takes; `settings` are what `settings()` gave."""

    def settings(self) -> dict[str, Any]:
        """What `of` needs besides the space, as plain data for a checkpoint."""
        return {}

    @property
    def num_coordinates(self) -> int:
        """Length of an action's coordinates."""
        return self.num_outputs

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions, as they are chosen, as vectors [..., num_coordinates] for behavioural embeddings.

        Real ones as they are, choices one-hot, switches 0 and 1.
        """
        return actions

    @abc.abstractmethod
    def mode(self, outputs: NDArray[np.float32]) -> Any:
        """Actions for outputs [..., num_outputs], before `baselines_compat.actions.to_environment`.

        Their shape is [..., *chosen_shape(space)], see `baselines_compat.actions.chosen_shape`.
        """

    @abc.abstractmethod
    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        """`mode` in TensorFlow."""


class StochasticHead(Head, ActionHead):
    """Actions are drawn from a distribution; see `baselines_compat.actor.ActionHead` for what acts."""

    reparameterised: ClassVar[bool]
    """Whether drawn actions are a differentiable function of noise: mean + std · noise, with `Pd.mean` and `Pd.std`."""

    @property
    @abc.abstractmethod
    def geometries(self) -> Mapping[str, Geometry]:
        """Distances and their metrics: "kl" and "wasserstein"."""

    @abc.abstractmethod
    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """What `drawn` takes, [*shape, num_coordinates]."""

    @abc.abstractmethod
    def drawn(self, pd: Any, noise: tf.Tensor) -> tf.Tensor:
        """Coordinates of K actions per state [n, K, num_coordinates] from noise of that shape."""

    @abc.abstractmethod
    def log_prob_of_drawn(self, pd: Any, drawn: tf.Tensor) -> tf.Tensor:
        """Σ_k log π(a_k | s) [n] of the actions of `drawn`, which count as constants."""

    def acts(self, outputs: NDArray[np.float32], perturbations: NDArray[Any]) -> NDArray[Any]:
        """`act` for outputs [B, num_outputs] and as many rows of `draw`."""
        return np.array([self.act(row, one) for row, one in zip(outputs, perturbations, strict=True)])

    def log_prob(self, outputs: NDArray[np.float32], free: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[Any]:
        """log π [B] of the actions, as `act` gives them, for outputs [B, num_outputs] and free parameters [num_free].

        By the distribution itself, in TensorFlow; heads that know it in NumPy need none.
        """
        import tensorflow as tf

        flat = self.flatparam(tf.constant(outputs), tf.constant(free) if self.num_free else None)
        log_prob: NDArray[Any] = self.pdtype().pdfromflat(flat).logp(tf.constant(actions)).numpy()
        return log_prob

    @abc.abstractmethod
    def sample_tensor(self, outputs: tf.Tensor, free: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Actions drawn for outputs [B, num_outputs], by a stateless `seed` [2]."""


class DeterministicHead(Head):
    """Actions are a function of the outputs, to which a population may add noise.

    Attributes:
      noise: standard deviation of the noise of a sampled action, in units of `noise_scale`.
    """

    noise: float = 0.0

    @property
    def num_noise(self) -> int:
        """Numbers of noise for an action; 0 where it takes none."""
        return 0

    def noise_scale(self) -> NDArray[np.float32]:
        """What noise of standard deviation 1 means [num_noise]."""
        return np.ones(self.num_noise, np.float32)
