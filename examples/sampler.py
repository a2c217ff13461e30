"""A Keras sampler learns a ring, by the Wasserstein natural gradient in a training loop of one's own.

    python examples/sampler.py

The generator maps noise to points in the plane; the energy distance to the data is the loss. The points themselves are
the embedding: the natural gradient measures a step by how far it moves them. The same loop runs with the plain gradient,
and both losses are printed.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from wng_tf.natural_gradient import WassersteinNaturalGradient

STEPS, BATCH = 200, 128


def ring(seed: int) -> tf.Tensor:
    """Data [BATCH, 2]: a noisy circle of radius 2."""
    angles = tf.random.stateless_uniform([BATCH, 1], [seed, 0], 0.0, 6.2831853)
    circle = 2.0 * tf.concat([tf.cos(angles), tf.sin(angles)], axis=1)
    return circle + 0.1 * tf.random.stateless_normal([BATCH, 2], [seed, 1])


def energy_distance(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| of samples [N, 2]."""

    def mean_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.sqrt(tf.reduce_sum(tf.square(a[:, tf.newaxis] - b), axis=-1) + 1e-9))

    return 2.0 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)


def train(natural: bool, steps: int = STEPS) -> float:
    """The loss on fresh noise and data after training."""
    keras.utils.set_random_seed(0)
    generator = keras.Sequential(
        [keras.Input([2]), *[keras.layers.Dense(32, activation="tanh") for _ in range(2)], keras.layers.Dense(2)]
    )
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(generator.trainable_variables)
    wng = WassersteinNaturalGradient(num_basis=10, epsilon=1e-2, max_norm=1.0)

    @tf.function
    def step(noise: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
        variables = generator.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            points = generator(noise)
            loss = energy_distance(points, data)
        if natural:
            gradients, _ = wng(tape, loss, points, variables)
        else:
            gradients = tape.gradient(loss, variables)
        optimizer.apply(gradients, variables)
        return loss

    for i in range(steps):
        step(tf.random.stateless_normal([BATCH, 2], [i, 2]), ring(i))
    return float(energy_distance(generator(tf.random.stateless_normal([BATCH, 2], [-1, 2])), ring(-1)))


if __name__ == "__main__":
    print(f"energy distance, natural gradient: {train(natural=True):.4f}")
    print(f"energy distance, plain gradient:   {train(natural=False):.4f}")
