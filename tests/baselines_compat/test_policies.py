"""Policies: θ, the NumPy actor against the Keras network, and what rollouts cannot run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from scipy import stats

from baselines_compat.actor import ACTIVATIONS, Actor
from baselines_compat.policies import build_policy

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (5,))
ACTIONS = spaces.Box(-1.0, 1.0, (3,))
RNG = np.random.default_rng(0)
STATES = RNG.normal(scale=2.0, size=(20, 5)).astype(np.float32)


def scattered(policy, scale: float = 0.5) -> np.ndarray:
    """θ far from its beginning, so that nothing is zero or symmetric."""
    return RNG.normal(scale=scale, size=policy.size).astype(np.float32)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "linear"])
def test_the_numpy_actor_is_the_keras_policy(activation):
    policy = build_policy(OBSERVATIONS, ACTIONS, num_hidden=16, activation=activation)
    theta = scattered(policy)
    policy.set_flat(theta)
    actor = Actor(policy.actor_spec(), theta)
    expected = np.asarray(policy.actor(STATES))
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose([actor.params(s) for s in STATES], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(actor.params(STATES), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(actor.std, np.exp(policy.logstd.numpy()), rtol=1e-6)


def test_the_numpy_actor_is_the_keras_policy_for_discrete_actions():
    policy = build_policy(OBSERVATIONS, spaces.Discrete(4), num_hidden=16)
    theta = scattered(policy)
    policy.set_flat(theta)
    actor = Actor(policy.actor_spec(), theta)
    np.testing.assert_allclose(actor.params(STATES), np.asarray(policy.actor(STATES)), rtol=1e-6, atol=1e-6)
    pd = policy.pd(policy.unflatten(theta), tf.constant(STATES[:1]))
    noise = actor.draw_perturbations(np.random.default_rng(1), 10_000)
    counts = np.bincount([actor.act(STATES[0], row) for row in noise], minlength=4)
    probabilities = tf.nn.softmax(tf.cast(pd.logits[0], tf.float64)).numpy()
    assert stats.chisquare(counts, probabilities * 10_000).pvalue > 0.01
    assert actor.mode(STATES[0]) == int(pd.mode()[0])


@pytest.mark.parametrize("actions", [ACTIONS, spaces.Discrete(4)])
def test_functions_of_theta_are_the_networks_with_those_weights(actions):
    policy = build_policy(OBSERVATIONS, actions, num_hidden=8)
    theta = scattered(policy)
    weights = policy.unflatten(tf.constant(theta))
    flat, value = policy.pd_flat(weights, STATES).numpy(), policy.value(weights, STATES).numpy()
    assert not np.allclose(policy.get_flat(), theta)
    policy.set_flat(theta)
    np.testing.assert_array_equal(policy.get_flat(), theta)
    out = np.asarray(policy.actor(STATES))
    np.testing.assert_allclose(flat[:, : out.shape[1]], out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, np.asarray(policy.critic(STATES))[:, 0], rtol=1e-5, atol=1e-6)
    if not policy.discrete:
        np.testing.assert_allclose(flat[:, 3:], np.tile(policy.logstd.numpy(), (20, 1)))


def test_theta_is_actor_then_deviations_then_critic():
    policy = build_policy(OBSERVATIONS, ACTIONS, num_hidden=8)
    assert policy.policy_size == (5 * 8 + 8) + (8 * 8 + 8) + (8 * 3 + 3) + 3
    assert policy.size == policy.policy_size + (5 * 8 + 8) + (8 * 8 + 8) + (8 + 1)
    theta = tf.Variable(scattered(policy))
    with tf.GradientTape(persistent=True) as tape:
        weights = policy.unflatten(tf.convert_to_tensor(theta))
        flat, value = policy.pd_flat(weights, STATES), policy.value(weights, STATES)
    of_policy, of_value = tape.gradient(flat, theta).numpy(), tape.gradient(value, theta).numpy()
    assert np.all(of_policy[policy.policy_size :] == 0.0)
    assert np.all(of_value[: policy.policy_size] == 0.0)
    np.testing.assert_array_equal(of_policy[policy.policy_size - 3 : policy.policy_size], [20.0] * 3)
    np.testing.assert_array_equal(policy.flatten(weights), theta.numpy())
    arrays = policy.unflatten(theta.numpy())
    assert all(isinstance(a, np.ndarray) for a in arrays)
    assert len(arrays) == len(policy.parameters)
    assert len(arrays[: policy.num_policy_weights]) == 7


def test_initial_policies_are_small_and_seeded():
    policy = build_policy(OBSERVATIONS, ACTIONS, seed=1, init_logstd=-0.5)
    assert np.abs(np.asarray(policy.actor(STATES))).max() < 0.1
    assert np.abs(np.asarray(policy.critic(STATES))).max() > 0.1
    np.testing.assert_array_equal(policy.logstd.numpy(), np.full(3, -0.5, np.float32))
    np.testing.assert_array_equal(build_policy(OBSERVATIONS, ACTIONS, seed=1, init_logstd=-0.5).get_flat(), policy.get_flat())
    assert not np.array_equal(build_policy(OBSERVATIONS, ACTIONS, seed=2).get_flat(), policy.get_flat())
    kernels = [policy.actor.layers[1].kernel.numpy(), policy.critic.layers[1].kernel.numpy()]
    assert not np.array_equal(*kernels)


def test_step_answers_as_baselines_does():
    policy = build_policy(OBSERVATIONS, ACTIONS, num_hidden=8)
    actions, values, state, neglogp = policy.step(STATES, seed=3)
    assert (actions.shape, values.shape, neglogp.shape, state) == ((20, 3), (20,), (20,), None)
    expected = -stats.norm.logpdf(actions, np.asarray(policy.actor(STATES)), 1.0).sum(axis=1)
    np.testing.assert_allclose(neglogp, expected, rtol=1e-5)


def test_observations_of_several_dimensions_are_taken_flat():
    policy = build_policy(spaces.Box(-1.0, 1.0, (2, 3)), ACTIONS, num_hidden=4)
    assert policy.actor_spec().layers[0][0] == 6
    assert policy.pd_flat(policy.unflatten(tf.constant(policy.get_flat())), np.ones((5, 6), np.float32)).shape == (5, 6)


# ---- networks of one's own ------------------------------------------------------------------------------------------


def network_of(*layers):
    """A builder of the network that applies the layers that each call of the functions makes."""

    def build(**kwargs):
        def network_fn(shape):
            h = inputs = keras.Input(shape)
            for make in layers:
                h = make()(h)
            return keras.Model(inputs, h)

        return network_fn

    return build


def dense(units: int, activation=None, **kwargs):
    return lambda: keras.layers.Dense(units, activation=activation, **kwargs)


def test_chains_of_dense_layers_act_in_numpy():
    policy = build_policy(OBSERVATIONS, ACTIONS, network_of(dense(7, "relu"), dense(6, "elu")), seed=4)
    spec = policy.actor_spec()
    assert spec.layers == ((5, 7, "relu"), (7, 6, "elu"), (6, 3, "linear"))
    expected = np.asarray(policy.actor(STATES))
    np.testing.assert_allclose(Actor(spec, policy.get_flat()).params(STATES), expected, rtol=1e-6, atol=1e-7)
    again = build_policy(OBSERVATIONS, ACTIONS, network_of(dense(7, "relu"), dense(6, "elu")), seed=4)
    np.testing.assert_array_equal(again.get_flat(), policy.get_flat())


def shared():
    layer = keras.layers.Dense(5, activation="tanh")
    return lambda: layer


def branching(**kwargs):
    def network_fn(shape):
        inputs = keras.Input(shape)
        left, right = keras.layers.Dense(4)(inputs), keras.layers.Dense(4)(inputs)
        return keras.Model(inputs, keras.layers.Add()([left, right]))

    return network_fn


@pytest.mark.parametrize(
    "network",
    [
        network_of(dense(4), keras.layers.LayerNormalization),
        network_of(dense(4, "softplus")),
        network_of(dense(4, lambda x: 2.0 * x)),
        network_of(dense(4, use_bias=False)),
        network_of(dense(4, trainable=False)),
        branching,
    ],
    ids=["other layer", "other activation", "function of one's own", "no bias", "frozen", "branching"],
)
def test_networks_that_numpy_does_not_know_are_refused(network):
    with pytest.raises(ValueError, match="Rollouts run in NumPy"):
        build_policy(OBSERVATIONS, ACTIONS, network).actor_spec()


def test_a_layer_used_twice_is_refused():
    twice = shared()
    with pytest.raises(ValueError, match="Rollouts run in NumPy"):
        build_policy(OBSERVATIONS, ACTIONS, network_of(twice, twice)).actor_spec()


@pytest.mark.parametrize("begins", ["glorot_uniform", "zeros"])
def test_nor_is_it_a_chain_in_the_value_network_or_where_it_begins_at_zero(begins):
    def network(**_):
        layer = keras.layers.Dense(5, activation="tanh", kernel_initializer=begins)
        return lambda shape: keras.Sequential([keras.Input(shape), layer, layer])

    policy = build_policy(OBSERVATIONS, ACTIONS, network)
    assert not policy.in_numpy
    for layers in (policy.actor_spec, policy.critic_layers):
        with pytest.raises(ValueError, match="Rollouts run in NumPy"):
            layers()


def test_an_activation_that_only_has_the_name_is_refused():
    def tanh(x):
        return 3.0 * keras.ops.tanh(x)

    with pytest.raises(ValueError, match="Rollouts run in NumPy"):
        build_policy(OBSERVATIONS, ACTIONS, network_of(dense(4, tanh))).actor_spec()
