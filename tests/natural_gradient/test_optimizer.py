"""The object for training loops of one's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from wng_tf.natural_gradient import (
    KernelBasis,
    WassersteinNaturalGradient,
    flatten,
    natural_gradient,
    reparameterised_jacobian,
    similarity,
)

RNG = np.random.default_rng(0)
INPUTS = tf.constant(RNG.normal(size=(32, 3)), tf.float32)
TARGETS = tf.constant(RNG.normal(size=(32, 2)), tf.float32)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(2)])
    network(INPUTS)
    return network


def record(network):
    with tf.GradientTape(persistent=True) as tape:
        embeddings = network(INPUTS)
        loss = tf.reduce_mean(tf.square(embeddings - TARGETS))
    return tape, loss, embeddings


def test_is_the_functions_put_together(model):
    wng = WassersteinNaturalGradient(4, epsilon=1e-2, seed=3)
    tape, loss, embeddings = record(model)
    gradients, diagnostics = wng(tape, loss, embeddings, model.trainable_variables)
    for gradient, variable in zip(gradients, model.trainable_variables, strict=True):
        assert gradient.shape == variable.shape
    np.testing.assert_array_equal(flatten(gradients), diagnostics.direction)

    basis_seed = tf.random.experimental.stateless_fold_in(tf.constant([3, 0]), 1, alg="philox")
    basis = KernelBasis.sample(embeddings, 4, seed=basis_seed)
    slopes = basis.gradients(embeddings)
    jacobian = reparameterised_jacobian(tape, embeddings, slopes, model.trainable_variables)
    gradient = flatten(tape.gradient(loss, model.trainable_variables))
    expected = natural_gradient(gradient, jacobian, similarity(slopes), 1e-2)
    np.testing.assert_allclose(diagnostics.direction, expected.direction, rtol=1e-6)


def test_trains_compiled_with_adaptive_damping(model):
    wng, optimizer = WassersteinNaturalGradient(4, epsilon=1e-1), keras.optimizers.SGD(0.05)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def step():
        tape, loss, embeddings = record(model)
        gradients, diagnostics = wng(tape, loss, embeddings, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        new_loss = tf.reduce_mean(tf.square(model(INPUTS) - TARGETS))
        ratio = wng.update_damping(loss, new_loss, 0.05 * diagnostics.slope)
        return loss, ratio, diagnostics.finite

    losses, ratios, finite = np.transpose([[float(value) for value in step()] for _ in range(30)])
    assert losses[-1] < 0.8 * losses[0] and np.all(finite == 1.0)
    assert np.all(np.isfinite(ratios)) and wng.epsilon != np.float32(1e-1)


def test_score_form_and_further_axes(model):
    """Embeddings [N, 4, 2] through which no gradient passes, with the log-probabilities of their samples."""
    noise = tf.constant(RNG.normal(size=(32, 2)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        mean = model(INPUTS)
        taken = tf.stop_gradient(mean + noise)
        log_probs = -0.5 * tf.reduce_sum(tf.square(taken - mean), axis=1)
        loss = tf.reduce_mean(log_probs)
    embeddings = tf.reshape(tf.concat([taken, taken**2, taken**3, taken**4], 1), [32, 4, 2])
    wng = WassersteinNaturalGradient(4, epsilon=1e-2)
    gradients, diagnostics = wng(tape, loss, embeddings, model.trainable_variables, log_probs=log_probs)
    assert bool(diagnostics.finite) and diagnostics.rank == 4 and diagnostics.cosine < 1.0
    # The same where the gradient passes: one more axis changes nothing.
    with tf.GradientTape(persistent=True) as tape:
        flat = model(INPUTS)
        shaped = tf.reshape(flat, [32, 1, 2])
        loss = tf.reduce_sum(flat)
    directions = [
        WassersteinNaturalGradient(4, epsilon=1e-2)(tape, loss, x, model.trainable_variables)[1].direction
        for x in (flat, shaped)
    ]
    np.testing.assert_allclose(directions[0], directions[1], rtol=1e-4)


def test_max_norm_shortens_the_step(model):
    tape, loss, embeddings = record(model)
    free, diagnostics = WassersteinNaturalGradient(4, epsilon=1e-3)(tape, loss, embeddings, model.trainable_variables)
    short, _ = WassersteinNaturalGradient(4, epsilon=1e-3, max_norm=0.5)(tape, loss, embeddings, model.trainable_variables)
    norm = tf.norm(flatten(free))
    assert norm > 0.5
    np.testing.assert_allclose(flatten(short), flatten(free) * 0.5 / norm, rtol=1e-5)


def test_each_call_draws_its_own_basis_and_seeds_repeat(model):
    tape, loss, embeddings = record(model)
    first, second = WassersteinNaturalGradient(4, seed=1), WassersteinNaturalGradient(4, seed=1)
    runs = [
        [wng(tape, loss, embeddings, model.trainable_variables)[1].direction.numpy() for _ in range(2)]
        for wng in (first, second)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])


def test_state_is_saved_with_a_checkpoint(model, tmp_path):
    tape, loss, embeddings = record(model)
    wng = WassersteinNaturalGradient(4)
    for _ in range(5):
        wng.update_damping(1.0, 2.0, tf.constant(1.0))
        wng(tape, loss, embeddings, model.trainable_variables)
    path = tf.train.Checkpoint(wng=wng).save(str(tmp_path / "state"))
    restored = WassersteinNaturalGradient(4)
    tf.train.Checkpoint(wng=restored).restore(path).assert_consumed()
    assert restored.epsilon == wng.epsilon != WassersteinNaturalGradient(4).epsilon
    directions = [x(tape, loss, embeddings, model.trainable_variables)[1].direction for x in (wng, restored)]
    np.testing.assert_array_equal(*directions)


# ---- variables without influence ------------------------------------------------------------------------------------


def of_eager(function):
    return function


def of_graph(function):
    return tf.function(function)


def of_xla(function):
    return tf.function(function, jit_compile=True)


MODES = [of_eager, of_graph, of_xla]


def actor_and_critic():
    keras.utils.set_random_seed(0)
    actor, critic = (keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]) for _ in range(2))
    return actor, critic, [*actor.trainable_variables, *critic.trainable_variables, tf.Variable([1.0, 2.0])]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("score", [False, True])
def test_variables_that_the_embeddings_do_not_depend_on_keep_their_gradient(mode, score):
    """Where J is zero, g_W is g / ε. The last variable nothing depends on."""
    actor, critic, variables = actor_and_critic()
    wng = WassersteinNaturalGradient(3, epsilon=1e-2)

    def gradients():
        with tf.GradientTape(persistent=True) as tape:
            embeddings = actor(INPUTS)
            log_probs = -tf.reduce_sum(tf.square(embeddings - TARGETS), axis=1)
            loss = tf.reduce_mean(tf.square(embeddings)) + tf.reduce_mean(tf.square(critic(INPUTS)))
        natural, _ = wng(tape, loss, embeddings, variables, log_probs=log_probs if score else None)
        return natural, tape.gradient(loss, critic.trainable_variables)

    natural, plain = mode(gradients)()
    assert [tuple(g.shape) for g in natural] == [tuple(v.shape) for v in variables]
    assert any(np.abs(g).max() > 0.0 for g in natural[:2])
    for one, other in zip(natural[2:4], plain, strict=True):
        np.testing.assert_allclose(one, other / 1e-2, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(natural[4], [0.0, 0.0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["loss", "embeddings", "log_probs"])
def test_what_was_computed_outside_of_the_tape_is_named(mode, name):
    actor, _, variables = actor_and_critic()
    wng = WassersteinNaturalGradient(3, epsilon=1e-2)

    def gradients():
        with tf.GradientTape(persistent=True) as tape:
            recorded = {"embeddings": actor(INPUTS)}
            recorded["log_probs"] = -tf.reduce_sum(tf.square(recorded["embeddings"]), axis=1)
            recorded["loss"] = tf.reduce_mean(recorded["log_probs"])
        recorded[name] = tf.identity(recorded[name])
        given = recorded if name == "log_probs" else {**recorded, "log_probs": None}
        return wng(tape, given["loss"], given["embeddings"], variables, log_probs=given["log_probs"])[0]

    with pytest.raises(ValueError, match=f"`{name}` was computed outside of the tape"):
        mode(gradients)()
