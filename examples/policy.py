"""REINFORCE with the Wasserstein natural gradient, on a Keras policy in a loop of one's own.

    python examples/policy.py

A continuous bandit with context: the best action is a smooth function of the state. The policy is Gaussian, its actions are
reparameterised, and they are the behavioural embedding.
"""

from __future__ import annotations

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from wng_tf.natural_gradient import WassersteinNaturalGradient

tfd = tfp.distributions
STEPS, BATCH = 400, 128


def reward(states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """[N]: minus the squared distance to the best action, (sin 3 s, cos 3 s)."""
    best = tf.concat([tf.sin(3.0 * states), tf.cos(3.0 * states)], axis=1)
    return -tf.reduce_sum(tf.square(actions - best), axis=1)


def train(steps: int = STEPS) -> float:
    """Mean reward of the last ten batches."""
    keras.utils.set_random_seed(0)
    mean = keras.Sequential([keras.Input([1]), keras.layers.Dense(32, activation="tanh"), keras.layers.Dense(2)])
    log_std = tf.Variable(tf.zeros([2]) - 0.5)
    variables = [*mean.trainable_variables, log_std]
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(variables)
    wng = WassersteinNaturalGradient(num_basis=10, epsilon=1e-1, max_norm=1.0)

    @tf.function
    def step(seed: tf.Tensor) -> tf.Tensor:
        states = tf.random.stateless_uniform([BATCH, 1], seed, -1.0, 1.0)
        noise = tf.random.stateless_normal([BATCH, 2], seed + 1)
        with tf.GradientTape(persistent=True) as tape:
            policy = tfd.Independent(tfd.Normal(mean(states), tf.exp(log_std)), 1)
            actions = mean(states) + tf.exp(log_std) * noise
            rewards = reward(states, tf.stop_gradient(actions))
            advantages = (rewards - tf.reduce_mean(rewards)) / (tf.math.reduce_std(rewards) + 1e-6)
            loss = -tf.reduce_mean(advantages * policy.log_prob(tf.stop_gradient(actions)))
        gradients, _ = wng(tape, loss, actions, variables)
        optimizer.apply(gradients, variables)
        return tf.reduce_mean(rewards)

    rewards = [float(step(tf.constant([i, 0]))) for i in range(steps)]
    return sum(rewards[-10:]) / 10


if __name__ == "__main__":
    print(f"mean reward: {train():.3f} (0 is the best, a policy that ignores the state gets -1 or less)")
