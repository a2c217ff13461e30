"""The layer-by-layer path against automatic differentiation, on minibatches of real environments.

The reference takes J from `tf.GradientTape.jacobian` of the mean basis functions, L from the slopes themselves, and solves by
eigenvalues; the compiled minibatch step does none of these.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from baselines_compat.runner import Runner
from wng_tf import algorithms, embeddings, parts
from wng_tf.envs import tasks
from wng_tf.natural_gradient import KernelBasis, natural_gradient, similarity
from wng_tf.policy_gradient import config as configs
from wng_tf.policy_gradient.layered import LayeredPolicy
from wng_tf.policy_gradient.learn import make_normalized, make_policy
from wng_tf.policy_gradient.learner import Learner
from wng_tf.policy_gradient.metrics import Point, ProductOperator
from wng_tf.policy_gradient.metrics.base import Layered
from wng_tf.policy_gradient.metrics.exact import FisherExact
from wng_tf.policy_gradient.metrics.identity import Identity
from wng_tf.policy_gradient.metrics.wasserstein import beside
from wng_tf.policy_gradient.steps.minibatch import at_gradient_scale

EPSILON = 1e-5


def learner_and_batch(env: str, alg: str, **given):
    """A learner and the batch that its policy, moved a little from its first weights, has met."""
    config = configs.resolve(algorithms.find(alg), tasks.resolve(env).kind, given)
    with make_normalized(env, config, 3) as venv:
        policy = make_policy(venv, "mlp", config, 3)
        learner = Learner(policy=policy, config=config, embedding=embeddings.find(config.embedding), seed=3)
        rng = np.random.default_rng(0)
        theta = policy.get_flat()
        learner.theta.assign(theta + 0.05 * rng.normal(size=theta.shape).astype(np.float32))
        runner = Runner(env=venv, model=policy, nsteps=config.nsteps, gamma=config.gamma, lam=config.lam)
        batch, _ = runner.run(learner.theta.numpy())
    return learner, batch


@functools.cache
def minibatch(env: str, alg: str = "wnpg", **given):
    """A learner and one minibatch of 64 samples."""
    learner, batch = learner_and_batch(env, alg, **{"nsteps": 64, "nminibatches": 1, "noptepochs": 1, **given})
    draws = learner.draw(1)
    rows = learner._pack(batch, draws)
    data = learner._layout.unpack(tf.constant(rows))
    point = Point([], data, tf.constant(draws.basis_samples[0]), tf.constant(draws.basis_coordinates[0]))
    return learner, point


def by_layers(learner: Learner, point: Point, epsilon: float = EPSILON):
    """Gradient and direction [P], and the solution."""
    step = learner.step
    theta = tf.convert_to_tensor(learner.theta)
    weights = learner.policy.unflatten(theta)
    run = step.layers.run(step.layers.to_layers(theta), point.data["observations"])
    with tf.GradientTape(persistent=True) as tape:
        sources = [*run.sources, run.values]
        tape.watch(sources)
        terms = step._terms(step.layers.flat(run.sources), run.values, point.data, learner.penalty.carry())
        recorded = learner.metric.record(terms.pd, terms.values, terms.log_probs, point.data)
    layered = Layered(step.layers, run, tape.gradient(terms.loss, sources, unconnected_gradients="zero"))
    point = point._replace(weights=weights, tape=tape, recorded=recorded)
    gradient, _, direction, solution, _ = step._by_layers(point, layered, (), tf.constant(epsilon), tf.constant(True))
    return step.layers.from_layers(gradient), step.layers.from_layers(direction), solution


def by_jacobian(learner: Learner, point: Point):
    """The same from `tape.jacobian`; the direction is not clipped."""
    step, metric, data, config = learner.step, learner.metric, point.data, learner.config
    weights = learner.policy.unflatten(tf.convert_to_tensor(learner.theta))
    size = learner.policy.size if metric.covers_value else learner.policy.policy_size
    covered = weights if metric.covers_value else weights[: learner.policy.num_policy_weights]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        terms = step._terms(*step._networks(weights, data), data, learner.penalty.carry())
        embedded, log_probs = metric.record(terms.pd, terms.values, terms.log_probs, data)
        width = embedded.shape[1]
        points = embedded
        if metric.embedding.beside_state:
            points = tf.concat([embedded, beside(tf.stop_gradient(embedded), data["observations"])[:, width:]], axis=1)
        basis = KernelBasis.from_indices(
            points, point.basis_samples, tf.cast(point.basis_coordinates * width, tf.int32), config.log_bandwidth
        )
        values = basis(points)
        shares = data["weights"] / tf.reduce_mean(data["weights"]) if metric.needs_trajectories else tf.ones([64])
        if metric.score:
            held = tf.stop_gradient(values)
            steps = data["mean_length"][0] if metric.needs_trajectories else 1.0
            values = steps * (held - tf.reduce_mean(held * shares, axis=1, keepdims=True)) * log_probs
        means = tf.reduce_mean(values, axis=1)
    gradient = learner.policy.flatten(tape.gradient(terms.loss, weights, unconnected_gradients="zero"))
    blocks = tape.jacobian(means, covered, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    jacobian = tf.concat([tf.reshape(block, [means.shape[0], -1]) for block in blocks], axis=1)
    slopes = basis.gradients(tf.stop_gradient(points))[..., :width] * tf.sqrt(shares)[:, tf.newaxis]
    found = natural_gradient(
        tf.cast(gradient[:size], tf.float64),
        tf.cast(jacobian, tf.float64),
        similarity(slopes),
        EPSILON,
        config.diagonal_damping,
        relative_threshold=1e-6,
    )
    direction = at_gradient_scale(found, tf.cast(gradient[:size], tf.float64), EPSILON, config.diagonal_damping)
    return gradient, tf.concat([tf.cast(direction, tf.float32), gradient[size:]], axis=0), found


def assert_same(actual, expected, cosine=1e-6, length=1e-4):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    lengths = np.linalg.norm(actual), np.linalg.norm(expected)
    assert actual @ expected / (lengths[0] * lengths[1]) >= 1.0 - cosine
    assert lengths[0] == pytest.approx(lengths[1], rel=length)


@pytest.mark.parametrize("env", ["Hopper-v5", "Walker2d-v5", "CartPole-v1"])
def test_compiled_directions_equal_those_of_the_jacobian(env):
    learner, point = minibatch(env, max_grad_norm=0.0)
    compiled = tf.function(lambda: by_layers(learner, point), jit_compile=True, autograph=False)
    gradient, direction, solution = compiled()
    expected_gradient, expected, reference = by_jacobian(learner, point)
    size = learner.policy.policy_size
    assert_same(gradient, expected_gradient)
    assert_same(direction[:size], expected[:size])
    assert_same(direction, expected)
    assert float(solution.cosine) < 0.99
    assert int(solution.rank) == int(reference.rank) == 5
    assert float(solution.residual) < 1e-5
    assert float(solution.condition_number) == pytest.approx(float(reference.condition_number), rel=1e-3)


@pytest.mark.parametrize(
    ("env", "given"),
    [
        ("Hopper-v5", {"embedding": "actions_value"}),
        ("Hopper-v5", {"embedding": "state_actions", "num_actions": 1}),
        ("Hopper-v5", {"jacobian": "score"}),
        ("Hopper-v5", {"diagonal_damping": False, "epsilon": 1e-2}),
        ("Hopper-v5", {"num_basis": 20, "num_actions": 3}),
        ("Hopper-v5", {"num_layers": 3, "num_hidden": 8, "activation": "elu"}),
        ("Hopper-v5", {"num_layers": 1, "num_hidden": 8, "activation": "relu", "num_basis": 2}),
        ("CartPole-v1", {"embedding": "reward_to_go", "embedding_length": 4}),
        ("CartPole-v1", {"embedding": "mean_state", "num_basis": 1}),
    ],
)
def test_every_kind_of_embedding_and_of_network(env, given):
    learner, point = minibatch(env, max_grad_norm=0.0, **given)
    gradient, direction, _ = by_layers(learner, point)
    expected_gradient, expected, _ = by_jacobian(learner, point)
    assert_same(gradient, expected_gradient)
    assert_same(direction, expected)


def test_directions_are_clipped_to_the_norm_asked_for():
    learner, point = minibatch("Hopper-v5", max_grad_norm=0.01)
    free, _ = minibatch("Hopper-v5", max_grad_norm=0.0)
    clipped, unclipped = by_layers(learner, point)[1].numpy(), by_layers(free, point)[1].numpy()
    assert np.linalg.norm(clipped) == pytest.approx(0.01, rel=1e-5)
    assert np.linalg.norm(unclipped) > 0.02
    np.testing.assert_allclose(clipped, unclipped * 0.01 / np.linalg.norm(unclipped), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("env", ["Hopper-v5", "CartPole-v1"])
@pytest.mark.parametrize("metric", ["fisher_exact", "wasserstein_exact"])
def test_products_with_the_exact_metrics(env, metric):
    """Against one forward-mode and one reverse pass over the whole policy."""
    learner, point = minibatch(env, metric=metric)
    weights = learner.policy.unflatten(tf.convert_to_tensor(learner.theta))
    reference, _ = learner.metric.operator(point._replace(weights=weights[: learner.policy.num_policy_weights]), ())
    layers = learner.step.layers
    run = layers.run(layers.to_layers(tf.convert_to_tensor(learner.theta)), point.data["observations"])
    zeros = [tf.zeros_like(x) for x in (*run.sources, run.values)]
    operator, _ = learner.metric.operator(point._replace(layered=Layered(layers, run, zeros)), ())
    vector = np.random.default_rng(1).normal(size=learner.policy.policy_size).astype(np.float32)
    padded = tf.concat([vector, tf.zeros([learner.policy.size - vector.size])], axis=0)
    found = operator.products()(layers.to_layers(padded)[: vector.size])
    found = layers.from_layers(tf.concat([found, padded[vector.size :]], axis=0))[: vector.size]
    expected = reference.products()(tf.constant(vector))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * float(tf.norm(expected)))


@pytest.mark.parametrize("iterations", [1, 4])
@pytest.mark.parametrize("env", ["Hopper-v5", "CartPole-v1"])
@pytest.mark.parametrize("metric", ["fisher_exact", "wasserstein_exact"])
def test_directions_of_the_exact_metrics(env, metric, iterations):
    """Against as many conjugate gradients on the reference's whole products: the last one here is half a product."""
    given = {"damping": "fixed", "epsilon": 0.1, "cg_iters": iterations, "max_grad_norm": 0.0}
    learner, point = minibatch(env, metric=metric, **given)
    compiled = tf.function(lambda: by_layers(learner, point, 0.1), jit_compile=True, autograph=False)
    gradient, direction, solution = compiled()
    step, weights = learner.step, learner.policy.unflatten(tf.convert_to_tensor(learner.theta))
    expected, reference, _ = step.precondition(gradient, point._replace(weights=weights), (), tf.constant(0.1))
    assert_same(direction, expected)
    assert int(solution.iterations) == int(reference.iterations) == iterations
    for name in ("slope", "cosine", "condition_number", "residual"):
        assert float(getattr(solution, name)) == pytest.approx(float(getattr(reference, name)), rel=1e-3), name


def test_layer_order_is_a_permutation():
    learner, _ = minibatch("Hopper-v5", max_grad_norm=0.0)
    layers = LayeredPolicy(learner.policy)
    vector = tf.range(learner.policy.size)
    there = layers.to_layers(vector).numpy()
    assert sorted(there) == list(range(learner.policy.size)) and not np.array_equal(there, vector)
    np.testing.assert_array_equal(layers.from_layers(layers.to_layers(vector)), vector)
    # The first layer's matrix [units, inputs + 1] begins with the weights of the first unit, then its bias.
    np.testing.assert_array_equal(there[:12], [*(64 * np.arange(11)), 11 * 64])


@pytest.mark.parametrize(
    ("alg", "given"),
    [
        ("wnpg", {"recompute_advantages": True, "optimizer": "momentum"}),
        ("trpo", {"cg_warm_start": True, "natural_steps": 2, "metric_stride": 2}),
        # Compiling each twice takes seconds.
        pytest.param("wnpg", {}, marks=pytest.mark.slow),
        pytest.param("bg_wnpg", {"embedding": "actions_value", "target_kl": 1.0}, marks=pytest.mark.slow),
        pytest.param("npg", {}, marks=pytest.mark.slow),
        pytest.param("wtrpo", {}, marks=pytest.mark.slow),
    ],
)
def test_updates_by_layers_are_those_over_the_weights(alg, given):
    """θ, and what the optimizer keeps of each of its numbers, after two updates."""
    given = {"nsteps": 128, "nminibatches": 2, **given}
    if alg in ("wnpg", "bg_wnpg", "npg"):
        given |= {"noptepochs": 2, "damping": "fixed", "epsilon": 0.1}
    learner, batch = learner_and_batch("Hopper-v5", alg, **given)
    before, found = learner.state(), []
    assert learner.step.layers is not None
    for layers in (learner.step.layers, None):
        learner.step.layers, learner._compiled = layers, None
        learner.restore(before)
        for number in (1, 2):
            learner.update(batch, number, 1e-3)
        found.append([learner.theta.numpy(), *(np.asarray(x) for x in learner.optimizer.variables[2:])])
    start = before["theta"]
    assert np.linalg.norm(found[1][0] - start) > 1e-3
    assert_same(found[0][0] - start, found[1][0] - start, cosine=1e-4, length=1e-3)
    for ours, reference in zip(found[0][1:], found[1][1:], strict=True):
        assert_same(ours, reference, cosine=1e-4, length=1e-3)


class Products(FisherExact):
    """One of a user's own: products by layers alone, without the loss's gradient."""

    def operator(self, point, state):
        assert point.layered is not None
        operator, state = super().operator(point, state)
        return ProductOperator(operator.products()), state


class Trivial(Identity):
    """Takes layers, and makes nothing of them."""

    takes_layers = True


@pytest.mark.parametrize(
    ("alg", "own", "metric"),
    [
        ("npg", Products, "fisher_exact"),
        ("trpo", Products, "fisher_exact"),
        ("pg", Trivial, "identity"),
        ("trpo", Trivial, "identity"),
    ],
)
def test_metrics_of_ones_own_that_take_layers(alg, own, metric, fresh_learner, batch_of):
    parts.METRICS.register("own", own)
    try:
        found = []
        for name in ("own", metric):
            learner = fresh_learner(alg, metric=name)
            report = learner.update(batch_of(learner), 1, 1e-3, fused=False)
            found.append((learner.theta.numpy(), report.keys()))
    finally:
        parts.METRICS.remove("own")
    assert found[0][1] == found[1][1]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-3, atol=1e-5)
