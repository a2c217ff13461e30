"""Keras networks that a user might write, as `--network=own_networks:name`."""

from __future__ import annotations

import keras
from keras import layers


def residual(input_shape):
    """Two blocks around which the features go, too, with normalized layers."""
    inputs = keras.Input(input_shape)
    h = layers.Dense(8)(layers.Flatten()(inputs))
    for _ in range(2):
        h = layers.Add()([h, layers.Dense(8, activation="tanh")(layers.LayerNormalization()(h))])
    return keras.Model(inputs, h)


def plain(input_shape):
    """A chain of dense layers."""
    return keras.Sequential([layers.Dense(6, activation="tanh"), layers.Dense(5, activation="relu")])


def repeated(input_shape):
    """A layer that is used twice, and begins at zero."""
    inputs = keras.Input(input_shape)
    layer = layers.Dense(5, activation="tanh", kernel_initializer="zeros")
    return keras.Model(inputs, layer(layer(layers.Dense(5)(inputs))))


def sized(width=7, **settings):
    """A builder as Baselines has them: settings, then the shape."""

    def network_fn(input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.LayerNormalization()(layers.Dense(width, activation="tanh")(inputs)))

    return network_fn


def other(input_shape):
    """Another one than `sized`, of the same weights."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.LayerNormalization()(layers.Dense(7, activation="relu")(inputs)))


def normalized_by_batch(input_shape):
    return keras.Sequential([layers.Dense(4), layers.BatchNormalization()])


def dropping(input_shape):
    return keras.Sequential([layers.Dense(4), layers.Dropout(0.5)])


def recurrent(input_shape):
    return keras.Sequential([layers.Reshape((-1, 1)), layers.LSTM(4)])


def frozen(input_shape):
    return keras.Sequential([layers.Dense(4, trainable=False)])


def no_model(input_shape):
    return [4]


def failing(input_shape):
    raise RuntimeError("broken")


def of_two(one, two):
    raise AssertionError("never called")


class Doubling(layers.Layer):
    """A layer that is not registered."""

    def call(self, x):
        return 2.0 * x


def unregistered(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, Doubling()(layers.Dense(4)(inputs)))


@keras.saving.register_keras_serializable("own_networks")
class Scaling(layers.Layer):
    """A layer that is registered."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def registered(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, Scaling(0.5)(layers.Dense(4)(inputs)))


def of_parts(shapes):
    """Of Dict observations: images through a convolution, vectors beside it."""
    inputs = {name: keras.Input(shape) for name, shape in shapes.items()}
    parts = []
    for name in sorted(inputs):
        x = inputs[name]
        parts.append(layers.Flatten()(layers.Conv2D(2, 3, activation="relu")(x)) if len(x.shape) == 4 else x)
    return keras.Model(inputs, layers.Dense(6, activation="tanh")(layers.Concatenate()(parts)))
