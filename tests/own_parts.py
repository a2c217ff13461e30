"""Parts that a user might write, outside of the package: each is named as `own_parts:Name`, or registered by a test."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from wng_tf.evolution.repulsion import Repulsion
from wng_tf.policies.scores import layer_scores
from wng_tf.policy_gradient.metrics import Metric, ProductOperator
from wng_tf.policy_gradient.penalties import Penalty
from wng_tf.policy_gradient.steps import Carry, Outcome, StepRule

KEEP = 0.9


class BlockDiagonal(Metric):
    """The empirical Fisher matrix without what couples two weight tensors, averaged over the steps so far."""

    def __init__(self, setup):
        super().__init__(setup)
        self.spec = self.policy.actor_spec()
        self.sizes = [int(np.prod(w.shape)) for w in self.policy.parameters[: self.policy.num_policy_weights]]

    def initial_state(self):
        return tuple(tf.zeros([size, size]) for size in self.sizes)

    def operator(self, point, state):
        data = point.data
        scores = layer_scores(self.policy, self.spec, point.weights, data["observations"], data["actions"]).dense()
        blocks = []
        for average, block in zip(state, tf.split(scores, self.sizes, axis=1), strict=True):
            fresh = tf.matmul(block, block, transpose_a=True) / block.shape[0]
            blocks.append(KEEP * average + (1.0 - KEEP) * fresh)

        def product(vector):
            pieces = tf.split(vector, self.sizes)
            return tf.concat([tf.linalg.matvec(b, v) for b, v in zip(blocks, pieces, strict=True)], axis=0)

        return ProductOperator(product), tuple(blocks)


class MeanShift(Penalty):
    """c |Δμ|² of a Gaussian policy; c doubles after every update."""

    name = "loss/mean_shift"

    def __init__(self, setup):
        self.coefficient = 1e3

    def prepare(self, batch, noise):
        return {"old_mean": np.split(batch.pd_flat, 2, axis=1)[0]}

    def carry(self):
        return tf.constant(self.coefficient)

    def distance(self, pd, data):
        return tf.reduce_mean(tf.reduce_sum(tf.square(pd.mean - data["old_mean"]), axis=1))

    def weight(self, carry):
        return carry

    def adapt(self, moved):
        self.coefficient *= 2.0
        return {"loss/coefficient": self.coefficient, "loss/measured": moved()["w2_squared"]}

    def state(self):
        return {"mean_shift": self.coefficient}

    def restore(self, state):
        self.coefficient = state["mean_shift"]
        return False


class SignStep(StepRule):
    """θ moves by the learning rate along the sign of the whole batch's gradient."""

    def __init__(self, setup):
        super().__init__(setup)
        self.optimizer.build([self.theta])

    def draw(self, rng):
        return np.zeros((1, 0), np.int32), np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32)

    def run(self, data, draws, carry):
        columns, theta = data.all(), tf.convert_to_tensor(self.theta)
        with tf.GradientTape() as tape:
            tape.watch(theta)
            pd = self.policy.pd(self.policy.unflatten(theta), columns["observations"])
            ratio = tf.exp(pd.logp(columns["actions"]) - columns["log_probs"])
            loss = self.surrogate(ratio, columns["advantages"], self.config.cliprange)
        gradient = tape.gradient(loss, theta)
        self.theta.assign_sub(self.optimizer.learning_rate * tf.sign(gradient))
        finite = tf.reduce_all(tf.math.is_finite(gradient))
        return Outcome(tf.stack([loss, tf.norm(gradient)]), Carry((), carry.metric, carry.penalty), finite)

    def report(self, stats, carry):
        return {"loss/policy_loss": float(stats[0]), "loss/grad_norm": float(stats[1])}


def squared_ratio(ratio, advantages, cliprange):
    """A surrogate."""
    return -tf.reduce_mean(tf.square(ratio) * advantages)


class Farthest(Repulsion):
    """Distance to the farthest of the last three policies."""

    memory = 3

    def __call__(self, x, past, seed):
        return np.sqrt(np.square(x[:, np.newaxis] - past).sum(axis=-1)).max(axis=1)


def rewards_at_ends(trajectory, length):
    """An embedding: first and last reward."""
    return [trajectory.rewards[0], trajectory.rewards[-1]]


NOT_CALLABLE = 3


class FailsInOperator(Metric):
    """A slip in the method that every step calls."""

    def operator(self, point, state):
        raise KeyError("observation")


class FailsInProduct(Metric):
    """A slip in what its operator hands back."""

    def operator(self, point, state):
        def product(vector):
            return vector[:, np.newaxis] @ vector

        return ProductOperator(product), state


class GivesNothing(Metric):
    """Forgets to return."""

    def operator(self, point, state):
        pass


class FailsInReport(SignStep):
    """A slip after the compiled run."""

    def report(self, stats, carry):
        return {"loss/policy_loss": float(stats[7])}


class FailsInWeight(MeanShift):
    """A slip in the penalty's."""

    def weight(self, carry):
        return carry["coefficient"]


class FailsInCall(Farthest):
    """A slip in a repulsion."""

    def __call__(self, x, past, seed):
        return x @ past


class FailsInMemory(Farthest):
    """A slip in a property."""

    @property
    def memory(self):
        return self.config.memories
