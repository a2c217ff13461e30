"""Policies against SciPy's Toeplitz matrices and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from gymnasium import spaces

from wng_tf.evolution.policies import ActionHead, PolicySpec, forward

BOX = ActionHead.of(spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32)))
FREE = ActionHead.of(spaces.Box(-np.inf, np.inf, (2,), np.float32))
CHOICE = ActionHead.of(spaces.Discrete(3))


def naive_layers(spec, theta):
    """The layers read off θ entry by entry."""
    layers, position = [], 0
    sizes = [spec.observations, *spec.hidden, spec.head.size]
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        if spec.network == "toeplitz":
            diagonals = theta[position : position + inputs + outputs - 1]
            position += inputs + outputs - 1
            # First column from the main diagonal down, first row from it to the right.
            weights = scipy.linalg.toeplitz(diagonals[inputs - 1 :], diagonals[inputs - 1 :: -1])
        else:
            weights = theta[position : position + inputs * outputs].reshape(outputs, inputs)
            position += inputs * outputs
        offset = np.zeros(outputs)
        if spec.network == "mlp" or i < len(spec.hidden):
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
    spec = PolicySpec(network, 4, (5, 3), head)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(spec.num_parameters)
    observations = rng.standard_normal((6, 4)).astype(np.float32)
    actions = forward(spec.materialise(theta), head, observations)
    for observation, action in zip(observations, actions, strict=True):
        outputs = naive_action(spec, theta, observation)
        if head.discrete:
            assert action == int(np.argmax(outputs))
        elif head is BOX:
            expected = [math.tanh(outputs[0]), 2.0 + 2.0 * math.tanh(outputs[1])]
            np.testing.assert_allclose(action, expected, atol=1e-5)
        else:
            np.testing.assert_allclose(action, outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["toeplitz", "mlp"])
def test_a_batch_of_policies_is_each_of_them(network):
    spec = PolicySpec(network, 3, (4,), BOX)
    thetas = np.random.default_rng(1).standard_normal((5, spec.num_parameters))
    together = spec.materialise(thetas)
    for k, theta in enumerate(thetas):
        for (weights, offset), (many_weights, many_offset) in zip(spec.materialise(theta), together, strict=True):
            np.testing.assert_array_equal(weights, many_weights[k])
            np.testing.assert_array_equal(offset, many_offset[k])
            assert weights.dtype == offset.dtype == np.float32


def test_the_papers_policies_have_as_many_parameters_as_its_code():
    point = PolicySpec("toeplitz", 6, (16, 16), ActionHead.of(spaces.Box(-1, 1, (2,))))
    assert point.num_parameters == (21 + 16) + (31 + 16) + 17
    quadruped = PolicySpec("toeplitz", 113, (64, 64), ActionHead.of(spaces.Box(-1, 1, (8,))))
    assert quadruped.num_parameters == (176 + 64) + (127 + 64) + 71


@pytest.mark.parametrize("network", ["toeplitz", "mlp"])
def test_initial_parameters_are_zero_mean_and_scaled_by_fan_in(network):
    spec = PolicySpec(network, 100, (100,), ActionHead.of(spaces.Box(-1, 1, (100,))))
    theta = spec.initial(np.random.default_rng(0))
    assert theta.shape == (spec.num_parameters,)
    for weights, offset in spec.materialise(theta):
        assert abs(weights.mean()) < 0.05
        assert weights.std() == pytest.approx(0.1, rel=0.3)
        assert (offset == 0).all()


def test_positive_initial_parameters_repeat_their_draws():
    spec = PolicySpec("toeplitz", 9, (16, 16), BOX)
    theta = spec.initial(np.random.default_rng(0), positive=True)
    assert ((theta >= 0) & (theta < 1)).all()
    # The diagonals of the two first layers: the same draws, scaled by their inputs.
    np.testing.assert_allclose(theta[:24] * np.sqrt(9), theta[40:64] * np.sqrt(16))


def test_heads_and_their_spaces():
    for space in (spaces.Discrete(3), spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))):
        assert ActionHead.of(space).space() == space
    assert BOX.bounded
    assert not FREE.bounded
    assert not CHOICE.bounded


def test_unknown_network():
    with pytest.raises(ValueError, match="'cnn'"):
        PolicySpec("cnn", 3, (4,), BOX)
