"""What a penalty is to the update: a distance from the policy that acted, and its weight in the loss."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from baselines_compat.distributions import Pd
from baselines_compat.runner import Batch
from wng_tf.policy_gradient.setup import Setup


class Penalty(abc.ABC):
    """weight · D(old policy, present policy), a term of a minibatch's loss.

    An update goes: `prepare` once a batch, a call once a minibatch inside compiled code, `adapt` once it is over.

    Raises, when it is made:
      UserError: settings or a policy that it does not go with.
    """

    name = ""
    """Of the distance in the log; "" for a penalty that has none."""
    draws_actions = False
    """Whether it takes K actions per state, from the column `noise`."""

    def prepare(self, batch: Batch, noise: np.ndarray) -> dict[str, np.ndarray]:
        """Columns [B, ...] that stay the same for every epoch; `noise` [B, K, act] is empty unless it `draws_actions`."""
        del batch, noise
        return {}

    def carry(self) -> Any:
        """What changes from update to update and goes into the compiled call: a nest of tensors, whose shapes stay."""
        return ()

    @abc.abstractmethod
    def distance(self, pd: Pd, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """D [], the mean over the states of a minibatch, whose columns are `data`; `pd` is the present policy there."""

    @abc.abstractmethod
    def weight(self, carry: Any) -> tf.Tensor | float:
        """Of the distance in the loss, from what `carry` gave."""

    def __call__(self, pd: Pd, data: Mapping[str, tf.Tensor], carry: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The term of the loss, and the distance."""
        distance = self.distance(pd, data)
        return self.weight(carry) * distance, distance

    def adapt(self, moved: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        """After an update: change what is to change, and return columns for the log.

        `moved()` measures how far the update moved the policy, see `PolicyShift`.
        """
        del moved
        return {}

    def state(self) -> dict[str, Any]:
        """What the next update depends on, for the checkpoint."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> bool:
        """The inverse of `state`. True where what was compiled with the state before must be compiled anew."""
        del state
        return False


class NoPenalty(Penalty):
    """The loss has no such term."""

    def __init__(self, setup: Setup):
        del setup

    def distance(self, pd: Pd, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.zeros([])

    def weight(self, carry: Any) -> float:
        return 0.0
