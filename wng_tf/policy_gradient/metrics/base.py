"""What a metric is to a step rule: an operator at a point, and, if it needs one, a state.

Before the gradient is taken a metric may `record` on the same tape what it will differentiate. Then the step rule asks for
the `operator` at that point: products with G, and a damped solve. ε and what becomes of the direction are the rule's.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from baselines_compat.distributions import Pd
from wng_tf.natural_gradient import DenseRows, LayerScores, NaturalGradient, conjugate_gradient
from wng_tf.policy_gradient.layered import LayeredPass, LayeredPolicy
from wng_tf.policy_gradient.setup import Setup


class Layered(NamedTuple):
    """The networks at a point, gone through layer by layer, and the loss's derivatives by what they give."""

    network: LayeredPolicy
    run: LayeredPass
    derivatives: list[tf.Tensor]
    """Of the loss, by each of `run.sources` [n, ...] and by `run.values` [n]."""


class Point(NamedTuple):
    """Where a metric is taken: weights, and states and actions from the policy that acted."""

    weights: list[tf.Tensor]
    """Those that the metric covers, P numbers in all."""
    data: Mapping[str, tf.Tensor]
    """Columns of a (mini)batch [n, ...] by name: observations, actions, log_probs, pd_flat, and what the metric asked for."""
    basis_samples: tf.Tensor
    """[M] int32, positions of the basis in the (mini)batch."""
    basis_coordinates: tf.Tensor
    """[M], uniform in [0, 1)."""
    tape: tf.GradientTape | None = None
    """Persistent, holds what was recorded."""
    recorded: Any = None
    """What `Metric.record` gave."""
    layered: Layered | None = None
    """For a metric that `takes_layers`: the tape has then recorded from the outputs of this pass, and all vectors [P] are in
    layer order."""


class Operator(abc.ABC):
    """G [P, P] at a point, positive semidefinite, never formed."""

    rows: DenseRows | LayerScores | None = None
    """The rows [M, P] that G is made of, where there are few."""
    gradient: tf.Tensor | None = None
    """The loss's gradient [P], in layer order, of an operator at a point that is `layered`, where it comes with the rows."""
    diagnose: bool | tf.Tensor = True
    """Whether the residual and the condition number of a direct solve are wanted; a rule may set it for the one at hand."""
    damps_diagonally = False
    """Whether `solve` knows ε D⁻¹ in place of ε I, with D of a unit of its own."""

    @abc.abstractmethod
    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The function v [P] → G v. What its calls share is computed here, outside any loop that calls it."""

    def solve(
        self, gradient: tf.Tensor, epsilon: tf.Tensor, *, diagonal: bool = False, iterations: int = 10
    ) -> NaturalGradient:
        """(G + ε I)⁻¹ g for g [P], by at most `iterations` conjugate gradients unless the operator knows a direct way.

        `diagonal` asks for ε D⁻¹, of an operator that `damps_diagonally`.
        """
        del diagonal
        return conjugate_gradient(gradient, self.products(), epsilon, iterations)


class ProductOperator(Operator):
    """A metric known by its products alone."""

    def __init__(self, product: Callable[[tf.Tensor], tf.Tensor]):
        self._product = product

    def products(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return self._product


class Metric(abc.ABC):
    """A metric of the policy's parameters. Class attributes say what it needs of an update.

    Raises, when it is made:
      UserError: settings or a policy that it does not go with.
    """

    distance = "kl"
    """What a trust region around it bounds unless told otherwise: "kl" or "wasserstein"."""
    trivial = False
    """G = I: the direction is g, whatever ε, and there is nothing to report."""
    direct = False
    """Whether its operators are solved directly, and report a rank in place of a number of products."""
    records = False
    """Whether `record` has something to record."""
    uses_basis = False
    """Whether it takes the basis functions that are drawn."""
    draws_actions = False
    """Whether it takes K actions per state, from the column `noise`."""
    needs_trajectories = False
    """Whether it takes the columns of `embeddings.embed_batch`."""
    takes_layers = False
    """Whether it makes use of a point that is `layered`."""
    covers_value = False
    """Whether P counts the value function's parameters too; a trust region does not move those."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.policy = setup.policy
        self.head = setup.head
        self.config = setup.config

    def initial_state(self) -> Any:
        """What it remembers from step to step before the first: a nest of tensors, whose shapes stay."""
        return ()

    def record(self, pd: Pd, values: tf.Tensor, log_probs: tf.Tensor, data: Mapping[str, tf.Tensor]) -> Any:
        """Compute, under the tape, what will be differentiated; `Point.recorded` hands it back."""
        del pd, values, log_probs, data

    @abc.abstractmethod
    def operator(self, point: Point, state: Any) -> tuple[Operator, Any]:
        """G at a point, and the state after it. Called inside compiled code, once a step."""
