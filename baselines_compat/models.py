"""Networks by name, as in Baselines: `@register("name")` a function of settings that returns a Keras model builder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

NetworkFn = Callable[[tuple[int, ...]], keras.Model]

mapping: dict[str, Callable[..., NetworkFn]] = {}


def register(name: str) -> Callable[[Callable[..., NetworkFn]], Callable[..., NetworkFn]]:
    """Decorator: make a network available as `network=name`.

    The function takes keyword settings and returns `network_fn(input_shape) -> keras.Model`, a model from
    observations [B, *input_shape] to features [B, k].
    """

    def add(function: Callable[..., NetworkFn]) -> Callable[..., NetworkFn]:
        mapping[name] = function
        return function

    return add


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
