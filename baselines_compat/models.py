"""Networks by name, as in Baselines: `@register("name")` a function of settings that returns a Keras model builder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

NetworkFn = Callable[[tuple[int, ...]], keras.Model]

mapping: dict[str, Callable[..., NetworkFn]] = {}


def register(name: str) -> Callable[[Callable[..., NetworkFn]], Callable[..., NetworkFn]]:
    """Decorator: make a network available as `network=name`.

    The function takes keyword settings and returns `network_fn(input_shape) -> keras.Model`, a model from observations
    [B, *input_shape] to features [B, k], or [B, ...], which are flattened. `input_shape` is the shape of the environment's
    observations; of a Dict or Tuple of them it is a dict or tuple of shapes, and so are the model's inputs.
    """

    def add(function: Callable[..., NetworkFn]) -> Callable[..., NetworkFn]:
        mapping[name] = function
        return function

    return add


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Layers that are made in the block, or by the decorated function, compute in float32, whatever Keras' global policy is.

    One that names a type of its own keeps it.
    """
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def ortho_init(scale: float, seed: int | None = None) -> keras.initializers.Initializer:
    """Orthogonal initialisation with gain `scale`."""
    return keras.initializers.Orthogonal(gain=scale, seed=seed)


@register("mlp")
def mlp(num_layers: int = 2, num_hidden: int = 64, activation: str = "tanh", seed: int | None = None) -> NetworkFn:
    """Fully connected layers with orthogonal initialisation of gain sqrt(2), zero biases."""

    def network_fn(input_shape: tuple[int, ...]) -> keras.Model:
        inputs = keras.Input(shape=input_shape)
        h = inputs if len(input_shape) == 1 else keras.layers.Flatten()(inputs)
        for i in range(num_layers):
            init = ortho_init(2.0**0.5, None if seed is None else seed + i)
            h = keras.layers.Dense(num_hidden, activation=activation, kernel_initializer=init, name=f"mlp_fc{i}")(h)
        return keras.Model(inputs, h, name="mlp")

    return network_fn


@register("cnn")
def cnn(units: int = 512, seed: int | None = None) -> NetworkFn:
    """The network of Mnih et al. (2015) for images: three convolutions and a dense layer, ReLU, orthogonal weights.

    Pixels are between 0 and 1, as rollouts hand them over. Images that have their channels in front are turned.
    """
    return _convolutions("cnn", [(32, 8, 4), (64, 4, 2), (64, 3, 1)], units, seed)


@register("cnn_small")
def cnn_small(units: int = 128, seed: int | None = None) -> NetworkFn:
    """Two small convolutions and a dense layer; otherwise as `cnn`."""
    return _convolutions("cnn_small", [(8, 8, 4), (16, 4, 2)], units, seed)


def _convolutions(name: str, layers: Sequence[tuple[int, int, int]], units: int, seed: int | None) -> NetworkFn:
    def init(i: int) -> keras.initializers.Initializer:
        return ortho_init(2.0**0.5, None if seed is None else seed + i)

    def network_fn(input_shape: tuple[int, ...]) -> keras.Model:
        if (
            not isinstance(input_shape, tuple)
            or not all(isinstance(n, int) for n in input_shape)
            or len(input_shape) not in (2, 3)
        ):
            raise ValueError(f"The network '{name}' takes images [height, width, channels], not observations {input_shape}.")
        inputs = h = keras.Input(shape=input_shape)
        if len(input_shape) == 2:
            h = keras.layers.Reshape((*input_shape, 1))(h)
        elif input_shape[0] < min(input_shape[1:]):
            h = keras.layers.Permute((2, 3, 1))(h)
        for i, (filters, size, stride) in enumerate(layers):
            if min(h.shape[1:3]) < size:
                raise ValueError(
                    f"The network '{name}' takes larger images than {input_shape}: see cnn_small, or write your own."
                )
            convolution = keras.layers.Conv2D(
                filters, size, stride, activation="relu", kernel_initializer=init(i), name=f"{name}_c{i + 1}"
            )
            h = convolution(h)
        h = keras.layers.Flatten()(h)
        dense = keras.layers.Dense(units, activation="relu", kernel_initializer=init(len(layers)), name=f"{name}_fc1")
        return keras.Model(inputs, dense(h), name=name)

    return network_fn


def get_network_builder(name: str | Callable[..., Any]) -> Callable[..., NetworkFn]:
    """The builder registered under `name`, or `name` itself if it is callable.

    Raises:
      ValueError: nothing is registered under that name.
    """
    if callable(name):
        return name
    if name in mapping:
        return mapping[name]
    raise ValueError(f"Unknown network '{name}': registered are {', '.join(sorted(mapping))}.")
