"""Policies against SciPy's Toeplitz matrices and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from gymnasium import spaces

from wng_tf import parts
from wng_tf.errors import UserError
from wng_tf.policies import heads, networks
from wng_tf.policies import spaces as space_trees
from wng_tf.policies.network import Layer, Network
from wng_tf.policies.spec import PolicySpec
from wng_tf.policies.tensors import forward

BOX_SPACE = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
FREE_SPACE = spaces.Box(-np.inf, np.inf, (2,), np.float32)
BOX = heads.deterministic(BOX_SPACE)
FREE = heads.deterministic(FREE_SPACE)
CHOICE = heads.deterministic(spaces.Discrete(3))


def made(network, observations, hidden, head) -> PolicySpec:
    build = {"toeplitz": networks.toeplitz, "mlp": networks.mlp}[network]
    return PolicySpec(build(observations, hidden, head.num_outputs), head)


def naive_layers(spec, theta):
    """The layers read off θ entry by entry."""
    layers, position = [], 0
    layers_of = spec.network.layers
    sizes = [spec.observations, *(layer.units for layer in layers_of)]
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        if spec.network.name == "toeplitz":
            diagonals = theta[position : position + inputs + outputs - 1]
            position += inputs + outputs - 1
            # First column from the main diagonal down, first row from it to the right.
            weights = scipy.linalg.toeplitz(diagonals[inputs - 1 :], diagonals[inputs - 1 :: -1])
        else:
            weights = theta[position : position + inputs * outputs].reshape(outputs, inputs)
            position += inputs * outputs
        offset = np.zeros(outputs)
        if spec.network.name == "mlp" or i + 1 < len(layers_of):
            offset = theta[position : position + outputs]
            position += outputs
        layers.append((weights, offset))
    assert position == len(theta)
    return layers


def naive_action(spec, theta, observation):
    x = observation
    layers = naive_layers(spec, theta)
    for i, (weights, offset) in enumerate(layers):
        x = [sum(weights[r, c] * x[c] for c in range(len(x))) + offset[r] for r in range(len(offset))]
        if i + 1 < len(layers):
            x = [math.tanh(value) for value in x]
    return x


@pytest.mark.parametrize("network", ["toeplitz", "mlp"])
@pytest.mark.parametrize("head", [BOX, FREE, CHOICE])
def test_forward_against_plain_loops(network, head):
    spec = made(network, 4, (5, 3), head)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(spec.num_parameters)
    observations = rng.standard_normal((6, 4)).astype(np.float32)
    actions = head.mode(spec.network.forward(spec.materialise(theta), observations))
    for observation, action in zip(observations, actions, strict=True):
        outputs = naive_action(spec, theta, observation)
        if head is CHOICE:
            assert action == int(np.argmax(outputs))
        elif head is BOX:
            expected = [math.tanh(outputs[0]), 2.0 + 2.0 * math.tanh(outputs[1])]
            np.testing.assert_allclose(action, expected, atol=1e-5)
        else:
            np.testing.assert_allclose(action, outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["toeplitz", "mlp"])
def test_a_batch_of_policies_is_each_of_them(network):
    spec = made(network, 3, (4,), BOX)
    thetas = np.random.default_rng(1).standard_normal((5, spec.num_parameters))
    together = spec.materialise(thetas)
    for k, theta in enumerate(thetas):
        for (weights, offset), (many_weights, many_offset) in zip(spec.materialise(theta), together, strict=True):
            np.testing.assert_array_equal(weights, many_weights[k])
            np.testing.assert_array_equal(offset, many_offset[k])
            assert weights.dtype == offset.dtype == np.float32


def test_the_papers_policies_have_as_many_parameters_as_its_code():
    point = made("toeplitz", 6, (16, 16), heads.deterministic(spaces.Box(-1, 1, (2,))))
    assert point.num_parameters == (21 + 16) + (31 + 16) + 17
    quadruped = made("toeplitz", 113, (64, 64), heads.deterministic(spaces.Box(-1, 1, (8,))))
    assert quadruped.num_parameters == (176 + 64) + (127 + 64) + 71


@pytest.mark.parametrize("network", ["toeplitz", "mlp"])
def test_initial_parameters_are_zero_mean_and_scaled_by_fan_in(network):
    spec = made(network, 100, (100,), heads.deterministic(spaces.Box(-1, 1, (100,))))
    theta = spec.network.initial(np.random.default_rng(0))
    assert theta.shape == (spec.num_parameters,)
    for weights, offset in spec.materialise(theta):
        assert abs(weights.mean()) < 0.05
        assert weights.std() == pytest.approx(0.1, rel=0.3)
        assert (offset == 0).all()


def test_positive_initial_parameters_repeat_their_draws():
    spec = made("toeplitz", 9, (16, 16), BOX)
    theta = spec.network.initial(np.random.default_rng(0), positive=True)
    assert ((theta >= 0) & (theta < 1)).all()
    # The diagonals of the two first layers: the same draws, scaled by their inputs.
    np.testing.assert_allclose(theta[:24] * np.sqrt(9), theta[40:64] * np.sqrt(16))


def test_heads_and_their_spaces():
    for space in (spaces.Discrete(3), spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))):
        kept = space_trees.from_tree(space_trees.to_tree(space))
        assert kept == space and heads.deterministic(kept) == heads.deterministic(space)
    assert BOX.bounded
    assert not FREE.bounded
    assert CHOICE.num_noise == 0 and FREE.num_noise == 2


def test_unknown_network():
    with pytest.raises(UserError, match="'cnn'"):
        parts.NETWORKS.find("cnn")
    with pytest.raises(ValueError, match="'cnn'"):
        Layer(3, 4, kernel="cnn")


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="next one's inputs"):
        Network((Layer(3, 4), Layer(5, 2)))
    with pytest.raises(ValueError, match="at least one layer"):
        Network(())
    with pytest.raises(ValueError, match="3 outputs, and a head of 2"):
        PolicySpec(networks.mlp(4, (5,), 3), BOX)
    for wrong in ({"activation": "sin"}, {"inputs": 0}, {"units": 1.5}):
        with pytest.raises(ValueError, match="an activation is|a layer has"):
            Layer(**{"inputs": 2, "units": 2, **wrong})


@pytest.mark.parametrize("network", ["toeplitz", "mlp"])
@pytest.mark.parametrize("head", [BOX, FREE, CHOICE])
def test_a_spec_comes_back_from_its_tree(network, head):
    spec = made(network, 4, (5, 3), head)
    space = {BOX: BOX_SPACE, FREE: FREE_SPACE, CHOICE: spaces.Discrete(3)}[head]
    assert PolicySpec.from_tree(spec.to_tree(), space) == spec


def test_forward_in_tensorflow_is_the_one_in_numpy():
    spec = made("toeplitz", 4, (5, 3), BOX)
    rng = np.random.default_rng(0)
    matrices = spec.materialise(rng.standard_normal(spec.num_parameters))
    x = rng.standard_normal((6, 4)).astype(np.float32)
    outputs = forward(spec.network, [(weights.T, offset) for weights, offset in matrices], tf.constant(x))
    np.testing.assert_allclose(outputs, spec.network.forward(matrices, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(BOX.mode_tensor(outputs), BOX.mode(outputs.numpy()), rtol=1e-5, atol=1e-6)
