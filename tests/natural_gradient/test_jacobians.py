"""The three forms of J against tape.jacobian, finite differences and plain loops."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from wng_tf.natural_gradient import (
    KernelBasis,
    evolution_jacobian,
    flatten,
    reparameterised_jacobian,
    score_jacobian,
    unflatten,
)

RNG = np.random.default_rng(0)
STATES, NOISE = tf.constant(RNG.normal(size=(9, 3))), tf.constant(RNG.normal(size=(9, 2)))


def gaussian_policy():
    """A Keras network for the mean and a standard deviation for each action; all in float64."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [keras.layers.Dense(4, activation="tanh", dtype="float64"), keras.layers.Dense(2, dtype="float64")]
    )
    network(STATES)
    log_std = tf.Variable([-0.5, 0.3], dtype=tf.float64)
    return network, log_std, [*network.trainable_variables, log_std]


def actions(network, log_std):
    return network(STATES) + tf.exp(log_std) * NOISE


def test_a_keras_policy_against_finite_differences():
    network, log_std, variables = gaussian_policy()
    with tf.GradientTape(persistent=True) as tape:
        embeddings = actions(network, log_std)
    basis = KernelBasis.sample(embeddings, 4, seed=0)
    jacobian = reparameterised_jacobian(tape, embeddings, basis.gradients(embeddings), variables)

    def mean_values(vector):
        for variable, value in zip(variables, unflatten(vector, variables), strict=True):
            variable.assign(value)
        return tf.reduce_mean(basis(actions(network, log_std)), axis=1).numpy()

    parameters, step = flatten([tf.convert_to_tensor(variable) for variable in variables]).numpy(), 1e-5
    expected = np.stack(
        [
            (mean_values(parameters + step * unit) - mean_values(parameters - step * unit)) / (2.0 * step)
            for unit in np.eye(len(parameters))
        ],
        axis=1,
    )
    np.testing.assert_allclose(jacobian, expected, atol=1e-9)


def test_equals_the_tape_jacobian_of_the_mean_values():
    network, log_std, variables = gaussian_policy()
    with tf.GradientTape(persistent=True) as tape:
        embeddings = actions(network, log_std)
        basis = KernelBasis.sample(embeddings, 4, seed=0)
        mean_values = tf.reduce_mean(basis(embeddings), axis=1)
    blocks = tape.jacobian(mean_values, variables)
    expected = tf.concat([tf.reshape(block, [4, -1]) for block in blocks], axis=1)
    jacobian = reparameterised_jacobian(tape, embeddings, basis.gradients(embeddings), variables)
    np.testing.assert_allclose(jacobian, expected, atol=1e-14)


def test_score_form_against_a_loop_over_samples():
    network, log_std, variables = gaussian_policy()
    taken = actions(network, log_std)
    with tf.GradientTape(persistent=True) as tape:
        policy = tfp.distributions.MultivariateNormalDiag(network(STATES), tf.exp(log_std))
        log_probs = policy.log_prob(taken)
    basis = KernelBasis.sample(taken, 4, seed=0)
    values = basis(taken)
    jacobian = score_jacobian(tape, log_probs, values, variables)

    expected = np.zeros(jacobian.shape)
    for n in range(len(STATES)):
        with tf.GradientTape() as single:
            distribution = tfp.distributions.MultivariateNormalDiag(network(STATES[n : n + 1]), tf.exp(log_std))
            log_prob = distribution.log_prob(taken[n : n + 1])
        score = flatten(single.gradient(log_prob, variables)).numpy()
        expected += np.outer(values[:, n] - np.mean(values, axis=1), score) / len(STATES)
    np.testing.assert_allclose(jacobian, expected, atol=1e-13)


def test_both_forms_of_a_policy_estimate_the_same():
    """On many samples of one Gaussian the two Jacobians agree to within their sampling error."""
    mean, log_std = tf.Variable([0.3, -0.2], dtype=tf.float64), tf.Variable([0.1, -0.4], dtype=tf.float64)
    noise = tf.constant(np.random.default_rng(1).normal(size=(40_000, 2)))
    with tf.GradientTape(persistent=True) as tape:
        embeddings = mean + tf.exp(log_std) * noise
        held = tf.stop_gradient(embeddings)
        log_probs = tf.reduce_sum(-0.5 * ((held - mean) / tf.exp(log_std)) ** 2 - log_std, axis=1)
    basis = KernelBasis.sample(held, 5, seed=0)
    reparameterised = reparameterised_jacobian(tape, embeddings, basis.gradients(held), [mean, log_std])
    score = score_jacobian(tape, log_probs, basis(held), [mean, log_std])
    np.testing.assert_allclose(score, reparameterised, atol=0.02 * np.abs(reparameterised).max())


def evolution_loop(perturbations, values, sigma, mean):
    """Eq. 14 with the corrected factor: (1/(N σ²)) Σ_n (h_m - mean_m) (θ̃_n - θ)."""
    result = np.zeros((len(values), perturbations.shape[1]))
    for m in range(len(values)):
        for n in range(len(perturbations)):
            result[m] += (values[m, n] - mean[m]) * sigma * perturbations[n] / (len(perturbations) * sigma**2)
    return result


def test_evolution_form_against_the_equation():
    perturbations, values = RNG.normal(size=(6, 4)), RNG.normal(size=(3, 6))
    expected = evolution_loop(perturbations, values, 0.2, values.mean(axis=1))
    np.testing.assert_allclose(evolution_jacobian(perturbations, values, 0.2), expected, rtol=1e-12)


def test_mirrored_form_is_the_same_over_both_halves():
    half, values = RNG.normal(size=(6, 4)), RNG.normal(size=(3, 12))
    expected = evolution_loop(np.concatenate([half, -half]), values, 0.2, np.zeros(3))
    np.testing.assert_allclose(evolution_jacobian(half, values, 0.2, mirrored=True), expected, rtol=1e-12)


def test_variables_without_influence_and_sparse_gradients():
    table, unused = tf.Variable(RNG.normal(size=(5, 2))), tf.Variable([1.0, 2.0], dtype=tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        embeddings = tf.gather(table, [0, 0, 3])
    slopes = tf.constant(RNG.normal(size=(2, 3, 2)))
    jacobian = reparameterised_jacobian(tape, embeddings, slopes, [unused, table])
    expected = np.zeros((2, 5, 2))
    expected[:, 0], expected[:, 3] = (slopes[:, 0] + slopes[:, 1]) / 3, slopes[:, 2] / 3
    np.testing.assert_allclose(jacobian, np.hstack([np.zeros((2, 2)), expected.reshape(2, 10)]), atol=1e-15)


def test_a_tape_for_one_use_is_refused():
    x = tf.Variable(np.ones((3, 2)))
    with tf.GradientTape() as tape:
        embeddings = 2.0 * x
    with pytest.raises(ValueError, match="persistent=True"):
        reparameterised_jacobian(tape, embeddings, np.ones((4, 3, 2)), [x])


def test_unflatten_inverts_flatten():
    tensors = [tf.constant(RNG.normal(size=shape)) for shape in [(2, 3), (), (4,)]]
    vector = flatten(tensors)
    np.testing.assert_array_equal(vector, np.concatenate([np.ravel(tensor) for tensor in tensors]))
    for tensor, back in zip(tensors, unflatten(vector, tensors), strict=True):
        np.testing.assert_array_equal(tensor, back)


@pytest.mark.parametrize("shape", [(9, 1), (1, 9), (3,)])
def test_log_probabilities_of_another_shape_are_refused_and_not_broadcast(shape):
    network, log_std, variables = gaussian_policy()
    with tf.GradientTape(persistent=True) as tape:
        one_each = tf.reduce_sum(actions(network, log_std), axis=1)
        log_probs = one_each[: shape[0]] if shape == (3,) else tf.reshape(one_each, shape)
    with pytest.raises(ValueError, match=r"`log_probs` has the shape \[.*\], where \[9\] is expected"):
        score_jacobian(tape, log_probs, tf.ones([2, 9], tf.float64), variables)
