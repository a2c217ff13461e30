"""Learners small enough to compile, compiled once for all tests."""

from __future__ import annotations

import copy
import functools

import pytest
from gymnasium import spaces
from toy_envs import Aim

SMALL = {
    "nsteps": 64,
    "nminibatches": 2,
    "noptepochs": 2,
    "num_layers": 1,
    "num_hidden": 8,
    "num_actions": 4,
    "num_features": 16,
    "inner_steps": 5,
    "num_basis": 3,
    "gamma": 0.0,
}


def make_learner(alg: str, actions: spaces.Space | None = None, seed: int = 0, **given):
    """A fresh learner with the settings above, over three observations and two actions."""
    from baselines_compat.policies import build_policy
    from wng_tf import algorithms, embeddings
    from wng_tf.policy_gradient.config import resolve
    from wng_tf.policy_gradient.learner import Learner

    config = resolve(algorithms.find(alg), "other", {**SMALL, **given})
    actions = spaces.Box(-5.0, 5.0, (2,)) if actions is None else actions
    sizes = {"num_layers": config.num_layers, "num_hidden": config.num_hidden}
    policy = build_policy(spaces.Box(-1.0, 1.0, (3,)), actions, seed=seed, **sizes)
    return Learner(policy=policy, config=config, embedding=embeddings.find(config.embedding), seed=seed)


@functools.cache
def _compiled(alg: str):
    learner = make_learner(alg)
    return learner, copy.deepcopy(learner.state())


@pytest.fixture(scope="session")
def compiled():
    """`compiled(alg)`: a learner of that algorithm at its beginning; its compiled update is kept between tests."""

    def fresh(alg: str):
        learner, beginning = _compiled(alg)
        learner.restore(copy.deepcopy(beginning))
        return learner

    return fresh


@pytest.fixture(scope="session")
def fresh_learner():
    """`fresh_learner(alg, **settings)`: a learner with settings of its own, for uncompiled updates."""
    return make_learner


@pytest.fixture(scope="session")
def aim_runner():
    """`aim_runner(learner, nsteps)`: rollouts of a learner's policy in the toy environment `Aim`."""
    from baselines_compat.runner import Runner
    from baselines_compat.vec_env import DummyVecEnv, VecNormalize

    def make(learner, nsteps: int = 64, seed: int = 0):
        venv = VecNormalize(DummyVecEnv([Aim], seed), gamma=0.0)
        return Runner(env=venv, model=learner.policy, nsteps=nsteps, gamma=0.0, lam=1.0)

    return make


@pytest.fixture(scope="session")
def batch_of(aim_runner):
    """`batch_of(learner)`: one batch of a learner's present policy."""

    def make(learner, nsteps: int = 64, seed: int = 0):
        return aim_runner(learner, nsteps, seed).run(learner.theta.numpy())[0]

    return make
