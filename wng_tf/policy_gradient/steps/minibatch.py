"""Steps of a Keras optimizer over minibatches.

Symbols: θ [P] all parameters, g the gradient of the minibatch's loss. A minibatch step is

    loss = surrogate + penalty + vf_coef value_loss - ent_coef entropy
    g -> preconditioned by the metric -> clipped to max_grad_norm -> Keras optimizer -> θ

The natural gradient replaces g by g_W = (G + ε D⁻¹)⁻¹ g brought to the scale of g: so norm clipping, the value's part of θ
and the optimizer's moments keep their meaning while ε adapts. That is ε g_W or, with diagonal damping, whose D has a unit of
its own, g_W at the length of g. The value's part of g is left as it is unless the metric covers the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from baselines_compat.runner import Batch
from wng_tf.natural_gradient import NaturalGradient, damping
from wng_tf.policy_gradient import objectives
from wng_tf.policy_gradient.layered import layered
from wng_tf.policy_gradient.metrics import Point
from wng_tf.policy_gradient.metrics.base import Layered
from wng_tf.policy_gradient.steps.base import LOSS_NAMES, Carry, Columns, Draws, Outcome, StepRule, StepSetup
from wng_tf.policy_gradient.steps.fresh_advantages import FRESH, fresh_advantages, prepare
from wng_tf.policy_gradient.steps.solution import OF_THE_LAST, at_gradient_scale, solution_columns

EPOCHS = "misc/epochs"
"""Column: epochs that an update took, where a divergence can end them."""


class Terms(NamedTuple):
    """The loss of a minibatch and its parts."""

    loss: tf.Tensor
    pd: Any
    values: tf.Tensor
    log_probs: tf.Tensor
    stats: list[tf.Tensor]
    """Those of `LOSS_NAMES`."""
    distance: tf.Tensor
    """Of the penalty."""


class MinibatchRule(StepRule):
    """Every epoch and minibatch of a batch, each a step of the optimizer."""

    def __init__(self, setup: StepSetup):
        super().__init__(setup)
        config = setup.config
        self.optimizer.build([self.theta])
        self.natural = not self.metric.trivial
        self.minibatch_size = config.batch_size // config.nminibatches
        self.damping = damping.initial(config.epsilon)
        self.layers = layered(self.policy) if self.natural and self.metric.takes_layers else None

    # ---- draws and what is carried ------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        config = self.config
        epochs, size = config.noptepochs, self.minibatch_size
        order = np.stack([rng.permutation(config.batch_size) for _ in range(epochs)]).astype(np.int32)
        steps = epochs * config.nminibatches
        count = min(config.num_basis, size)
        samples = np.argpartition(rng.random((steps, size)), count - 1, axis=1)[:, :count].astype(np.int32)
        coordinates = rng.random((steps, count), dtype=np.float32)
        return order.reshape(steps, size), samples, coordinates

    def carry(self) -> damping.DampingState:
        return self.damping

    def state(self) -> dict[str, Any]:
        return {"damping": [np.asarray(x) for x in self.damping]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.damping = damping.DampingState(*(tf.constant(x) for x in state["damping"]))

    def prepare(self, batch: Batch) -> Mapping[str, np.ndarray]:
        return prepare(batch) if self.config.recompute_advantages else {}

    # ---- the compiled part --------------------------------------------------------------------------------------

    def run(self, data: Columns, draws: Draws, carry: Carry) -> Outcome:
        fresh = tf.zeros([0, len(FRESH)])  # advantages and the like in place of the rollout's
        if self.config.recompute_advantages:
            everything = data.all()
            fresh = tf.stack([everything[name] for name in FRESH], axis=1)

        def renewed() -> tf.Tensor:
            theta, config = tf.convert_to_tensor(self.theta), self.config
            theta = theta if self.layers is None else self.layers.from_layers(theta)
            return fresh_advantages(self.policy, theta, everything, config.nsteps, config.gamma, config.lam)

        per_epoch, target = self.config.nminibatches, self.config.target_kl
        kl = self.stat_names.index("loss/approxkl")

        def body(step, sums, finite, state, metric_state, fresh, before):
            columns = data.gather(draws.order[step])
            if self.config.recompute_advantages:
                begins = tf.logical_and(step > 0, step % self.config.nminibatches == 0)
                fresh = tf.cond(begins, renewed, lambda: fresh)
                columns |= zip(FRESH, tf.unstack(tf.gather(fresh, draws.order[step]), axis=1), strict=True)
            point = Point([], columns, draws.basis_samples[step], draws.basis_coordinates[step])
            # Which epoch is the last one shows at its end, where a divergence can end them.
            last = step == draws.order.shape[0] - 1 if target is None else step % per_epoch == per_epoch - 1
            stats, state, metric_state, fine = self._step(point, state, metric_state, carry.penalty, last)
            if target is None:
                return step + 1, sums + tf.stack(stats), tf.logical_and(finite, fine), state, metric_state, fresh, before
            sums += tf.stack([*stats, 1.0])
            # Beyond the target the epoch's mean divergence turns `before`, the sum so far, into what ends the loop.
            too_far = (sums[kl] - before) / per_epoch > target
            before = tf.where(last, tf.where(too_far, -1.0, sums[kl]), before)
            return step + 1, sums, tf.logical_and(finite, fine), state, metric_state, fresh, before

        def going(step, sums, finite, state, metric_state, fresh, before):
            del sums, state, metric_state, fresh
            goes_on = tf.logical_and(step < draws.order.shape[0], finite)
            return goes_on if target is None else tf.logical_and(goes_on, before >= 0.0)

        sums = tf.zeros([len(self.stat_names)])
        start = (tf.constant(0), sums, tf.constant(True), carry.step, carry.metric, fresh, tf.constant(0.0))
        if self.layers is not None:
            self._reorder(self.layers.to_layers)
        _, sums, finite, state, metric_state, *_ = tf.while_loop(going, body, start)
        if self.layers is not None:
            self._reorder(self.layers.from_layers)
        return Outcome(sums, Carry(state, metric_state, carry.penalty), finite)

    def _reorder(self, reordered: Callable[[tf.Tensor], tf.Tensor]) -> None:
        """Brings θ, and what the optimizer keeps for each of its numbers, into another order.

        In layer order while the minibatches are gone through by layers: to bring a minibatch's gradient and step into the
        order of θ takes longer than all else that is done to them.
        """
        for variable in (self.theta, *self.optimizer.variables):
            if tuple(variable.shape) == tuple(self.theta.shape):
                variable.assign(reordered(tf.convert_to_tensor(variable)))

    def _terms(self, flat: tf.Tensor, values: tf.Tensor, data: Mapping[str, tf.Tensor], penalty_carry: Any) -> Terms:
        """The loss of a minibatch and its parts, from the distributions' parameters [n, params] and the values [n]."""
        config = self.config
        pd = self.policy.pdtype.pdfromflat(flat)
        log_probs = pd.logp(data["actions"])
        ratio = objectives.importance_ratio(log_probs, data["log_probs"])
        policy_loss = self.surrogate(ratio, objectives.normalized(data["advantages"]), self.cliprange)
        value_loss = objectives.value_loss(values, data["returns"], data["values"], config.value_cliprange)
        entropy = tf.reduce_mean(pd.entropy())
        loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
        distance = tf.zeros([])
        if self.penalty.name:
            term, distance = self.penalty(pd, data, penalty_carry)
            loss += term
        stats = [
            policy_loss,
            value_loss,
            entropy,
            objectives.approximate_kl(log_probs, data["log_probs"]),
            objectives.clip_fraction(ratio, self.cliprange),
        ]
        return Terms(loss, pd, values, log_probs, stats, distance)

    def _networks(self, weights: list[tf.Tensor], data: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The distributions' parameters and the values at the states."""
        observations = data["observations"]
        return self.policy.pd_flat(weights, observations), self.policy.value(weights, observations)

    def _networks_at(self, theta: tf.Tensor, data: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The same for θ [P] in the order that the loop has it in."""
        if self.layers is None:
            return self._networks(self.policy.unflatten(theta), data)
        run = self.layers.run(theta, data["observations"])
        return self.layers.flat(run.sources), run.values

    def _step(
        self,
        point: Point,
        state: damping.DampingState,
        metric_state: Any,
        penalty_carry: Any,
        last: tf.Tensor,
    ) -> tuple[list[tf.Tensor], damping.DampingState, Any, tf.Tensor]:
        """One minibatch, the `last` one or not; `point` is still without weights."""
        theta = tf.convert_to_tensor(self.theta)
        layers, data = self.layers, point.data
        weights = self.policy.unflatten(theta if layers is None else layers.from_layers(theta))
        run = None if layers is None else layers.run(theta, data["observations"])
        sources = weights if run is None else [*run.sources, run.values]
        with tf.GradientTape(persistent=self.natural) as tape:
            tape.watch(sources)
            if layers is None or run is None:
                flat, values = self._networks(weights, data)
            else:
                flat, values = layers.flat(run.sources), run.values
            terms = self._terms(flat, values, data, penalty_carry)
            recorded = None
            if self.metric.records:
                recorded = self.metric.record(terms.pd, terms.values, terms.log_probs, data)
        derivatives = tape.gradient(terms.loss, sources, unconnected_gradients="zero")
        point = point._replace(weights=weights, tape=tape, recorded=recorded)
        solution = None
        if layers is not None and run is not None:
            gradient, norm, direction, solution, metric_state = self._by_layers(
                point, Layered(layers, run, derivatives), metric_state, state.epsilon, last
            )
            finite = tf.math.is_finite(norm)
        else:
            gradient = direction = self.policy.flatten(derivatives)
            finite = tf.reduce_all(tf.math.is_finite(gradient))
            if self.natural:
                direction, solution, metric_state = self.precondition(
                    gradient, point, metric_state, state.epsilon, diagnose=last
                )
            norm = tf.norm(gradient)
            if self.config.max_grad_norm > 0.0:
                direction = tf.clip_by_norm(direction, self.config.max_grad_norm)
        finite &= tf.math.is_finite(terms.loss)
        if solution is not None:
            finite &= solution.finite
        self.optimizer.apply([direction], [self.theta])
        stats = [*terms.stats, norm]
        if self.penalty.name:
            stats.append(terms.distance)
        if solution is not None:
            state, ratio = self._adapt(state, data, terms.loss, gradient, theta, penalty_carry)
            columns = {**solution._asdict(), "reduction_ratio": ratio, "epsilon": state.epsilon}
            columns |= {field: tf.where(last, tf.cast(columns[field], tf.float32), 0.0) for field in OF_THE_LAST}
            names = solution_columns(self.metric)
            stats += [tf.cast(columns[field], tf.float32) for field in names]
        return stats, state, metric_state, finite

    def _by_layers(
        self, point: Point, layered: Layered, metric_state: Any, epsilon: tf.Tensor, diagnose: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, NaturalGradient, Any]:
        """`precondition` by layers, in layer order: g [P], its norm, the clipped direction [P], solution and state."""
        network, run, derivatives = layered
        operator, metric_state = self.metric.operator(point._replace(layered=layered), metric_state)
        covered = operator.gradient
        if covered is None:
            pieces = [network.policy_rows(run, [own[tf.newaxis] for own in derivatives[:-1]])[0]]
            if self.metric.covers_value:
                pieces.append(network.value_rows(run, derivatives[-1][tf.newaxis])[0])
            covered = tf.concat(pieces, axis=0)
        diagonal = self.config.diagonal_damping and operator.damps_diagonally
        operator.diagnose = diagnose
        solution = operator.solve(covered, epsilon, diagonal=diagonal, iterations=self.config.cg_iters)
        gradient, direction = [covered], [at_gradient_scale(solution, covered, epsilon, diagonal)]
        if not self.metric.covers_value:
            rest = network.value_rows(run, derivatives[-1][tf.newaxis])[0]
            gradient, direction = [covered, rest], [*direction, rest]
        # Norms of the pieces, which are there before they are put together.
        norm, length, limit = _norm(gradient), _norm(direction), self.config.max_grad_norm
        factor = tf.math.divide_no_nan(limit, tf.maximum(length, limit)) if limit > 0.0 else 1.0
        gradient, direction = (tf.concat(x, axis=0) for x in (gradient, direction))
        return gradient, norm, factor * direction, solution, metric_state

    def precondition(
        self,
        gradient: tf.Tensor,
        point: Point,
        metric_state: Any,
        epsilon: tf.Tensor,
        diagnose: bool | tf.Tensor = True,
    ) -> tuple[tf.Tensor, NaturalGradient, Any]:
        """The direction [P] at the scale of g [P]: natural where the metric covers θ, g itself elsewhere.

        Returns:
          the direction, the solution for the covered part, and the metric's state after it.
        """
        size = self.policy.size if self.metric.covers_value else self.policy.policy_size
        if not self.metric.covers_value:
            point = point._replace(weights=point.weights[: self.policy.num_policy_weights])
        covered = gradient if self.metric.covers_value else gradient[:size]
        operator, metric_state = self.metric.operator(point, metric_state)
        diagonal = self.config.diagonal_damping and operator.damps_diagonally
        operator.diagnose = diagnose
        solution = operator.solve(covered, epsilon, diagonal=diagonal, iterations=self.config.cg_iters)
        direction = at_gradient_scale(solution, covered, epsilon, diagonal)
        if not self.metric.covers_value:
            direction = tf.concat([direction, gradient[size:]], axis=0)
        return direction, solution, metric_state

    def _adapt(
        self,
        state: damping.DampingState,
        data: Mapping[str, tf.Tensor],
        loss: tf.Tensor,
        gradient: tf.Tensor,
        before: tf.Tensor,
        penalty_carry: Any,
    ) -> tuple[damping.DampingState, tf.Tensor]:
        """Adapt ε by the reduction of the same minibatch's loss against what the step really taken predicts."""
        if self.config.damping == "fixed":
            return state, tf.zeros([])
        after = tf.convert_to_tensor(self.theta)
        flat, values = self._networks_at(after, data)
        new_loss = self._terms(flat, values, data, penalty_carry).loss
        predicted = -tf.reduce_sum(gradient * (after - before))
        ratio = damping.reduction_ratio(loss, new_loss, predicted)
        state = damping.update(state, ratio, only_shrink=self.config.damping == "original")
        return state, tf.where(tf.math.is_finite(ratio), ratio, 0.0)

    # ---- what came of it ----------------------------------------------------------------------------------------

    @property
    def stat_names(self) -> list[str]:
        """What the sums over minibatches are of, in their order."""
        names = [f"loss/{name}" for name in LOSS_NAMES] + ["loss/grad_norm"]
        if self.penalty.name:
            names.append(self.penalty.name)
        if self.natural:
            names += solution_columns(self.metric).values()
        return names if self.config.target_kl is None else [*names, EPOCHS]

    def report(self, stats: np.ndarray, carry: damping.DampingState) -> dict[str, float]:
        """Means over the minibatches, but for `OF_THE_LAST`; ε as it is at the end."""
        self.damping = damping.DampingState(*carry)
        alone = {solution_columns(self.metric)[field] for field in OF_THE_LAST}
        count, ends = float(self.config.noptepochs * self.config.nminibatches), 1.0
        if self.config.target_kl is not None:
            count = float(stats[self.stat_names.index(EPOCHS)])
            ends = count / self.config.nminibatches
        divisors = {**dict.fromkeys(alone, ends), EPOCHS: self.config.nminibatches}
        means = stats / [divisors.get(name, count) for name in self.stat_names]
        report = dict(zip(self.stat_names, (float(x) for x in means), strict=True))
        if self.natural:
            report["wng/epsilon"] = float(self.damping.epsilon)
        return report

    def overflowed(self, stats: np.ndarray) -> bool:
        """Whether a gradient of finite parts has an infinite norm: it would be clipped to nothing."""
        return not np.isfinite(stats[self.stat_names.index("loss/grad_norm")])

    def fault(self, stats: np.ndarray) -> str:
        """The first thing that is not finite: terms of the loss, then its gradient, then what is made of that."""
        bad = [name for name, x in zip(self.stat_names, stats, strict=True) if not np.isfinite(x)]
        of_the_metric = set(solution_columns(self.metric).values())
        for name in bad:
            if name != "loss/grad_norm" and name not in of_the_metric:
                return name
        if "loss/grad_norm" in bad:
            return "gradient"
        return "natural gradient" if self.natural else "step"


def _norm(pieces: list[tf.Tensor]) -> tf.Tensor:
    """Of the vector that the pieces make up."""
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(piece)) for piece in pieces]))
