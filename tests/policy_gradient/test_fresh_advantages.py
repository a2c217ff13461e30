"""Advantages computed anew at every epoch: equal to the rollout's function, and to a loop written out."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines_compat.runner import gae
from wng_tf import algorithms
from wng_tf.policy_gradient.config import resolve
from wng_tf.policy_gradient.steps.fresh_advantages import discounted_sums, fresh_advantages
from wng_tf.training.settings import has_effect


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 37), st.integers(1, 3), st.integers(0, 10_000))
def test_sums_by_doubling_are_the_recursion(length, worlds, seed):
    rng = np.random.default_rng(seed)
    terms = rng.standard_normal((length, worlds)).astype(np.float32)
    carry = (0.95 * (rng.random((length, worlds)) > 0.2)).astype(np.float32)
    expected, running = np.empty((length, worlds)), np.zeros(worlds)
    for t in range(length - 1, -1, -1):
        running = terms[t] + carry[t] * running
        expected[t] = running
    found = discounted_sums(tf.constant(terms), tf.constant(carry))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def random_batch(learner, num_env: int, batch_of):
    """A batch of `num_env` environments with ends of both kinds in it."""
    batch = batch_of(learner)
    rng = np.random.default_rng(5)
    rows = len(batch.rewards)
    truncated, terminated = rng.random(rows) < 0.1, rng.random(rows) < 0.1
    return batch._replace(
        rewards=rng.standard_normal(rows).astype(np.float32),
        terminated=terminated,
        truncated=truncated & ~terminated,
        final_observations=rng.standard_normal(batch.observations.shape).astype(np.float32),
        nsteps=rows // num_env,
    )


def by_runner(learner, batch, gamma, lam):
    """Advantages, returns and values by `gae` in float64, environment by environment."""
    weights = [tf.convert_to_tensor(x) for x in learner.policy.unflatten(learner.theta.numpy())]
    value = lambda x: learner.policy.value(weights, tf.constant(x)).numpy()  # noqa: E731
    values, finals = value(batch.observations), value(batch.final_observations)
    columns = []
    for start in range(0, len(values), batch.nsteps):
        part = slice(start, start + batch.nsteps)
        ends = batch.terminated[part] | batch.truncated[part]
        ends[-1] = True
        following = np.where(ends, finals[part], np.append(values[part][1:], 0.0))
        rows = (batch.rewards[part], values[part], following, batch.terminated[part], batch.truncated[part])
        columns.append(np.stack([*gae(*rows, gamma, lam), values[part]], axis=1))
    return np.concatenate(columns)


@pytest.mark.parametrize("num_env", [1, 4])
def test_fresh_advantages_are_those_of_a_rollout(num_env, fresh_learner, batch_of):
    learner = fresh_learner("ppo", recompute_advantages=True)
    batch = random_batch(learner, num_env, batch_of)
    columns = {"observations": batch.observations, **learner.step.prepare(batch)}
    data = {name: tf.constant(np.asarray(x, np.float32)) for name, x in columns.items()}
    found = fresh_advantages(learner.policy, tf.convert_to_tensor(learner.theta), data, batch.nsteps, 0.97, 0.9)
    np.testing.assert_allclose(found, by_runner(learner, batch, 0.97, 0.9), rtol=1e-4, atol=1e-5)


def test_the_update_takes_them_from_the_second_epoch_on(fresh_learner, batch_of):
    """One epoch is the same either way; two are two updates of one epoch each, the second with what a rollout would give."""
    kept, fresh = (fresh_learner("ppo", noptepochs=1, recompute_advantages=x) for x in (False, True))
    batch = random_batch(kept, 1, batch_of)
    for learner in (kept, fresh):
        learner.update(batch, 1, 1e-2, fused=False)
    np.testing.assert_array_equal(kept.theta.numpy(), fresh.theta.numpy())

    twice, once = fresh_learner("ppo", noptepochs=2, recompute_advantages=True), fresh_learner("ppo", noptepochs=1)
    order = twice.draw(1).order
    twice.update(batch, 1, 1e-2, fused=False)
    count = once.config.nminibatches
    nothing = np.zeros((count, 0), np.int32), np.zeros((count, 0), np.float32)
    for epoch in range(2):
        advantages, returns, values = by_runner(once, batch, once.config.gamma, once.config.lam).T.astype(np.float32)
        again = batch if epoch == 0 else batch._replace(advantages=advantages, returns=returns, values=values)
        once.step.draw = lambda rng, part=order[epoch * count : (epoch + 1) * count]: (part, *nothing)
        once.update(again, 1, 1e-2, fused=False)
    np.testing.assert_allclose(twice.theta.numpy(), once.theta.numpy(), rtol=1e-4, atol=1e-6)
    assert np.abs(twice.theta.numpy() - kept.theta.numpy()).max() > 1e-3


def test_compiled_is_eager(fresh_learner, batch_of):
    thetas = []
    for fused in (True, False):
        learner = fresh_learner("bg_wnpg", recompute_advantages=True)
        learner.update(random_batch(learner, 2, batch_of)._replace(nsteps=64), 1, 1e-2, fused=fused)
        thetas.append(learner.theta.numpy())
    np.testing.assert_allclose(*thetas, rtol=1e-3, atol=1e-4)


def test_a_trust_region_has_no_epochs():
    effects = [has_effect(resolve(algorithms.find(alg), "mujoco", {}), "recompute_advantages") for alg in ("trpo", "ppo")]
    assert effects == [False, True]
