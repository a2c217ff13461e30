"""Eigenvalues against dense Hessians and closed forms; the loss of a run against the learner's own."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tensorflow as tf

from tests.plots.synthetic_runs import write_run
from wng_tf.errors import UserError
from wng_tf.experiments.figure3 import final_loss, write_figure
from wng_tf.experiments.hessian import Spectrum, hessian_vector_product, largest_eigenvalues
from wng_tf.plots.runs import load_run
from wng_tf.policy_gradient import objectives
from wng_tf.policy_gradient.learn import learn


def rotation(size: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]


def network_loss(theta: tf.Tensor) -> tf.Tensor:
    """A small regression network, not convex: 4 -> 6 -> 1 with tanh, 37 parameters."""
    x = tf.constant(np.random.default_rng(1).normal(size=(20, 4)), theta.dtype)
    hidden = tf.tanh(x @ tf.reshape(theta[:24], [4, 6]) + theta[24:30])
    return tf.reduce_mean(tf.square(tf.linalg.matvec(hidden, theta[30:36]) + theta[36] - tf.sin(x[:, 0])))


def dense_hessian(loss, theta: np.ndarray) -> np.ndarray:
    at = tf.constant(theta)
    with tf.GradientTape() as outer:
        outer.watch(at)
        with tf.GradientTape() as inner:
            inner.watch(at)
            value = loss(at)
        gradient = inner.gradient(value, at)
    return outer.jacobian(gradient, at).numpy()


def theta_of(size: int = 37) -> np.ndarray:
    return np.random.default_rng(2).normal(size=size)


def test_products_against_the_dense_hessian():
    theta, vector = theta_of(), np.random.default_rng(3).normal(size=37)
    found = hessian_vector_product(network_loss)(tf.constant(theta), tf.constant(vector))
    assert np.allclose(found, dense_hessian(network_loss, theta) @ vector, atol=1e-10)


@pytest.mark.parametrize("count", [1, 5, 36, 37, 50])
def test_eigenvalues_against_the_dense_hessian(count):
    theta = theta_of()
    expected = np.linalg.eigvalsh(dense_hessian(network_loss, theta))
    expected = expected[np.argsort(-np.abs(expected))][:count]
    found = largest_eigenvalues(network_loss, theta, count, tolerance=1e-10)
    assert np.allclose(found.eigenvalues, expected, atol=1e-8)
    assert np.all(found.residuals < 1e-6)
    assert np.allclose(found.ratios, np.abs(expected[0] / expected))


def test_a_quadratic_gives_its_matrix_back():
    """Signs are kept, order is by magnitude, and it takes far fewer products than there are parameters."""
    values = np.concatenate([[-40.0, 30.0, 20.0, -10.0], np.linspace(0.0, 1.0, 396)])
    matrix = rotation(400) @ np.diag(values) @ rotation(400).T
    found = largest_eigenvalues(lambda t: 0.5 * tf.tensordot(t, tf.linalg.matvec(matrix, t), 1), np.zeros(400), 4)
    assert np.allclose(found.eigenvalues, [-40.0, 30.0, 20.0, -10.0], atol=1e-3)
    assert np.allclose(found.ratios, [1.0, 4 / 3, 2.0, 4.0], atol=1e-3)
    assert found.products < 80


def test_single_precision_is_enough():
    theta = theta_of()
    expected = largest_eigenvalues(network_loss, theta, 8).eigenvalues
    found = largest_eigenvalues(network_loss, theta.astype(np.float32), 8)
    assert np.allclose(found.eigenvalues, expected, rtol=1e-3, atol=1e-4 * expected[0])


def test_the_start_does_not_matter():
    first, second = (largest_eigenvalues(network_loss, theta_of(), 5, seed=seed) for seed in (0, 1))
    assert np.allclose(first.eigenvalues, second.eigenvalues, rtol=1e-3)


@pytest.mark.parametrize(
    ("loss", "count", "message"),
    [
        (lambda t: tf.reduce_sum(t), 3, "The Hessian is zero"),
        (lambda t: tf.reduce_sum(tf.sqrt(t)), 3, "not finite"),
        (network_loss, 0, "At least one"),
    ],
)
def test_losses_without_a_spectrum(loss, count, message):
    with pytest.raises(ValueError, match=message):
        largest_eigenvalues(loss, np.zeros(37), count)


ENV, NSTEPS = "InvertedPendulum-v5", 64


def test_the_loss_is_that_of_the_next_update(tmp_path):
    """The checkpoint of the first update knows the batch and the parameters that the second one began with."""
    captured = {}

    def keep(local):
        captured[local["number"]] = (local["batch"], local["learner"].policy, local["learner"].theta.numpy())

    learn(env=ENV, alg="ppo", seed=3, total_timesteps=2 * NSTEPS, log_path=str(tmp_path / "run"), callback=keep,
          nsteps=NSTEPS, nminibatches=2, noptepochs=1, num_hidden=8, lr="1e-2", ent_coef=0.01,
          save_interval=1)  # fmt: skip
    batch, policy, _ = captured[2]
    theta = captured[1][2]
    run = load_run(tmp_path / "run")
    loss, parameters = final_loss(run, which=NSTEPS)
    assert np.array_equal(parameters, theta)

    def expected(at: np.ndarray) -> float:
        weights = policy.unflatten(tf.constant(at))
        pd = policy.pd(weights, batch.observations)
        advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
        surrogate = -np.mean(np.exp(pd.logp(batch.actions).numpy() - batch.log_probs) * advantages)
        fit = 0.5 * np.mean((policy.value(weights, batch.observations).numpy() - batch.returns) ** 2)
        return surrogate + 0.5 * fit - 0.01 * np.mean(pd.entropy())

    moved = theta + 0.05 * np.random.default_rng(0).normal(size=theta.shape).astype(np.float32)
    for at in (theta, moved):
        assert float(loss(tf.constant(at))) == pytest.approx(expected(at), abs=1e-5)

    alone, policy_parameters = final_loss(run, loss="policy", which=NSTEPS)
    assert np.array_equal(policy_parameters, theta[: policy.policy_size])
    at = moved[: policy.policy_size]
    pd = policy.pd(policy.unflatten(tf.constant(np.concatenate([at, theta[policy.policy_size :]]))), batch.observations)
    ratio = objectives.importance_ratio(pd.logp(batch.actions), batch.log_probs)
    surrogate = objectives.importance_surrogate(ratio, objectives.normalized(tf.constant(batch.advantages)))
    wanted = surrogate - 0.01 * tf.reduce_mean(pd.entropy())
    assert float(alone(tf.constant(at))) == pytest.approx(float(wanted), abs=1e-5)

    found = largest_eigenvalues(loss, parameters, 6)
    dense = np.linalg.eigvalsh(dense_hessian(loss, parameters))
    assert np.allclose(np.abs(found.eigenvalues), np.sort(np.abs(dense))[::-1][:6], rtol=1e-2)
    latest = final_loss(run, nsteps=16)[1]
    assert np.array_equal(latest, captured[2][2])


def test_figure_and_table(tmp_path):
    runs = []
    for alg, env in (("ppo", "Hopper-v5"), ("ppo", "Walker2d"), ("wnpg", "Walker2d")):
        folder = write_run(tmp_path / alg / env, alg=alg, env=env, seed=0, returns=np.ones(3))
        runs.append((load_run(folder), Spectrum(np.array([8.0, -4.0, 1.0]), np.full(3, 1e-6), 20)))
    paths = write_figure(runs, tmp_path / "out")
    assert sorted(path.name for path in paths) == ["eigenvalues.csv", "figure3.png", "figure3.svg"]
    with open(tmp_path / "out" / "eigenvalues.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["i"], row["eigenvalue"], row["ratio"]) for row in rows[:3]] == [
        ("1", "8", "1"), ("2", "-4", "2"), ("3", "1", "8")
    ]  # fmt: skip
    assert len(rows) == 9


def test_evolution_strategies_have_no_such_loss(tmp_path):
    run = load_run(write_run(tmp_path / "a", alg="wnes", env="Point", seed=0, returns=np.ones(3)))
    with pytest.raises(UserError, match="is a run of an evolution strategy: name one of a policy gradient"):
        final_loss(run)
