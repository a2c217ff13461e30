"""Trust-region updates: the step rule behind `trpo` and `wtrpo`.

Symbols: θ the policy's part of the parameters, g the gradient of the surrogate on the whole batch, G the metric, D the
mean distance per state between two policies (`geometry`), r the radius. An update is

    d = (G + ε I)⁻¹ g                                conjugate gradients (`metric`, `directions`)
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

from baselines_compat.policies import PolicyWithValue
from baselines_compat.runner import Batch
from baselines_compat.vec_env import NonFiniteError
from wng_tf.embeddings import Embedding, embed_batch
from wng_tf.errors import UserError
from wng_tf.policy_gradient import directions, geometry, objectives
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.fields import Fields
from wng_tf.policy_gradient.learner import LOSS_NAMES, make_optimizer
from wng_tf.policy_gradient.line_search import backtrack, length_at
from wng_tf.policy_gradient.moved import Moved
from wng_tf.policy_gradient.preconditioners import Minibatch
from wng_tf.policy_gradient.value_fit import fit_value
from wng_tf.training import streams

EVIDENCE_NAMES = (
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

#: The adaptive radius: the factor on it, its limits, and the reduction ratios below and above which it changes.
FACTOR, LOWEST, HIGHEST, POOR, GOOD = 0.85, 0.1, 10.0, 0.25, 0.75


class Draws(NamedTuple):
    """Everything random in an update, from a counter-based stream keyed by (seed, update).

    `order` [S, n] int32: the minibatches of the value function; `basis_samples` [K, M] int32 and `basis_coordinates`
    [K, M] in [0, 1), per natural step, and `noise` [B, actions per state, act]: of the kernel estimator, empty without.
    """

    order: np.ndarray
    basis_samples: np.ndarray
    basis_coordinates: np.ndarray
    noise: np.ndarray


class Step(NamedTuple):
    """State of the loop over natural steps: the policy's θ, the last direction, sums of the evidence, finiteness."""

    theta: tf.Tensor
    direction: tf.Tensor
    evidence: tf.Tensor
    finite: tf.Tensor


class TrustRegionLearner:
    """Policy, value optimizer and radius, and the compiled update over them; the interface of `learner.Learner`.

    Args:
      policy: networks and distribution; its initial weights become θ.
      config: settings; `config.surrogate` and `config.preconditioner` are the parts of the algorithm.
      embedding: the behavioural embedding, for the kernel estimator.
      seed: seed of the run.

    Raises:
      UserError: parts that do not fit together.
    """

    def __init__(self, *, policy: PolicyWithValue, config: PolicyGradientConfig, embedding: Embedding, seed: int):
        if config.penalty != "none":
            raise UserError(
                f"--penalty={config.penalty} does not go with --step_rule=trust_region, which bounds the distance "
                "itself: use --penalty=none."
            )
        self.policy = policy
        self.config = config
        self.embedding = embedding
        self.seed = seed
        self.batch_size = config.batch_size
        name = config.distance or ("wasserstein" if config.preconditioner.startswith("wasserstein") else "kl")
        self.geometry = geometry.find(name, policy.discrete)
        self.solver = directions.make_solver(config, policy, embedding)
        self.theta = tf.Variable(policy.get_flat(), name="theta")
        self.critic = tf.Variable(self.theta[policy.policy_size :], name="critic")
        self.optimizer = make_optimizer(config.optimizer, 0.0)
        self.optimizer.build([self.critic])
        self.radius_factor = 1.0
        self.direction = np.zeros(policy.policy_size, np.float32)
        self._fields: Fields | None = None
        self._compiled: Any = None
        self.distances = Moved(policy, self.theta)

    # ---- one update -----------------------------------------------------------------------------------------

    def update(self, batch: Batch, number: int, lr: float, *, fused: bool = True) -> dict[str, float]:
        """Update θ from a batch; `number` counts updates and keys the random draws.

        Args:
          batch: samples, [B, ...].
          number: which update of the run this is, from 1.
          lr: learning rate of the value function.
          fused: False runs the same operations without compilation, slowly: the reference of the tests.

        Returns:
          losses after the update (`loss/...`) and evidence averaged over the natural steps (`wng/...`).

        Raises:
          NonFiniteError: the surrogate, its gradient, the metric or the value loss became NaN or infinite. θ is as it
            was before the update.
        """
        draws = self.draw(number)
        self.optimizer.learning_rate.assign(lr)
        before = self.theta.numpy()
        run = self._fused if fused else self._run
        losses, evidence, direction, finite = run(
            tf.constant(self._pack(batch, draws)),
            tf.constant(draws.order),
            tf.constant(draws.basis_samples),
            tf.constant(draws.basis_coordinates),
            tf.constant(self.direction),
            tf.constant(self.radius_factor, tf.float32),
        )
        if not bool(finite):
            self.theta.assign(before)
            raise NonFiniteError(
                f"Update {number} met a non-finite loss, gradient or metric: training stopped; a smaller "
                "--trust_radius or --lr, or a larger --cg_damping, may help."
            )
        self.direction = direction.numpy()
        report = {f"loss/{name}": float(x) for name, x in zip(LOSS_NAMES, losses.numpy(), strict=True)}
        means = dict(zip(EVIDENCE_NAMES, (float(x) for x in evidence.numpy()), strict=True))
        report["loss/grad_norm"] = means.pop("grad_norm")
        report.update({f"wng/{name}": value for name, value in means.items()})
        if self.config.adaptive_radius:
            self.radius_factor = adapted(self.radius_factor, means["reduction_ratio"], means["accepted"])
            report["wng/radius_factor"] = self.radius_factor
        return report

    def draw(self, number: int) -> Draws:
        """The random draws of update `number`."""
        config = self.config
        rng = streams.generator(self.seed, streams.UPDATE, number)
        order = np.stack([rng.permutation(self.batch_size) for _ in range(config.vf_iters)]).astype(np.int32)
        order = order.reshape(config.vf_iters * config.nminibatches, -1)
        states = -(-self.batch_size // config.metric_stride)
        count = min(config.num_basis, states) if isinstance(self.solver, directions.Kernel) else 0
        samples = [rng.permutation(states)[:count] for _ in range(config.natural_steps)]
        coordinates = rng.random((config.natural_steps, count), dtype=np.float32)
        shape: tuple[int, ...] = (self.batch_size, 0)
        if self.solver.draws_actions:
            per_action = 1 if self.policy.discrete else 2
            shape = (self.batch_size, config.num_actions, self.policy.pdtype.param_shape()[0] // per_action)
        draw = rng.gumbel if self.policy.discrete else rng.standard_normal
        return Draws(order, np.stack(samples).astype(np.int32), coordinates, draw(size=shape).astype(np.float32))

    def _pack(self, batch: Batch, draws: Draws) -> np.ndarray:
        arrays: dict[str, np.ndarray] = {
            "observations": batch.observations,
            "actions": batch.actions,
            "advantages": batch.advantages,
            "returns": batch.returns,
            "log_probs": batch.log_probs,
            "values": batch.values,
            "pd_flat": batch.pd_flat,
            "noise": draws.noise,
        }
        if self.solver.needs_trajectories:
            choices = int(self.policy.action_space.n) if self.policy.discrete else 0
            arrays.update(embed_batch(batch, self.embedding, self.config.embedding_length, choices))
        if self._fields is None:
            self._fields = Fields({name: array.shape[1:] for name, array in arrays.items()})
        return self._fields.pack(arrays)

    # ---- the compiled part ----------------------------------------------------------------------------------

    def _fused(self, *args: Any) -> Any:
        if self._compiled is None:
            self._compiled = tf.function(self._run, jit_compile=True, autograph=False)
        return self._compiled(*args)

    def _run(
        self,
        packed: tf.Tensor,
        order: tf.Tensor,
        basis_samples: tf.Tensor,
        basis_coordinates: tf.Tensor,
        direction: tf.Tensor,
        radius_factor: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        data = self._fields.unpack(packed)
        data["advantages"] = objectives.normalised(data["advantages"])
        radius = radius_factor * self.config.trust_radius
        if self.config.radius_unit == "variance":
            radius *= self.geometry.unit(data["pd_flat"])
        size, count = self.policy.policy_size, self.config.natural_steps

        def body(k, *step):
            basis = basis_samples[k], basis_coordinates[k]
            return (k + 1, *self._natural_step(Step(*step), data, basis, radius))

        before = tf.convert_to_tensor(self.theta)
        start = Step(before[:size], direction, tf.zeros([len(EVIDENCE_NAMES)]), tf.constant(True))
        _, *step = tf.while_loop(lambda k, *_: k < count, body, (0, *start))
        step = Step(*step)

        self.critic.assign(before[size:])
        value_loss, value_finite = fit_value(
            self.policy,
            before,
            self.critic,
            self.optimizer,
            data["observations"],
            data["returns"],
            data["values"],
            order,
            self.config.value_cliprange,
        )
        self.theta.assign(tf.concat([step.theta, self.critic], axis=0))
        losses = self._losses(step.theta, data, value_loss)
        return losses, step.evidence / count, step.direction, step.finite & value_finite

    def _natural_step(
        self, step: Step, data: Mapping[str, tf.Tensor], basis: tuple[tf.Tensor, tf.Tensor], radius: tf.Tensor
    ) -> Step:
        config = self.config
        weights = self._weights(step.theta)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            flat = self.policy.pd_flat(weights, data["observations"])
            loss = self._surrogate(flat, data)
        gradient = self.policy.flatten(tape.gradient(loss, weights, unconnected_gradients="zero"))
        states = Minibatch({name: x[:: config.metric_stride] for name, x in data.items()}, *basis)
        solved = self.solver(weights, gradient, states, step.direction)

        def at(length: tf.Tensor) -> tf.Tensor:
            return self.policy.pd_flat(self._weights(step.theta - length * solved.direction), data["observations"])

        def travelled(length: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(self.geometry.distance(flat, at(length)))

        def evaluate(length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            new = at(length)
            step_distance = tf.reduce_mean(self.geometry.distance(flat, new))
            return self._surrogate(new, data), step_distance, tf.reduce_mean(self.geometry.distance(data["pd_flat"], new))

        target = radius / config.natural_steps**2
        guess = tf.sqrt(tf.math.divide_no_nan(target, self.geometry.curvature * solved.slope))
        length = length_at(travelled, target, guess)
        taken = backtrack(evaluate, length, loss, radius, shrink=0.5, tries=config.backtracks)
        change = -taken.length * solved.direction
        theta = step.theta + change
        predicted = taken.length * solved.slope
        evidence = {
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
            "reduction_ratio": tf.math.divide_no_nan(loss - taken.loss, predicted),
            "grad_norm": tf.norm(gradient),
        }
        finite = step.finite & solved.finite & tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(theta))
        values = tf.stack([evidence[name] for name in EVIDENCE_NAMES])
        return Step(theta, solved.direction, step.evidence + values, finite)

    def _weights(self, theta: tf.Tensor) -> list[tf.Tensor]:
        """The policy's weights from its part of θ."""
        rest = tf.zeros([self.policy.size - self.policy.policy_size])
        return self.policy.unflatten(tf.concat([theta, rest], axis=0))[: self.policy.num_policy_weights]

    def _surrogate(self, flat: tf.Tensor, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        pd = self.policy.pdtype.pdfromflat(flat)
        ratio = objectives.importance_ratio(pd.logp(data["actions"]), data["log_probs"])
        if self.config.surrogate == "clipped":
            loss = objectives.clipped_surrogate(ratio, data["advantages"], self.config.cliprange)
        else:
            loss = objectives.importance_surrogate(ratio, data["advantages"])
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
                objectives.clip_fraction(ratio, self.config.cliprange),
            ]
        )

    # ---- checkpoint -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        return {
            "theta": self.theta.numpy(),
            "optimizer": [np.asarray(v) for v in self.optimizer.variables],
            "direction": self.direction,
            "radius_factor": self.radius_factor,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.theta.assign(state["theta"])
        for variable, value in zip(self.optimizer.variables, state["optimizer"], strict=True):
            variable.assign(value)
        self.direction = np.asarray(state["direction"], np.float32)
        self.radius_factor = float(state["radius_factor"])


def adapted(factor: float, ratio: float, accepted: float) -> float:
    """The next factor on the radius, from how much of the predicted fall of the loss came true, and whether steps were
    taken."""
    if accepted < 1.0 or ratio < POOR:
        factor *= FACTOR
    elif ratio > GOOD:
        factor /= FACTOR
    return min(max(factor, LOWEST), HIGHEST)
