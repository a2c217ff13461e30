"""Trust-region steps: the rule behind `trpo` and `wtrpo`.

Symbols: θ the policy's part of the parameters, g the gradient of the surrogate on the whole batch, G the metric, D the
mean distance per state between two policies (`geometry`), r the radius. An update is

    d = (G + ε I)⁻¹ g                                conjugate gradients (`solve`)
    length such that D(θ, θ - length · d) = r        on the true distance, not its quadratic model
    halve it until the surrogate falls               (`line_search`)
    fit the value function                           minibatches of the optimizer (`value_fit`)

all in one compiled call. With K natural steps the gradient and the metric are taken afresh K times, with importance
weights for the policy that has moved, and each step goes to D = r / K²: K steps of length √r / K. The root of the mean
W2² over states is a metric, so by the triangle inequality they stay within r of the policy that acted; for KL that holds
to second order, and is checked.

TRPO (Schulman et al. 2015) is this with the Fisher matrix and KL. The Wasserstein trust region has the exact
Wasserstein matrix of the action distributions and W2².
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from wng_tf.errors import UserError
from wng_tf.natural_gradient import NaturalGradient
from wng_tf.policies import heads
from wng_tf.policy_gradient import objectives
from wng_tf.policy_gradient.layered import layered
from wng_tf.policy_gradient.metrics import Point
from wng_tf.policy_gradient.metrics.base import Layered
from wng_tf.policy_gradient.steps.base import LOSS_NAMES, Carry, Columns, Draws, Outcome, StepRule, StepSetup
from wng_tf.policy_gradient.steps.line_search import backtrack, length_at
from wng_tf.policy_gradient.steps.radii import Parts, Radii
from wng_tf.policy_gradient.steps.solve import solve_metric
from wng_tf.policy_gradient.steps.value_fit import fit_value

#: Columns `wng/...` of the log, averaged over the natural steps; the last one is a column `loss/...`.
STEP_NAMES = (
    "cosine",
    "residual",
    "cg_iterations",
    "epsilon",
    "distance_asked",
    "distance_reached",
    "backtracks",
    "accepted",
    "step_length",
    "step_norm",
    "improvement",
    "reduction_ratio",
    "grad_norm",
)

#: Further ones where the covariance has a radius of its own.
PART_NAMES = ("distance_mean", "distance_covariance")

#: The adaptive radius: the factor on it, its limits, and the reduction ratios below and above which it changes.
FACTOR, LOWEST, HIGHEST, POOR, GOOD = 0.85, 0.1, 10.0, 0.25, 0.75


class Step(NamedTuple):
    """State of the loop over natural steps: the policy's θ, the last direction, the metric's state, sums, finiteness."""

    theta: tf.Tensor
    direction: tf.Tensor
    metric_state: Any
    sums: tf.Tensor
    finite: tf.Tensor


class TrustRegionRule(StepRule):
    """Natural steps of the whole batch within a radius, then minibatches for the value function."""

    advice = "a smaller --trust_radius or --lr, or a larger --cg_damping, may help"

    def __init__(self, setup: StepSetup):
        super().__init__(setup)
        policy, config = setup.policy, setup.config
        if config.penalty != "none":
            raise UserError(
                f"--penalty={config.penalty} does not go with --step_rule=trust_region, which bounds the distance "
                "itself: use --penalty=none."
            )
        if self.metric.covers_value:
            raise UserError(
                f"--embedding={config.embedding} covers the value network, which a trust region does not move: "
                "use --embedding=actions."
            )
        self.geometry = heads.of_policy(policy).geometries[config.distance or self.metric.distance]
        if config.covariance_radius and not policy.head.num_free:
            raise UserError(
                f"--covariance_radius={config.covariance_radius:g}: discrete actions have no covariance. Leave it away."
            )
        self.step_names = (*STEP_NAMES, *PART_NAMES) if config.covariance_radius else STEP_NAMES
        # A metric that is solved directly has no products by layers that differ from those of its rows.
        by_layers = self.metric.takes_layers and not self.metric.direct and not self.metric.trivial
        self.layers = layered(policy) if by_layers else None
        self.critic = tf.Variable(self.theta[policy.policy_size :], name="critic")
        self.optimizer.build([self.critic])
        self.radius_factor = 1.0
        self.direction = np.zeros(policy.policy_size, np.float32)

    # ---- draws and what is carried ------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        config = self.config
        order = np.stack([rng.permutation(config.batch_size) for _ in range(config.vf_iters)]).astype(np.int32)
        order = order.reshape(config.vf_iters * config.nminibatches, -1)
        states = -(-config.batch_size // config.metric_stride)
        count = min(config.num_basis, states) if self.metric.uses_basis else 0
        samples = np.stack([rng.permutation(states)[:count] for _ in range(config.natural_steps)]).astype(np.int32)
        return order, samples, rng.random((config.natural_steps, count), dtype=np.float32)

    def carry(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The last direction, and the factor on the radius."""
        return tf.constant(self.direction), tf.constant(self.radius_factor, tf.float32)

    def state(self) -> dict[str, Any]:
        return {"direction": self.direction, "radius_factor": self.radius_factor}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.direction = np.asarray(state["direction"], np.float32)
        self.radius_factor = float(state["radius_factor"])

    # ---- the compiled part --------------------------------------------------------------------------------------

    def run(self, data: Columns, draws: Draws, carry: Carry) -> Outcome:
        columns = data.all()
        columns["advantages"] = objectives.normalized(columns["advantages"])
        direction, radius_factor = carry.step
        radius = radius_factor * self.config.trust_radius
        if self.config.radius_unit == "variance":
            radius *= self.geometry.unit(columns["pd_flat"])
        radii = Radii(radius, radius_factor * self.config.covariance_radius)
        size, count = self.policy.policy_size, self.config.natural_steps
        before = tf.convert_to_tensor(self.theta)

        def body(k, step):
            basis = draws.basis_samples[k], draws.basis_coordinates[k]
            return k + 1, self._natural_step(step, columns, basis, radii, before[:size])

        start = Step(before[:size], direction, carry.metric, tf.zeros([len(self.step_names)]), tf.constant(True))
        _, step = tf.while_loop(lambda k, _: k < count, body, (0, start))

        self.critic.assign(before[size:])
        value_loss, value_finite = fit_value(
            self.policy,
            before,
            self.critic,
            self.optimizer,
            columns["observations"],
            columns["returns"],
            columns["values"],
            draws.order,
            self.config.value_cliprange,
        )
        self.theta.assign(tf.concat([step.theta, self.critic], axis=0))
        stats = tf.concat([self._losses(step.theta, columns, value_loss), step.sums / count], axis=0)
        carried = Carry((step.direction, radius_factor), step.metric_state, carry.penalty)
        return Outcome(stats, carried, step.finite & value_finite)

    def _natural_step(
        self,
        step: Step,
        data: Mapping[str, tf.Tensor],
        basis: tuple[tf.Tensor, tf.Tensor],
        radii: Radii,
        acted: tf.Tensor,
    ) -> Step:
        """One step from where the last one ended; `acted` is θ [policy_size] of the policy that acted."""
        config = self.config
        weights = self._weights(step.theta)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            flat = self.policy.pd_flat(weights, data["observations"])
            loss = self._surrogate(flat, data)
        gradient = self.policy.flatten(tape.gradient(loss, weights, unconnected_gradients="zero"))
        states = {name: x[:: config.metric_stride] for name, x in data.items()}
        solved, metric_state = self._solve(gradient, Point(weights, states, *basis), step)
        radius, direction, slope = radii.mean, solved.direction, solved.slope
        target = radius / config.natural_steps**2

        def flat_of(theta: tf.Tensor) -> tf.Tensor:
            return self.policy.pd_flat(self._weights(theta), data["observations"])

        parts = Parts(self.policy, self.geometry, flat_of)
        if config.covariance_radius:
            shares = Radii(*(x / config.natural_steps**2 for x in radii))
            direction = parts.reach(step.theta, direction, gradient, shares)
            slope = tf.reduce_sum(direction * gradient)

        def at(length: tf.Tensor) -> tf.Tensor:
            return flat_of(step.theta - length * direction)

        def travelled(length: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(self.geometry.distance(flat, at(length)))

        def evaluate(length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            new = at(length)
            step_distance = tf.reduce_mean(self.geometry.distance(flat, new))
            if config.covariance_radius:
                moved = parts.distances(acted, step.theta - length * direction)
                total = tf.reduce_max([x / bound for x, bound in zip(moved, radii, strict=True)])
            else:
                total = tf.reduce_mean(self.geometry.distance(data["pd_flat"], new))
            return self._surrogate(new, data), step_distance, total

        if config.covariance_radius:
            length, bound = tf.ones([]), tf.ones([])
        else:
            guess = tf.sqrt(tf.math.divide_no_nan(target, self.geometry.curvature * slope))
            length, bound = length_at(travelled, target, guess), radius
        taken = backtrack(evaluate, length, loss, bound, shrink=0.5, tries=config.backtracks)
        change = -taken.length * direction
        theta = step.theta + change
        predicted = taken.length * slope
        columns = {
            "cosine": solved.cosine,
            "residual": solved.residual,
            "cg_iterations": tf.cast(solved.iterations, tf.float32),
            "epsilon": solved.epsilon,
            "distance_asked": target,
            "distance_reached": taken.distance,
            "backtracks": tf.cast(taken.backtracks, tf.float32),
            "accepted": tf.cast(taken.accepted, tf.float32),
            "step_length": taken.length,
            "step_norm": tf.norm(change),
            "improvement": loss - taken.loss,
            "reduction_ratio": 2.0 * tf.math.divide_no_nan(loss - taken.loss, predicted),
            "grad_norm": tf.norm(gradient),
        }
        finite = step.finite & solved.finite & tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(theta))
        if config.covariance_radius:
            columns |= zip(PART_NAMES, parts.distances(step.theta, theta), strict=True)
        values = tf.stack([columns[name] for name in self.step_names])
        return Step(theta, solved.direction, metric_state, step.sums + values, finite)

    def _solve(self, gradient: tf.Tensor, point: Point, step: Step) -> tuple[NaturalGradient, Any]:
        """The direction at a point, and the metric's state after it."""
        layers, observations = self.layers, point.data["observations"]
        run = None if layers is None else layers.run(layers.to_layers(self._whole(step.theta)), observations)
        if self.metric.records:
            sources = point.weights if run is None else run.sources
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(sources)
                if layers is None or run is None:
                    flat = self.policy.pd_flat(point.weights, observations)
                else:
                    flat = layers.flat(run.sources)
                pd = self.policy.pdtype.pdfromflat(flat)
                log_probs = pd.logp(point.data["actions"])
                recorded = self.metric.record(pd, tf.zeros_like(log_probs), log_probs, point.data)
            point = point._replace(tape=tape, recorded=recorded)
        config, start = self.config, step.direction if self.config.cg_warm_start else None
        if layers is not None and run is not None:
            zeros = [tf.zeros_like(x) for x in (*run.sources, run.values)]
            point = point._replace(layered=Layered(layers, run, zeros))
            gradient = layers.to_layers(gradient)
            start = None if start is None else layers.to_layers(start)
        operator, metric_state = self.metric.operator(point, step.metric_state)
        if self.metric.trivial:
            return operator.solve(gradient, tf.zeros([])), metric_state
        solved = solve_metric(
            gradient, operator.products(), config.cg_damping, config.cg_iters, start, config.cg_damping_unit == "curvature"
        )
        if layers is not None:
            solved = solved._replace(direction=layers.from_layers(solved.direction))
        return solved, metric_state

    def _weights(self, theta: tf.Tensor) -> list[tf.Tensor]:
        """The policy's weights from its part of θ."""
        return self.policy.unflatten(self._whole(theta))[: self.policy.num_policy_weights]

    def _whole(self, theta: tf.Tensor) -> tf.Tensor:
        """All of θ [P] from the policy's part, with zeros for the value function."""
        return tf.concat([theta, tf.zeros([self.policy.size - self.policy.policy_size])], axis=0)

    def _surrogate(self, flat: tf.Tensor, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        pd = self.policy.pdtype.pdfromflat(flat)
        ratio = objectives.importance_ratio(pd.logp(data["actions"]), data["log_probs"])
        loss = self.surrogate(ratio, data["advantages"], self.cliprange)
        return loss - self.config.ent_coef * tf.reduce_mean(pd.entropy()) if self.config.ent_coef else loss

    def _losses(self, theta: tf.Tensor, data: Mapping[str, tf.Tensor], value_loss: tf.Tensor) -> tf.Tensor:
        """`LOSS_NAMES` of the policy at θ."""
        flat = self.policy.pd_flat(self._weights(theta), data["observations"])
        pd = self.policy.pdtype.pdfromflat(flat)
        log_probs = pd.logp(data["actions"])
        ratio = objectives.importance_ratio(log_probs, data["log_probs"])
        return tf.stack(
            [
                objectives.importance_surrogate(ratio, data["advantages"]),
                value_loss,
                tf.reduce_mean(pd.entropy()),
                objectives.approximate_kl(log_probs, data["log_probs"]),
                objectives.clip_fraction(ratio, self.cliprange),
            ]
        )

    # ---- what came of it ----------------------------------------------------------------------------------------

    def report(self, stats: np.ndarray, carry: tuple[tf.Tensor, tf.Tensor]) -> dict[str, float]:
        """Losses after the update, and means over the natural steps."""
        self.direction = carry[0].numpy()
        numbers = [float(x) for x in stats]
        report = {f"loss/{name}": x for name, x in zip(LOSS_NAMES, numbers[: len(LOSS_NAMES)], strict=True)}
        means = dict(zip(self.step_names, numbers[len(LOSS_NAMES) :], strict=True))
        report["loss/grad_norm"] = means.pop("grad_norm")
        report.update({f"wng/{name}": value for name, value in means.items()})
        if self.config.adaptive_radius:
            self.radius_factor = adapted(self.radius_factor, 0.5 * means["reduction_ratio"], means["accepted"])
            report["wng/radius_factor"] = self.radius_factor
        return report


def adapted(factor: float, ratio: float, accepted: float) -> float:
    """The next factor on the radius, from the share of the linear prediction of the loss's fall that came true (half the
    reduction ratio), and whether steps were taken."""
    if accepted < 1.0 or ratio < POOR:
        factor *= FACTOR
    elif ratio > GOOD:
        factor /= FACTOR
    return min(max(factor, LOWEST), HIGHEST)
