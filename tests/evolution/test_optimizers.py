"""Ascent steps against Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from wng_tf.evolution import optimizers

KERAS = {
    "adam": lambda lr: keras.optimizers.Adam(lr, epsilon=1e-8),
    "momentum": lambda lr: keras.optimizers.SGD(lr, momentum=0.9),
    "sgd": lambda lr: keras.optimizers.SGD(lr),
}


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_same_path_as_keras(name):
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(4)
    variable = tf.Variable(theta, dtype=tf.float32)
    reference = KERAS[name](0.05)
    slots = optimizers.initial(4)
    for _ in range(20):
        gradient = rng.standard_normal(4) * 3.0
        slots, step = optimizers.ascent(name, slots, gradient, 0.05)
        theta = theta + step
        reference.apply_gradients([(tf.constant(-gradient, tf.float32), variable)])
    assert slots.count == 20
    np.testing.assert_allclose(theta, variable.numpy(), rtol=2e-4, atol=2e-5)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="'lion'"):
        optimizers.ascent("lion", optimizers.initial(1), np.ones(1), 0.1)
