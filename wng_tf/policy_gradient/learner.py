"""The update: every epoch and minibatch of a batch in one compiled call.

Symbols: θ [P] all parameters, g the gradient of the minibatch's loss, X the behavioural embeddings. A minibatch step is

    loss = surrogate + penalty + vf_coef value_loss - ent_coef entropy
    g -> preconditioned -> clipped to max_grad_norm -> Keras optimizer -> θ

The natural gradient replaces g by g_W = (Ĝ + ε D⁻¹)⁻¹ g brought to the scale of g (`preconditioners`): so norm
clipping, the value's part of θ and the optimizer's moments keep their meaning while ε adapts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from baselines_compat.runner import Batch
from baselines_compat.vec_env import NonFiniteError
from wng_tf.embeddings import Embedding, embed_batch
from wng_tf.errors import UserError
from wng_tf.natural_gradient import damping
from wng_tf.policy_gradient import objectives, preconditioners
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.policy_gradient.fields import Fields
from wng_tf.policy_gradient.moved import Moved
from wng_tf.policy_gradient.penalty import FEATURES_OF_ALL_RUNS, WassersteinPenalty
from wng_tf.policy_gradient.preconditioners import Minibatch
from wng_tf.training import streams

LOSS_NAMES = ("policy_loss", "value_loss", "policy_entropy", "approxkl", "clipfrac")
EVIDENCE_NAMES = ("cosine", "effective_rank", "residual", "condition_number", "guarded", "reduction_ratio", "epsilon")


def make_optimizer(name: str, lr: float) -> keras.optimizers.Optimizer:
    """The Keras optimizer of that name, with Baselines' Adam epsilon."""
    if name == "adam":
        return keras.optimizers.Adam(lr, epsilon=1e-5)
    if name == "momentum":
        return keras.optimizers.SGD(lr, momentum=0.9)
    if name == "sgd":
        return keras.optimizers.SGD(lr)
    raise ValueError(f"Unknown optimizer '{name}'.")


class Draws(NamedTuple):
    """Everything random in an update, drawn beforehand from a counter-based stream keyed by (seed, update).

    Shapes, with S minibatches of n samples in all epochs: `order` [S, n] int32, each epoch a permutation of the batch;
    `basis_samples` [S, M] int32 positions in the minibatch, `basis_coordinates` [S, M] uniform in [0, 1); `noise` [B, K, act]
    (normal, or Gumbel for discrete actions) behind the K actions of a state.
    """

    order: np.ndarray
    basis_samples: np.ndarray
    basis_coordinates: np.ndarray
    noise: np.ndarray


class Learner:
    """Policy, optimizer and damping, and the compiled update over them.

    Args:
      policy: networks and distribution; its initial weights become θ.
      config: settings; `config.surrogate`, `penalty` and `preconditioner` are the parts of the algorithm.
      embedding: the behavioural embedding, for the Wasserstein preconditioner.
      seed: seed of the run.

    Raises:
      UserError: parts that do not fit together, such as a reparameterised embedding of discrete actions.
    """

    def __init__(
        self, *, policy: PolicyWithValue, config: PolicyGradientConfig, embedding: Embedding, seed: int
    ):
        self.policy = policy
        self.config = config
        self.embedding = embedding
        self.seed = seed
        self.batch_size = config.batch_size
        self.minibatch_size = config.batch_size // config.nminibatches
        self.kl_coef = config.kl_coef
        self.natural = config.preconditioner != "identity"
        self.precondition = preconditioners.make(config, policy, embedding)
        features = int(streams.generator(seed, streams.PENALTY_FEATURES).integers(2**63))
        self.penalty = self._make_penalty(features) if config.penalty == "wasserstein" else None
        self.theta = tf.Variable(policy.get_flat(), name="theta")
        self.optimizer = make_optimizer(config.optimizer, 0.0)
        self.optimizer.build([self.theta])
        self.damping = damping.initial(config.epsilon)
        self.distances = Moved(policy, self.theta)
        self._fields: Fields | None = None
        self._compiled: Any = None

    def _make_penalty(self, seed: int) -> WassersteinPenalty:
        if self.policy.discrete:
            raise UserError(
                "The Wasserstein penalty draws reparameterised actions, which a discrete action space does not have: "
                "use --alg=ppo, ppo_kl, npg or wnpg, or --penalty=none."
            )
        return WassersteinPenalty.from_config(self.config, self.policy.pdtype.sample_shape()[0], seed)

    @property
    def draws_actions(self) -> bool:
        """Whether the K actions per state are needed."""
        return self.penalty is not None or self.precondition.draws_actions

    # ---- one update ---------------------------------------------------------------------------------------------

    def update(self, batch: Batch, number: int, lr: float, *, fused: bool = True) -> dict[str, float]:
        """Update θ from a batch; `number` counts updates and keys the random draws.

        Args:
          batch: samples, [B, ...].
          number: which update of the run this is, from 1.
          lr: learning rate of this update.
          fused: False runs the same steps one by one from Python, slowly: the reference of the tests.

        Returns:
          means over the minibatches, by name (`loss/...`, `wng/...`).

        Raises:
          NonFiniteError: the loss, a gradient or θ became NaN or infinite. θ and the optimizer are as they were before.
        """
        draws = self.draw(number)
        packed = self._pack(batch, draws)
        self.optimizer.learning_rate.assign(lr)
        before = self.state()
        run = self._fused if fused else self._run
        sums, state, finite = run(
            tf.constant(packed),
            tf.constant(draws.order),
            tf.constant(draws.basis_samples),
            tf.constant(draws.basis_coordinates),
            self.damping,
            tf.constant(self.kl_coef, tf.float32),
        )
        sums = sums.numpy()
        if not bool(finite) or not np.isfinite(self.theta.numpy()).all():
            self.restore(before)
            raise NonFiniteError(
                f"Update {number} met a non-finite {self._broken(sums)}: training stopped; a smaller --lr may help."
            )
        self.damping = damping.DampingState(*state)
        return self._report(sums / draws.order.shape[0], batch)

    @property
    def _stat_names(self) -> list[str]:
        """What the sums over minibatches are of, in their order."""
        names = [f"loss/{name}" for name in LOSS_NAMES] + ["loss/grad_norm"]
        if self._has_distance:
            names.append("loss/kl" if self.config.penalty == "kl" else "wng/wasserstein_estimate")
        if self.natural:
            names += [f"wng/{name}" for name in EVIDENCE_NAMES]
        return names

    def _broken(self, sums: np.ndarray) -> str:
        """The first thing that is not finite: terms of the loss, then its gradient, then what is made of that."""
        bad = [name for name, x in zip(self._stat_names, sums, strict=True) if not np.isfinite(x)]
        evidence = {f"wng/{name}" for name in EVIDENCE_NAMES}
        for name in bad:
            if name != "loss/grad_norm" and name not in evidence:
                return name
        if "loss/grad_norm" in bad:
            return "gradient"
        return "natural gradient" if self.natural else "step"

    def draw(self, number: int) -> Draws:
        """The random draws of update `number`."""
        config = self.config
        rng = streams.generator(self.seed, streams.UPDATE, number)
        epochs, size = config.noptepochs, self.minibatch_size
        order = np.stack([rng.permutation(self.batch_size) for _ in range(epochs)]).astype(np.int32)
        steps = epochs * config.nminibatches
        count = min(config.num_basis, size)
        samples = np.argpartition(rng.random((steps, size)), count - 1, axis=1)[:, :count].astype(np.int32)
        coordinates = rng.random((steps, count), dtype=np.float32)
        shape = (0,)
        if self.draws_actions:
            shape = (self.batch_size, config.num_actions, self.policy.pdtype.param_shape()[0] // self._params_per_action)
        draw = rng.gumbel if self.policy.discrete else rng.standard_normal
        noise = draw(size=shape).astype(np.float32)
        return Draws(order.reshape(steps, size), samples, coordinates, noise)

    @property
    def _params_per_action(self) -> int:
        return 1 if self.policy.discrete else 2

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
        if self.penalty is not None:
            arrays.update(self.penalty.prepare(batch.pd_flat, draws.noise))
        if self.natural and self.precondition.needs_trajectories:
            choices = int(self.policy.action_space.n) if self.policy.discrete else 0
            arrays.update(embed_batch(batch, self.embedding, self.config.embedding_length, choices))
        shapes = {name: array.shape[1:] for name, array in arrays.items()}
        if self._fields is None:
            self._fields = Fields(shapes)
        if shapes != self._fields.shapes:
            raise UserError(f"Embedding '{self.embedding.name}' must give vectors of the same length in every update.")
        return self._fields.pack(arrays)

    # ---- the compiled part --------------------------------------------------------------------------------------

    def _fused(self, *args: Any) -> Any:
        if self._compiled is None:
            # AutoGraph would take most of the time until the first update, and there is nothing for it to convert.
            self._compiled = tf.function(self._run, jit_compile=True, autograph=False)
        return self._compiled(*args)

    def _run(
        self,
        packed: tf.Tensor,
        order: tf.Tensor,
        basis_samples: tf.Tensor,
        basis_coordinates: tf.Tensor,
        state: damping.DampingState,
        kl_coef: tf.Tensor,
    ) -> tuple[tf.Tensor, damping.DampingState, tf.Tensor]:
        def body(step, sums, finite, *state):
            rows = tf.gather(packed, order[step])
            minibatch = Minibatch(self._fields.unpack(rows), basis_samples[step], basis_coordinates[step])
            stats, new_state, fine = self._minibatch_step(minibatch, damping.DampingState(*state), kl_coef)
            return (step + 1, sums + tf.stack(stats), tf.logical_and(finite, fine), *new_state)

        def going(step, sums, finite, *state):
            return tf.logical_and(step < order.shape[0], finite)

        start = (tf.constant(0), tf.zeros([len(self._stat_names)]), tf.constant(True), *state)
        _, sums, finite, *state = tf.while_loop(going, body, start)
        return sums, damping.DampingState(*state), finite

    @property
    def _has_distance(self) -> bool:
        return self.config.penalty != "none"

    def _terms(self, weights: list[tf.Tensor], data: Mapping[str, tf.Tensor], kl_coef: tf.Tensor):
        """The loss of a minibatch and its parts, at the given weights."""
        config = self.config
        pd = self.policy.pd(weights, data["observations"])
        values = self.policy.value(weights, data["observations"])
        log_probs = pd.logp(data["actions"])
        ratio = objectives.importance_ratio(log_probs, data["log_probs"])
        advantages = objectives.normalised(data["advantages"])
        if config.surrogate == "clipped":
            policy_loss = objectives.clipped_surrogate(ratio, advantages, config.cliprange)
        else:
            policy_loss = objectives.importance_surrogate(ratio, advantages)
        value_loss = objectives.value_loss(values, data["returns"], data["values"], config.value_cliprange)
        entropy = tf.reduce_mean(pd.entropy())
        loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
        distance = tf.zeros([])
        if config.penalty == "kl":
            distance = tf.reduce_mean(self.policy.pdtype.pdfromflat(data["pd_flat"]).kl(pd))
            loss += kl_coef * distance
        elif self.penalty is not None:
            distance = self.penalty(pd, data)
            loss += 0.5 * config.wasserstein_coef * distance
        stats = [
            policy_loss,
            value_loss,
            entropy,
            objectives.approximate_kl(log_probs, data["log_probs"]),
            objectives.clip_fraction(ratio, config.cliprange),
        ]
        return loss, pd, values, log_probs, stats, distance

    def _minibatch_step(
        self, minibatch: Minibatch, state: damping.DampingState, kl_coef: tf.Tensor
    ) -> tuple[list[tf.Tensor], damping.DampingState, tf.Tensor]:
        theta = tf.convert_to_tensor(self.theta)
        weights = self.policy.unflatten(theta)
        with tf.GradientTape(persistent=self.natural) as tape:
            tape.watch(weights)
            loss, pd, values, log_probs, stats, distance = self._terms(weights, minibatch.data, kl_coef)
            outputs = self.precondition.record(pd, values, log_probs, minibatch.data) if self.natural else None
        gradient = self.policy.flatten(tape.gradient(loss, weights, unconnected_gradients="zero"))
        finite = tf.reduce_all(tf.math.is_finite(gradient)) & tf.math.is_finite(loss)
        direction, evidence = gradient, None
        if self.natural:
            direction, evidence = self.precondition(tape, outputs, weights, gradient, minibatch, state.epsilon)
            finite &= evidence.finite
        norm = tf.norm(gradient)
        if self.config.max_grad_norm > 0.0:
            direction = tf.clip_by_norm(direction, self.config.max_grad_norm)
        self.optimizer.apply([direction], [self.theta])
        stats = [*stats, norm]
        if self._has_distance:
            stats.append(distance)
        if self.natural:
            state, ratio = self._adapt(state, minibatch.data, loss, gradient, theta, kl_coef)
            evidence = {**evidence._asdict(), "reduction_ratio": ratio, "epsilon": state.epsilon}
            stats += [tf.cast(evidence[name], tf.float32) for name in EVIDENCE_NAMES]
        return stats, state, finite

    def _adapt(self, state, data, loss, gradient, before, kl_coef):
        """Adapt ε by the reduction of the same minibatch's loss against what the step really taken predicts."""
        if self.config.damping == "fixed":
            return state, tf.zeros([])
        after = tf.convert_to_tensor(self.theta)
        new_loss = self._terms(self.policy.unflatten(after), data, kl_coef)[0]
        predicted = -tf.tensordot(gradient, after - before, 1)
        ratio = damping.reduction_ratio(loss, new_loss, predicted)
        state = damping.update(state, ratio, only_shrink=self.config.damping == "original")
        return state, tf.where(tf.math.is_finite(ratio), ratio, 0.0)

    # ---- what came of it ----------------------------------------------------------------------------------------

    def _report(self, means: np.ndarray, batch: Batch) -> dict[str, float]:
        report = dict(zip(self._stat_names, (float(x) for x in means), strict=True))
        if self.natural:
            report["wng/epsilon"] = float(self.damping.epsilon)
        if self.config.penalty == "kl":
            self.kl_coef = objectives.adapted_kl_coef(self.kl_coef, self.distances(batch)["kl"], self.config.kl_target)
            report["loss/kl_coef"] = self.kl_coef
        return report

    # ---- checkpoint ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        state = {
            "theta": self.theta.numpy(),
            "optimizer": [np.asarray(v) for v in self.optimizer.variables],
            "damping": [np.asarray(x) for x in self.damping],
            "kl_coef": self.kl_coef,
        }
        return state if self.penalty is None else {**state, "penalty_seed": self.penalty.seed}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.theta.assign(state["theta"])
        for variable, value in zip(self.optimizer.variables, state["optimizer"], strict=True):
            variable.assign(value)
        self.damping = damping.DampingState(*(tf.constant(x) for x in state["damping"]))
        self.kl_coef = float(state["kl_coef"])
        if self.penalty is not None and (seed := state.get("penalty_seed", FEATURES_OF_ALL_RUNS)) != self.penalty.seed:
            self.penalty = self._make_penalty(seed)
            self._compiled = None
