"""What a step rule is to the learner: draws, one compiled run over a batch, and a report."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from baselines_compat.runner import Batch
from wng_tf.policy_gradient.batch_layout import BatchLayout
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.metrics import Metric
from wng_tf.policy_gradient.penalties import Penalty
from wng_tf.training.schedules import ScheduledNumber

#: What every step rule says of the loss, as columns `loss/...` of the log.
LOSS_NAMES = ("policy_loss", "value_loss", "policy_entropy", "approxkl", "clipfrac")


class StepSetup(NamedTuple):
    """What a step rule works with. It builds `optimizer` for the variable that it steps."""

    policy: PolicyWithValue
    config: PolicyGradientConfig
    theta: tf.Variable
    """θ [P]: the policy's part, `policy.policy_size` numbers, then the value function's."""
    optimizer: keras.optimizers.Optimizer
    surrogate: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]
    penalty: Penalty
    metric: Metric


class Draws(NamedTuple):
    """Everything random in an update, drawn beforehand from a stream keyed by (seed, update).

    Shapes, with S minibatches of n samples in all epochs and a metric a step: `order` [S, n] int32, each epoch a permutation
    of the batch; `basis_samples` [steps, M] int32 positions of the basis, `basis_coordinates` [steps, M] uniform in [0, 1);
    `noise` [B, K, act] (normal, or Gumbel for discrete actions) behind the K actions of a state, empty where none are drawn.
    """

    order: np.ndarray | tf.Tensor
    basis_samples: np.ndarray | tf.Tensor
    basis_coordinates: np.ndarray | tf.Tensor
    noise: np.ndarray | tf.Tensor


class Carry(NamedTuple):
    """What goes into the compiled run from the update before: nests of tensors."""

    step: Any
    metric: Any
    penalty: Any


class Outcome(NamedTuple):
    """What the compiled run gives back. θ and the optimizer's variables it changes in place."""

    stats: tf.Tensor
    """Numbers for `StepRule.report`."""
    carry: Carry
    finite: tf.Tensor
    """False where anything was NaN or infinite: the learner takes everything back."""


class Columns:
    """The batch inside the compiled run: rows [B, width] of named columns."""

    def __init__(self, layout: BatchLayout, rows: tf.Tensor):
        self._layout = layout
        self._rows = rows

    def all(self) -> dict[str, tf.Tensor]:
        """Every column [B, ...]."""
        return self._layout.unpack(self._rows)

    def gather(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """The columns [n, ...] of the samples `indices` [n]; one gather."""
        return self._layout.unpack(tf.gather(self._rows, indices))


class StepRule(abc.ABC):
    """How a batch becomes a change of θ.

    Raises, when it is made:
      UserError: parts that it does not go with.
    """

    advice = "a smaller --lr may help"
    """What the message of a fault ends with."""

    def __init__(self, setup: StepSetup):
        self.setup = setup
        self.policy = setup.policy
        self.config = setup.config
        self.theta = setup.theta
        self.optimizer = setup.optimizer
        self.surrogate = setup.surrogate
        self.penalty = setup.penalty
        self.metric = setup.metric
        changes = isinstance(self.config.cliprange, ScheduledNumber)
        self._cliprange = tf.Variable(self.config.cliprange, dtype=tf.float32, trainable=False) if changes else None

    @property
    def cliprange(self) -> Any:
        """The clip range of this update: a number, or a scalar where it changes from update to update."""
        return self.config.cliprange if self._cliprange is None else tf.convert_to_tensor(self._cliprange)

    def clip_at(self, cliprange: float) -> None:
        """Bring the clip range to the value of the next update, if it changes."""
        if self._cliprange is not None:
            self._cliprange.assign(cliprange)

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`order`, `basis_samples` and `basis_coordinates` of `Draws`."""

    def prepare(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """Columns [B, ...] that it asks for besides those that every update has."""
        del batch
        return {}

    def carry(self) -> Any:
        """What the next run starts from: a nest of tensors, whose shapes stay."""
        return ()

    @abc.abstractmethod
    def run(self, data: Columns, draws: Draws, carry: Carry) -> Outcome:
        """Steps over the batch, all of them, as operations that can be compiled. `draws.noise` is a column of `data`."""

    @abc.abstractmethod
    def report(self, stats: np.ndarray, carry: Any) -> dict[str, float]:
        """After a run that was finite: keep what the next one starts from, and say what happened, by columns of the log."""

    def overflowed(self, stats: np.ndarray) -> bool:
        """Whether something that is finite by its parts became infinite as a whole."""
        return bool(np.isinf(stats).any())

    def fault(self, stats: np.ndarray) -> str:
        """What was not finite, by the numbers of a run that was not."""
        del stats
        return "loss, gradient or metric"

    def state(self) -> dict[str, Any]:
        """What the next update depends on besides θ, the optimizer, metric and penalty; for the checkpoint."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        del state
