"""Batches and advantages: naive loops over the printed equations, and closed forms."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from toy_envs import ConstantReward, Drifting, Scripted

from baselines_compat.policies import build_policy
from baselines_compat.runner import Runner, gae
from baselines_compat.vec_env import DummyVecEnv, NonFiniteError, VecNormalize

GAMMA, LAM = 0.9, 0.8


def naive_gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """A_t = Σ_l (γλ)^l δ_{t+l} to the episode's end, δ = r + γ V(next) - V (Schulman et al. 2016, Eq. 16)."""
    advantages = np.zeros(len(rewards))
    for t in range(len(rewards)):
        for k in range(t, len(rewards)):
            following = 0.0 if terminated[k] else next_values[k]
            advantages[t] += (gamma * lam) ** (k - t) * (rewards[k] + gamma * following - values[k])
            if terminated[k] or truncated[k]:
                break
    return advantages


def random_batch(rng, shape):
    rewards, values, next_values = rng.normal(size=(3, *shape))
    terminated, truncated = rng.random((2, *shape)) < 0.15
    return rewards, values, next_values, terminated, truncated


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
def test_gae_is_the_sum_of_its_definition(gamma, lam):
    arrays = random_batch(np.random.default_rng(0), (40, 3))
    advantages, returns = gae(*arrays, gamma, lam)
    expected = np.stack([naive_gae(*(a[:, e] for a in arrays), gamma, lam) for e in range(3)], axis=1)
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(returns, expected + arrays[1], rtol=1e-5, atol=1e-6)
    assert advantages.dtype == returns.dtype == np.float32
    single = gae(*(a[:, 0] for a in arrays), gamma, lam)
    np.testing.assert_array_equal(single[0], advantages[:, 0])


def test_with_lambda_one_returns_are_discounted_rewards_and_a_bootstrap():
    rewards, values = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0, 30.0, 40.0])
    next_values = np.array([20.0, 7.0, 40.0, 50.0])
    truncated, terminated = np.array([False, True, False, False]), np.zeros(4, bool)
    _, returns = gae(rewards, values, next_values, terminated, truncated, 0.5, 1.0)
    np.testing.assert_allclose(returns, [1 + 0.5 * 2 + 0.25 * 7, 2 + 0.5 * 7, 3 + 0.5 * 4 + 0.25 * 50, 4 + 0.5 * 50])
    _, returns = gae(rewards, values, next_values, truncated, truncated, 0.5, 1.0)
    np.testing.assert_allclose(returns[:2], [1 + 0.5 * 2, 2.0])


def test_gae_agrees_with_stable_baselines3():
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    torch = pytest.importorskip("torch")
    spaces = pytest.importorskip("gymnasium").spaces
    rng = np.random.default_rng(1)
    rewards, values = rng.normal(size=(2, 50, 2))
    ended = rng.random((50, 2)) < 0.1
    last = rng.normal(size=2)
    box = spaces.Box(-1.0, 1.0, (1,))
    buffer = buffers.RolloutBuffer(50, box, box, gae_lambda=LAM, gamma=GAMMA, n_envs=2)
    starts = np.ones((51, 2))
    starts[1:] = ended
    for t in range(50):
        one = np.zeros((2, 1))
        buffer.add(one, one, rewards[t], starts[t], torch.tensor(values[t]), torch.zeros(2))
    buffer.compute_returns_and_advantage(torch.tensor(last), starts[50])
    following = np.concatenate([values[1:], last[np.newaxis]])
    advantages, returns = gae(rewards, values, following, ended, np.zeros_like(ended), GAMMA, LAM)
    np.testing.assert_allclose(advantages, buffer.advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(returns, buffer.returns, rtol=1e-4, atol=1e-5)


# ---- the runner -----------------------------------------------------------------------------------------------------


def runner_of(env_fns, nsteps, *, normalized=False, theta=None, seed=0):
    venv = VecNormalize(DummyVecEnv(env_fns, seed), ob=normalized, ret=normalized, gamma=GAMMA)
    policy = build_policy(venv.observation_space, venv.action_space, num_hidden=4, seed=seed)
    return policy, Runner(env=venv, model=policy, nsteps=nsteps, gamma=GAMMA, lam=LAM)


def with_constant_value(policy, value: float) -> np.ndarray:
    """θ whose value network says `value` everywhere."""
    theta = policy.get_flat()
    theta[-5:-1] = 0.0
    theta[-1] = value
    return theta


def test_a_time_limit_does_not_shorten_the_future():
    """Reward 1 for ever is worth V = 1/(1 - γ): with that V every return is V, whenever the time limit strikes."""
    value = 1.0 / (1.0 - GAMMA)
    policy, runner = runner_of([functools.partial(ConstantReward, 7)], 20)
    batch, _ = runner.run(with_constant_value(policy, value))
    assert batch.truncated.sum() == 2
    np.testing.assert_allclose(batch.returns, value, rtol=1e-6)
    np.testing.assert_allclose(batch.advantages, 0.0, atol=1e-5)


def test_a_terminal_state_does():
    policy, runner = runner_of([functools.partial(ConstantReward, 7, terminal=True)], 14)
    batch, _ = runner.run(with_constant_value(policy, 0.0))
    left = 7 - np.arange(14) % 7
    np.testing.assert_allclose(batch.returns, (1.0 - (GAMMA * LAM) ** left) / (1.0 - GAMMA * LAM), rtol=1e-5)


def test_rewards_in_the_batch_are_not_touched_by_the_bootstrap():
    policy, runner = runner_of([functools.partial(ConstantReward, 7)], 20)
    batch, _ = runner.run(with_constant_value(policy, 10.0))
    np.testing.assert_array_equal(batch.rewards, 1.0)
    np.testing.assert_array_equal(batch.raw_rewards, 1.0)


@pytest.fixture(scope="module")
def collected():
    policy, runner = runner_of([functools.partial(Drifting, 7), functools.partial(Drifting, 9)], 20, normalized=True)
    theta = np.random.default_rng(0).normal(scale=0.5, size=policy.size).astype(np.float32)
    policy.set_flat(theta)
    batches = [runner.run(theta) for _ in range(2)]
    return policy, batches


def test_rows_are_environment_by_environment(collected):
    _, batches = collected
    batch, episodes = batches[0]
    ends = [np.flatnonzero(batch.truncated[:20]), np.flatnonzero(batch.truncated[20:])]
    np.testing.assert_array_equal(ends[0], [6, 13])
    np.testing.assert_array_equal(ends[1], [8, 17])
    assert [[e.l for e in one] for one in episodes] == [[7, 7], [9, 9]]
    returns = [batch.raw_rewards[:7].sum(), batch.raw_rewards[20:29].sum()]
    np.testing.assert_allclose([one[0].r for one in episodes], returns, rtol=1e-9)
    assert batch.nsteps == 20
    assert all(len(array) == 40 for array in batch[:-1])


def test_values_log_probabilities_and_distributions_are_those_of_the_policy_that_acted(collected):
    policy, batches = collected
    batch, _ = batches[0]
    mean, std = np.asarray(policy.actor(batch.observations)), np.exp(policy.logstd.numpy())
    np.testing.assert_allclose(batch.values, np.asarray(policy.critic(batch.observations))[:, 0], rtol=1e-5, atol=1e-6)
    expected = stats.norm.logpdf(batch.actions, mean, std).sum(axis=1)
    np.testing.assert_allclose(batch.log_probs, expected, rtol=1e-4)
    np.testing.assert_allclose(batch.pd_flat[:, :3], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch.pd_flat[:, 3:], np.tile(np.log(std), (40, 1)), atol=1e-6)
    noise = (batch.actions - mean) / std
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.001


def test_advantages_are_those_of_each_environment_alone(collected):
    policy, batches = collected
    for batch, _ in batches:
        for rows in (slice(0, 20), slice(20, 40)):
            values, final = (
                batch.values[rows],
                np.asarray(policy.critic(batch.final_observations[rows]))[:, 0],
            )
            ends = batch.truncated[rows] | batch.terminated[rows]
            ends[-1] = True
            following = np.where(ends, final, np.append(values[1:], np.nan))
            flags = batch.terminated[rows], batch.truncated[rows]
            expected = naive_gae(batch.rewards[rows], values, following, *flags, GAMMA, LAM)
            np.testing.assert_allclose(batch.advantages[rows], expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(batch.returns[rows], expected + values, rtol=1e-4, atol=1e-5)


def test_a_batch_outlives_the_next_one(collected):
    _, batches = collected
    first, second = batches[0][0], batches[1][0]
    assert not np.array_equal(first.observations, second.observations)
    assert not any(np.shares_memory(a, b) for a, b in zip(first[:-1], second[:-1], strict=True))


def test_the_final_step_of_a_segment_bootstraps_where_the_next_segment_begins():
    policy, runner = runner_of([functools.partial(Scripted, ((100, "truncated"),))], 5)
    theta = np.random.default_rng(3).normal(scale=0.3, size=policy.size).astype(np.float32)
    first, second = runner.run(theta)[0], runner.run(theta)[0]
    np.testing.assert_array_equal(first.final_observations[-1], second.observations[0])
    delta = first.rewards[-1] + GAMMA * second.values[0] - first.values[-1]
    np.testing.assert_allclose(first.advantages[-1], delta, rtol=1e-5)


def test_values_that_are_not_finite_stop_the_run():
    policy, runner = runner_of([functools.partial(ConstantReward, 7)], 5)
    with pytest.raises(NonFiniteError, match="values or log-probabilities"):
        runner.run(with_constant_value(policy, np.nan))


def test_discrete_actions_have_the_categoricals_log_probabilities():
    from toy_envs import Choice

    policy, runner = runner_of([Choice], 12)
    batch, _ = runner.run(policy.get_flat())
    logits = np.asarray(policy.actor(batch.observations))
    expected = tf.nn.log_softmax(logits).numpy()[np.arange(12), batch.actions]
    np.testing.assert_allclose(batch.log_probs, expected, rtol=1e-5)
    assert batch.actions.dtype == np.int32
