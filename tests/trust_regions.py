"""Learners of a trust region small enough to run from Python, a batch for them, and distances by NumPy in float64."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_compat.policies import build_policy
from baselines_compat.runner import Batch
from wng_tf import algorithms, embeddings
from wng_tf.policy_gradient.config import resolve
from wng_tf.policy_gradient.learner import Learner

BOX = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
DISCRETE = gym.spaces.Discrete(3)
SIZE = 128


def make(alg="wtrpo", actions=BOX, **given) -> Learner:
    given = {"nsteps": SIZE, "nminibatches": 4, "vf_iters": 1, **given}
    config = resolve(algorithms.find(alg), "mujoco", given)
    observations = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    policy = build_policy(observations, actions, num_layers=1, num_hidden=8, activation="tanh", init_logstd=-0.7)
    rng = np.random.default_rng(0)
    policy.set_flat(policy.get_flat() + 0.3 * rng.standard_normal(policy.size))
    return Learner(policy=policy, config=config, embedding=embeddings.find(config.embedding), seed=3)


def make_batch(learner: Learner, seed: int = 0) -> Batch:
    """States, actions that the learner's policy takes there, and advantages of one action over another."""
    rng = np.random.default_rng(seed)
    policy = learner.policy
    weights = [tf.convert_to_tensor(w) for w in policy.unflatten(learner.theta.numpy())]
    observations = rng.standard_normal((SIZE, 3)).astype(np.float32)
    pd = policy.pd(weights, tf.constant(observations))
    actions = pd.sample(tf.constant([seed, 1])).numpy()
    along = actions[:, 0] - 0.3 * actions[:, 1] if actions.ndim == 2 else (actions == 1).astype(np.float32)
    ends = np.zeros(SIZE, bool)
    ends[31::32] = True
    return Batch(
        observations=observations,
        actions=actions,
        advantages=(along * np.sign(observations[:, 0]) + 0.1 * rng.standard_normal(SIZE)).astype(np.float32),
        returns=observations.sum(axis=1),
        values=policy.value(weights, tf.constant(observations)).numpy(),
        log_probs=pd.logp(tf.constant(actions)).numpy(),
        pd_flat=pd.flatparam().numpy(),
        rewards=np.zeros(SIZE, np.float32),
        raw_rewards=np.zeros(SIZE, np.float32),
        terminated=ends,
        truncated=np.zeros(SIZE, bool),
        final_observations=observations,
        nsteps=SIZE,
    )


def weights_of(learner, theta=None) -> list[np.ndarray]:
    theta = learner.theta.numpy() if theta is None else theta
    return learner.policy.unflatten(np.asarray(theta, np.float64))


def flat_of(learner, batch, theta=None) -> np.ndarray:
    """The policy's distributions on the batch [B, params], by NumPy in float64."""
    kernel, bias, head, head_bias, *logstd = weights_of(learner, theta)[: learner.policy.num_policy_weights]
    out = np.tanh(batch.observations @ kernel + bias) @ head + head_bias
    return np.hstack([out, np.tile(logstd[0], (SIZE, 1))]) if logstd else out


def w2_squared(old, new) -> float:
    (mean, logstd), (new_mean, new_logstd) = (np.split(x, 2, axis=1) for x in (old, new))
    return np.mean(np.sum((new_mean - mean) ** 2 + (np.exp(new_logstd) - np.exp(logstd)) ** 2, axis=1))


def kl(old, new) -> float:
    (mean, logstd), (new_mean, new_logstd) = (np.split(x, 2, axis=1) for x in (old, new))
    ratio, shift = np.exp(2 * (logstd - new_logstd)), (new_mean - mean) * np.exp(-new_logstd)
    return np.mean(np.sum(0.5 * (ratio + shift**2 - 1.0 - np.log(ratio)), axis=1))


def categorical_kl(old, new) -> float:
    old, new = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in (old, new))
    return np.mean(np.sum(np.exp(old) * (old - new), axis=1))


def surrogate(learner, batch, flat) -> float:
    """-E[ratio A] of Gaussian policies, advantages at mean 0 and deviation 1."""

    def log_prob(flat):
        mean, logstd = np.split(flat, 2, axis=1)
        return np.sum(-0.5 * ((batch.actions - mean) * np.exp(-logstd)) ** 2 - logstd, axis=1)

    advantages = (batch.advantages - batch.advantages.mean()) / batch.advantages.std()
    return -np.mean(np.exp(log_prob(flat) - log_prob(batch.pd_flat.astype(np.float64))) * advantages)
