"""Derivatives layer by layer against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.natural_gradient import DenseChain, flatten, pullback

SAMPLES = 6


def chain_of(*sizes: int, activation=tf.tanh):
    """A chain with a linear last layer, weights and inputs, float64."""
    rng = np.random.default_rng(0)
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    layers = [(i, o, activation if k < len(pairs) - 1 else tf.identity) for k, (i, o) in enumerate(pairs)]
    weights = [tf.constant(rng.normal(size=shape)) for i, o in pairs for shape in ((i, o), (o,))]
    return DenseChain(layers), weights, tf.constant(rng.normal(size=(SAMPLES, sizes[0])))


def network(chain, weights, x):
    for layer, (_, _, activation) in enumerate(chain.layers):
        x = activation(x @ weights[2 * layer] + weights[2 * layer + 1])
    return x


CASES = pytest.mark.parametrize(
    ("sizes", "activation"),
    [((3, 4, 5, 2), tf.tanh), ((3, 2), tf.tanh), ((3, 5, 2), tf.nn.elu), ((2, 3, 3, 3, 4), tf.nn.silu)],
)


@CASES
@pytest.mark.parametrize("count", [1, 2, 7])
def test_rows_are_those_of_the_tape(sizes, activation, count):
    """With fewer cotangents than outputs, as many, and more."""
    chain, weights, x = chain_of(*sizes, activation=activation)
    cotangents = tf.constant(np.random.default_rng(1).normal(size=(count, SAMPLES, sizes[-1])))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        outputs = network(chain, weights, x)
    expected = pullback(tape, outputs, cotangents, weights)
    run = chain.run(chain.to_layers(flatten(weights)), x)
    np.testing.assert_allclose(run.outputs, outputs, atol=1e-12)
    rows = chain.pull(run, cotangents)
    assert rows.shape == (count, chain.size)
    for row, truth in zip(rows, expected, strict=True):
        np.testing.assert_allclose(chain.from_layers(row), truth, atol=1e-12)
        np.testing.assert_allclose(row, chain.to_layers(truth), atol=1e-12)


@CASES
def test_push_is_the_transpose_of_pull(sizes, activation):
    chain, weights, x = chain_of(*sizes, activation=activation)
    rng = np.random.default_rng(2)
    tangent = rng.normal(size=chain.size)
    run = chain.run(chain.to_layers(flatten(weights)), x)
    moved = chain.push(run, chain.to_layers(tf.constant(tangent)))
    step = 1e-6

    def at(sign: float):
        start, moving = 0, []
        for weight in weights:
            size = weight.shape.num_elements()
            moving.append(weight + sign * step * tangent[start : start + size].reshape(weight.shape))
            start += size
        return network(chain, moving, x)

    np.testing.assert_allclose(moved, (at(1.0) - at(-1.0)) / (2.0 * step), atol=1e-7)
    cotangent = rng.normal(size=(1, SAMPLES, sizes[-1]))
    pulled = chain.from_layers(chain.pull(run, tf.constant(cotangent))[0])
    np.testing.assert_allclose(np.sum(cotangent[0] * moved), np.sum(pulled * tangent), rtol=1e-10)


def test_chains_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="units must be the next one's inputs"):
        DenseChain([(2, 3, tf.tanh), (4, 1, tf.identity)])
    with pytest.raises(ValueError, match="at least one layer"):
        DenseChain([])


def test_the_order_of_flatten():
    chain, weights, _ = chain_of(3, 4, 2)
    np.testing.assert_array_equal(chain.from_layers(chain.to_layers(flatten(weights))), flatten(weights))
