"""Networks by name, and their initialisation."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from baselines_compat import models


@pytest.fixture
def registered():
    """A network under a name of its own, gone afterwards."""

    @models.register("one_layer")
    def one_layer(units: int = 3):
        return lambda shape: keras.Sequential([keras.Input(shape), keras.layers.Dense(units, activation="relu")])

    yield one_layer
    del models.mapping["one_layer"]


def test_mlp_is_two_orthogonal_layers_of_gain_sqrt_two():
    network = models.get_network_builder("mlp")(seed=3)((8,))
    kernels = [layer.kernel.numpy() for layer in network.layers[1:]]
    assert [kernel.shape for kernel in kernels] == [(8, 64), (64, 64)]
    for kernel in kernels:
        rows, columns = kernel.shape
        gram = kernel @ kernel.T if rows < columns else kernel.T @ kernel
        np.testing.assert_allclose(gram, 2.0 * np.eye(min(rows, columns)), atol=1e-5)
    assert all(layer.activation is keras.activations.tanh for layer in network.layers[1:])
    assert all(not layer.bias.numpy().any() for layer in network.layers[1:])


def test_seeds_give_weights():
    def first(seed: int) -> np.ndarray:
        return models.mlp(num_hidden=4, seed=seed)((3,)).layers[1].kernel.numpy()

    np.testing.assert_array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))
    layers = models.mlp(num_hidden=4, seed=1)((4,)).layers
    assert not np.array_equal(layers[1].kernel.numpy(), layers[2].kernel.numpy())


def test_sizes_and_shapes():
    network = models.mlp(num_layers=3, num_hidden=5, activation="relu", seed=0)((2, 4))
    assert network.output_shape == (None, 5)
    assert [type(layer).__name__ for layer in network.layers] == [
        "InputLayer",
        "Flatten",
        "Dense",
        "Dense",
        "Dense",
    ]


def test_registered_networks_are_found_by_name(registered):
    assert models.get_network_builder("one_layer") is registered
    assert models.get_network_builder(registered) is registered
    with pytest.raises(ValueError, match="Unknown network 'two_layers'.*mlp, one_layer"):
        models.get_network_builder("two_layers")
