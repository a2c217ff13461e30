"""The learner: what every step rule shares. Policy, θ, optimizer, packing, draws, compilation, rollback, checkpoint.

An update packs the batch into one matrix, draws everything random beforehand, and hands both to the step rule's `run`, all
epochs and minibatches, or natural steps, in one compiled call. Where anything is not finite, everything is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from baselines_compat.runner import Batch
from baselines_compat.vec_env import NonFiniteError
from baselines_compat.vec_env.faults import described
from wng_tf import parts
from wng_tf.embeddings import Embedding, embed_batch
from wng_tf.errors import UserError
from wng_tf.policy_gradient.batch_layout import BatchLayout
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.metrics import Metric
from wng_tf.policy_gradient.penalties import Penalty
from wng_tf.policy_gradient.policy_shift import PolicyShift
from wng_tf.policy_gradient.setup import Setup
from wng_tf.policy_gradient.steps import Carry, Columns, Draws, Outcome, StepRule, StepSetup
from wng_tf.runtime import collector
from wng_tf.runtime.guarding import PartFailure, passes, place
from wng_tf.runtime.registry import Registry
from wng_tf.training import streams


def make_optimizer(name: str, lr: float) -> keras.optimizers.Optimizer:
    """The Keras optimizer of that name, with Baselines' Adam epsilon."""
    if name == "adam":
        return keras.optimizers.Adam(lr, epsilon=1e-5)
    if name == "momentum":
        return keras.optimizers.SGD(lr, momentum=0.9)
    if name == "sgd":
        return keras.optimizers.SGD(lr)
    raise ValueError(f"Unknown optimizer '{name}'.")


class Learner:
    """Policy and optimizer, the parts of the algorithm, and the compiled update over them.

    Args:
      policy: networks and distribution; its initial weights become θ, and it follows θ from update to update.
      config: settings; `config.surrogate`, `penalty`, `metric` and `step_rule` are the parts of the algorithm.
      embedding: the behavioural embedding, for the kernel estimate of the Wasserstein metric.
      seed: seed of the run.

    Attributes:
      theta: the variable that holds θ [P].
      metric, penalty, step: the parts.
      distances: how far the last update moved the policy, a function of its batch.

    Raises:
      UserError: parts that do not exist, or do not fit together, such as a reparameterised embedding of discrete actions.
    """

    def __init__(self, *, policy: PolicyWithValue, config: PolicyGradientConfig, embedding: Embedding, seed: int):
        self.policy = policy
        self.config = config
        self.embedding = embedding
        self.seed = seed
        self.theta = tf.Variable(policy.get_flat(), name="theta")
        self.optimizer = make_optimizer(config.optimizer, 0.0)
        setup = Setup(policy, config, embedding, seed)
        self.head = setup.head
        self.metric: Metric = parts.METRICS.build(config.metric, setup, Metric)
        self.penalty: Penalty = parts.PENALTIES.build(config.penalty, setup, Penalty)
        self.step: StepRule = parts.STEP_RULES.build(
            config.step_rule,
            StepSetup(
                policy=policy,
                config=config,
                theta=self.theta,
                optimizer=self.optimizer,
                surrogate=parts.SURROGATES.function(config.surrogate),
                penalty=self.penalty,
                metric=self.metric,
            ),
            StepRule,
        )
        self.metric_state = self.metric.initial_state()
        self.distances = PolicyShift(policy, self.theta)
        self._layout: BatchLayout | None = None
        self._compiled: Any = None
        # One call in place of an assignment from Python for every variable.
        self._bring_policy = tf.function(self._assign_policy, autograph=False)

    @property
    def draws_actions(self) -> bool:
        """Whether the K actions per state are needed."""
        return self.penalty.draws_actions or self.metric.draws_actions

    # ---- one update ---------------------------------------------------------------------------------------------

    def update(
        self, batch: Batch, number: int, lr: float, *, cliprange: float | None = None, fused: bool = True
    ) -> dict[str, float]:
        """Update θ from a batch; `number` counts updates and keys the random draws.

        Args:
          batch: samples, [B, ...].
          number: which update of the run this is, from 1.
          lr: learning rate of this update.
          cliprange: clip range of this update, where it is a schedule; None: as it was.
          fused: False runs the same steps one by one from Python, slowly: the reference of the tests.

        Returns:
          what happened, by columns of the log (`loss/...`, `wng/...`).

        Raises:
          UserError: a part of somebody's own failed.
          NonFiniteError: a loss, a gradient, the metric or θ became NaN or infinite.

        Whatever it raises, everything is as it was before.
        """
        draws = self.draw(number)
        rows = self._pack(batch, draws)
        self.optimizer.learning_rate.assign(lr)
        if cliprange is not None:
            self.step.clip_at(cliprange)
        before = self.state()
        try:
            outcome = self._outcome(rows, draws, number, fused)
            stats = outcome.stats.numpy()
            whole = bool(outcome.finite) and not self.step.overflowed(stats)
            if not whole or not np.isfinite(self.theta.numpy()).all():
                raise NonFiniteError(
                    f"Update {number} met a non-finite {self.step.fault(stats)}: training stopped; {self.step.advice}."
                )
            self.metric_state = outcome.carry.metric
            report = self.step.report(stats, outcome.carry.step)
            report.update(self.penalty.adapt(lambda: self.distances(batch)))
            self._bring_policy()
        except BaseException:  # Ctrl-C too: half an update may have brought θ into another order
            self.restore(before)
            raise
        return report

    def _outcome(self, rows: np.ndarray, draws: Draws, number: int, fused: bool) -> Outcome:
        """What the step rule's `run` gives. UserError: a part of somebody's own failed."""
        run = self._fused if fused else self._run
        # The noise is a column of the batch already.
        order, samples, coordinates = map(tf.constant, draws[:3])
        tensors = Draws(order, samples, coordinates, tf.zeros([0]))
        carry = Carry(self.step.carry(), self.metric_state, self.penalty.carry())
        try:
            return run(tf.constant(rows), tensors, carry)
        except PartFailure as failure:
            raise failure from failure.fault
        except Exception as error:
            own = [f"{one.noun} '{name}'" for one in parts.POLICY_GRADIENT_PARTS if one.is_own(name := self._part(one))]
            if passes(error) or not own:
                raise
            # What a part gave, and did not raise: such as nothing, where there has to be an operator.
            raise UserError(
                f"Update {number} with the {' and the '.join(own)} failed: {described(error)} ({place(error)})."
            ) from error

    def _part(self, registry: Registry[Any]) -> str | None:
        """What the settings name of that kind."""
        name: str | None = getattr(self.config, registry.flag)
        return name

    def draw(self, number: int) -> Draws:
        """The random draws of update `number`."""
        rng = streams.generator(self.seed, streams.UPDATE, number)
        drawn = self.step.draw(rng)
        noise = np.zeros(0)
        if self.draws_actions:
            noise = self.head.noise(rng, (self.config.batch_size, self.config.num_actions))
        return Draws(*drawn, noise.astype(np.float32))

    def _pack(self, batch: Batch, draws: Draws) -> np.ndarray:
        arrays: dict[str, np.ndarray] = {
            "observations": batch.observations,
            "actions": batch.actions,
            "advantages": batch.advantages,
            "returns": batch.returns,
            "log_probs": batch.log_probs,
            "values": batch.values,
            "pd_flat": batch.pd_flat,
        }
        if self.draws_actions:
            arrays["noise"] = draws.noise
        arrays.update(self.penalty.prepare(batch, draws.noise))
        arrays.update(self.step.prepare(batch))
        if self.metric.needs_trajectories:
            coordinates = self.head.coordinates(batch.actions)
            arrays.update(embed_batch(batch, self.embedding, self.config.embedding_length, coordinates))
        shapes = {name: array.shape[1:] for name, array in arrays.items()}
        if self._layout is None:
            self._layout = BatchLayout(shapes)
        if shapes != self._layout.shapes:
            raise UserError(f"Embedding '{self.embedding.name}' must give vectors of the same length in every update.")
        return self._layout.pack(arrays)

    def _assign_policy(self) -> None:
        """The policy's variables from θ."""
        pieces = self.policy.unflatten(tf.convert_to_tensor(self.theta))
        for variable, piece in zip(self.policy.parameters, pieces, strict=True):
            variable.assign(piece)

    # ---- the compiled part --------------------------------------------------------------------------------------

    def _fused(self, *args: Any) -> Outcome:
        if self._compiled is None:
            # AutoGraph would take most of the time until the first update, and there is nothing for it to convert.
            self._compiled = tf.function(self._run, jit_compile=True, autograph=False)
            with collector.paused():
                return self._compiled(*args)
        return self._compiled(*args)

    def _run(self, rows: tf.Tensor, draws: Draws, carry: Carry) -> Outcome:
        assert self._layout is not None  # `_pack` made it
        return self.step.run(Columns(self._layout, rows), draws, carry)

    # ---- checkpoint ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        state = {
            "theta": self.theta.numpy(),
            "optimizer": [np.asarray(v) for v in self.optimizer.variables],
            **self.step.state(),
            **self.penalty.state(),
        }
        metric_state = tf.nest.flatten(self.metric_state)
        return {**state, "metric": [np.asarray(x) for x in metric_state]} if metric_state else state

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.theta.assign(state["theta"])
        for variable, value in zip(self.optimizer.variables, state["optimizer"], strict=True):
            variable.assign(value)
        self.step.restore(state)
        if self.penalty.restore(state):
            self._compiled = None
        initial = self.metric.initial_state()
        if "metric" in state:
            saved = [tf.constant(x) for x in state["metric"]]
            for now, before in zip(tf.nest.flatten(initial), saved, strict=True):
                now.shape.assert_is_compatible_with(before.shape)
            initial = tf.nest.pack_sequence_as(initial, saved)
        self.metric_state = initial
        self._bring_policy()
