"""The value function beside a trust-region step: minibatches of an optimizer, inside the same compiled call."""

from __future__ import annotations

import keras
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.policy_gradient import objectives


def fit_value(
    policy: PolicyWithValue,
    theta: tf.Tensor,
    critic: tf.Variable,
    optimizer: keras.optimizers.Optimizer,
    observations: tf.Tensor,
    returns: tf.Tensor,
    old_values: tf.Tensor,
    order: tf.Tensor,
    cliprange: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Minimise the value loss over the minibatches `order` [S, n] of the batch [B, ...].

    `critic` [V] holds the value's part of θ, `theta[policy.policy_size:]`, and is what `optimizer` was built for.

    Returns:
      the loss averaged over the minibatches, and whether every loss was finite.
    """
    fixed = theta[: policy.policy_size]
    size = observations.shape[1]
    rows = tf.concat([observations, returns[:, tf.newaxis], old_values[:, tf.newaxis]], axis=1)

    def body(step, total, finite):
        minibatch = tf.gather(rows, order[step])
        parameters = tf.convert_to_tensor(critic)
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            weights = policy.unflatten(tf.concat([fixed, parameters], axis=0))
            values = policy.value(weights, minibatch[:, :size])
            loss = objectives.value_loss(values, minibatch[:, size], minibatch[:, size + 1], cliprange)
        optimizer.apply([tape.gradient(loss, parameters)], [critic])
        return step + 1, total + loss, finite & tf.math.is_finite(loss)

    start = (0, tf.zeros([]), tf.constant(True))
    steps, total, finite = tf.while_loop(lambda step, *_: step < order.shape[0], body, start)
    return total / tf.cast(steps, tf.float32), finite & tf.reduce_all(tf.math.is_finite(critic))
