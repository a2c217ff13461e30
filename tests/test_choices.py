"""Several choices, switches, shifted choices and actions of any shape, through the public interface of both families."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from short_runs import TINY, progress, uncompiled
from space_envs import ACTIONS

from wng_tf import evaluate, saved_policy
from wng_tf.evolution.learn import learn as evolve
from wng_tf.export import export_run
from wng_tf.policy_gradient.learn import learn


def train(family: str, name: str, folder, *, workers: int = 1, steps: int = 64, **given):
    env = f"space_envs:space/Acting-{name}-v0"
    if family == "es":
        settings = {"population": 3, "num_env": 4, "num_workers": workers, "embedding": "trajectory_actions", "alg": "wnes"}
        return evolve(env=env, total_timesteps=steps, log_path=folder, progress=False, **{**settings, **given})
    settings = {**TINY, "alg": "ppo", "num_env": 2, "num_workers": workers, "nsteps": 16, "save_interval": 1}
    with uncompiled():
        return learn(env=env, total_timesteps=steps, log_path=folder, progress=False, **{**settings, **given})


@pytest.mark.parametrize("family", ["es", "ppo"])
@pytest.mark.parametrize("name", ACTIONS)
def test_wherever_a_policy_acts_the_environment_gets_members_of_its_space(family, name, tmp_path):
    """The environment itself refuses what is none of its space's: in rollouts, evaluation and films."""
    folder = tmp_path / "run"
    train(family, name, folder)
    evaluate.evaluate_run(folder, episodes=2)
    policy, space = saved_policy.load(folder), ACTIONS[name]
    assert policy.action_space == space and policy.action_space.dtype == space.dtype
    seen = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
    one = policy.act(seen[0])
    assert type(one) is type(space.sample()) and one.dtype == space.dtype and space.contains(one)
    model = tf.saved_model.load(str(export_run(folder, output=tmp_path / "model"))).signatures
    seed = {"seed": tf.constant(1, tf.int64)} if family == "ppo" else {}
    likeliest = model["serving_default"](observation=tf.constant(seen))["action"].numpy()
    sampled = model["sample"](observation=tf.constant(seen), **seed)["action"].numpy()
    own = policy.act(seen), policy.act(seen, np.random.default_rng(0), deterministic=False)
    for actions in (likeliest, sampled, *own):
        assert actions.dtype == space.dtype and actions.shape == (32, *space.shape)
        assert all(space.contains(np.asarray(action) if space.shape == () else action) for action in actions)
    np.testing.assert_allclose(likeliest.astype(np.float64), own[0].astype(np.float64), atol=1e-5)


@pytest.mark.parametrize("family", ["es", "ppo"])
@pytest.mark.parametrize("name", ["choices", *(pytest.param(name, marks=pytest.mark.slow) for name in ("panel", "number"))])
def test_neither_workers_nor_an_interruption_change_the_numbers(family, name, tmp_path):
    train(family, name, tmp_path / "whole", steps=128)
    train(family, name, tmp_path / "two", steps=128, workers=2)
    train(family, name, tmp_path / "cut", steps=64)
    train(family, name, tmp_path / "cut", steps=128, resume=True)
    theta = saved_policy.load(tmp_path / "whole").theta
    assert np.isfinite(theta).all()
    for other in ("two", "cut"):
        np.testing.assert_array_equal(saved_policy.load(tmp_path / other).theta, theta)


@pytest.mark.parametrize("alg", ["ppo", *(pytest.param(alg, marks=pytest.mark.slow) for alg in ("wnpg", "wtrpo", "npg"))])
def test_one_choice_of_several_is_the_choice_to_the_last_bit(alg, tmp_path):
    """CartPole with the action space MultiDiscrete([2])."""
    for name, env in (("one", "CartPole-v1"), ("several", "space_envs:space/CartPole-v0")):
        settings = {**TINY, "nsteps": 128, "nminibatches": 4, "vf_iters": 2, "cg_iters": 4}
        learn(env=env, alg=alg, total_timesteps=384, log_path=tmp_path / name, progress=False, **settings)
    one, several = (saved_policy.load(tmp_path / name) for name in ("one", "several"))
    np.testing.assert_array_equal(several.theta, one.theta)
    for row, other in zip(progress(tmp_path / "several"), progress(tmp_path / "one"), strict=True):
        assert row == other
    seen = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_array_equal(several.act(seen)[:, 0], one.act(seen))


@pytest.mark.parametrize("kind", ["choices", "switches"])
@pytest.mark.parametrize(("alg", "given"), [("ppo", {}), ("wnpg", {}), ("wtrpo", {"trust_radius": 0.1}), ("es", {})])
def test_levers_are_learned(alg, given, kind):
    env = f"space_envs:space/Levers-{kind}-v0"
    if alg == "es":
        policy = evolve(env=env, alg=alg, total_timesteps=1500, population=12, lr="0.3", progress=False)
    else:
        settings = {"nsteps": 128, "nminibatches": 4, "noptepochs": 6, "num_hidden": 8, "lr": "1e-2", "gamma": 0.0, **given}
        told = []
        learn(env=env, alg=alg, total_timesteps=128 * 12, progress=False, **settings,
              callback=lambda local: told.append((local["batch"].raw_rewards.mean(), local["learner"].policy)))  # fmt: skip
        assert told[0][0] < 0.75 and told[-1][0] > 0.9
        return
    right = [1, 2] if kind == "choices" else [1, 0]
    np.testing.assert_array_equal(policy.act(np.ones(1)), right)
