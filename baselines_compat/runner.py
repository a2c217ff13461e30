"""Rollouts with advantages: `Runner.run()` gives the batch of one update, as Baselines' ppo2 runner does.

Actions are chosen in NumPy while the environments step; values, log-probabilities and distribution parameters are
computed for the whole batch in one call afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from baselines_compat.conform import size_of
from baselines_compat.policies import PolicyWithValue
from baselines_compat.vec_env import EpisodeRecord, NonFiniteError, SegmentArrays, VecNormalize

#: So many environments are summed one by one, in Python's numbers: NumPy takes as long for a step of one as of many.
_FEW = 4


class Batch(NamedTuple):
    """One update's samples, environment by environment: row e * nsteps + t. B = num_env * nsteps.

    Shapes: `observations` [B, obs] normalized, `actions` [B, act] or [B], `advantages`, `returns`, `values`,
    `log_probs` [B] under the policy that acted, `pd_flat` [B, params] that policy's distributions, `rewards` [B] scaled,
    `raw_rewards` [B], `terminated`, `truncated` [B], `final_observations` [B, obs] (where an episode or the segment ends).
    """

    observations: np.ndarray
    actions: np.ndarray
    advantages: np.ndarray
    returns: np.ndarray
    values: np.ndarray
    log_probs: np.ndarray
    pd_flat: np.ndarray
    rewards: np.ndarray
    raw_rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_observations: np.ndarray
    nsteps: int


def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    gamma: float,
    lam: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Generalised advantage estimation (Schulman et al. 2016), time limits not being terminal.

    A_t = δ_t + γ λ A_{t+1}, δ_t = r_t + γ V(s_{t+1}) - V(s_t); V(s_{t+1}) counts 0 at termination only, and the sum is cut at
    termination and at truncation.

    Args:
      rewards, values, next_values: [T] or [T, E]; `next_values` is V of the observation that followed, also where an
        episode ended and another began.
      terminated, truncated: [T] or [T, E].
      gamma, lam: discount and λ.

    Returns:
      advantages and returns (advantages + values), shaped as `rewards`, float32.
    """
    deltas = np.asarray(rewards, np.float64) + gamma * np.where(terminated, 0.0, next_values) - values
    carry = np.where(np.logical_or(terminated, truncated), 0.0, gamma * lam)
    steps = deltas.shape[0]
    if deltas.size <= _FEW * steps:
        columns = zip(deltas.reshape(steps, -1).T.tolist(), carry.reshape(steps, -1).T.tolist(), strict=True)
        advantages = np.array([_backwards(*column) for column in columns]).T.reshape(deltas.shape)
    else:
        advantages = np.empty_like(deltas)
        running = np.zeros(deltas.shape[1:])
        for t in range(steps - 1, -1, -1):
            running = deltas[t] + carry[t] * running
            advantages[t] = running
    return advantages.astype(np.float32), (advantages + values).astype(np.float32)


def _backwards(deltas: list[float], carry: list[float]) -> list[float]:
    """x_t = deltas_t + carry_t x_{t+1}, with x_T = 0."""
    running = 0.0
    sums = [running := delta + share * running for delta, share in zip(reversed(deltas), reversed(carry), strict=True)]
    sums.reverse()
    return sums


class Runner:
    """Collects batches from `env` with `model`.

    Args:
      env: environments, normalized.
      model: the policy that acts.
      nsteps: steps per environment and batch.
      gamma, lam: discount and λ of the advantages.

    Raises:
      NonFiniteError: from `run`, if an environment or the policy produced NaN or infinity.
    """

    def __init__(self, *, env: VecNormalize, model: PolicyWithValue, nsteps: int, gamma: float, lam: float):
        self.env = env
        self.model = model
        self.nsteps = nsteps
        self.gamma = gamma
        self.lam = lam
        self.spec = model.acting()
        obs_size = size_of(env.observation_space)
        action = tf.TensorSpec([None, *model.pdtype.sample_shape()], model.pdtype.sample_dtype())
        signature = [tf.TensorSpec([model.size]), tf.TensorSpec([None, obs_size]), action]
        self._judge = tf.function(self._judge_batch, input_signature=signature, autograph=False)
        self._values = tf.function(self._values_of, input_signature=signature[:2], autograph=False)

    def _judge_batch(self, theta: tf.Tensor, observations: tf.Tensor, actions: tf.Tensor):
        weights = self.model.unflatten(theta)
        pd = self.model.pd(weights, observations)
        return self.model.value(weights, observations), pd.logp(actions), pd.flatparam()

    def _values_of(self, theta: tf.Tensor, observations: tf.Tensor) -> tf.Tensor:
        return self.model.value(self.model.unflatten(theta), observations)

    def run(self, theta: np.ndarray) -> tuple[Batch, list[list[EpisodeRecord]]]:
        """A batch from the policy with parameters θ [P], and the episodes finished in each environment."""
        arrays, episodes = self.env.collect(self.spec, theta, self.nsteps)
        return self.judge(theta, arrays), episodes

    def judge(self, theta: np.ndarray, arrays: SegmentArrays) -> Batch:
        """The batch of collected steps: values, log-probabilities and advantages by the policy with parameters θ [P]."""
        num_env = self.env.num_envs
        rows = num_env * self.nsteps

        def flat(x: np.ndarray) -> np.ndarray:
            return np.array(x).reshape(rows, *x.shape[2:])

        observations, actions = flat(arrays.observations), flat(arrays.actions)
        values, log_probs, pd_flat = (x.numpy() for x in self._judge(theta, observations, actions))
        if not np.isfinite(values).all() or not np.isfinite(log_probs).all():
            raise NonFiniteError("The policy's values or log-probabilities are not finite: training stopped.")
        next_values = self._next_values(theta, arrays, values.reshape(num_env, self.nsteps))
        of_envs = (arrays.rewards, values.reshape(num_env, -1), next_values, arrays.terminated, arrays.truncated)
        rewards, by_time, next_by_time, terminated, truncated = (np.ascontiguousarray(x.T) for x in of_envs)
        with np.errstate(over="ignore"):
            advantages, returns = gae(rewards, by_time, next_by_time, terminated, truncated, self.gamma, self.lam)
        if not np.isfinite(advantages).all() or not np.isfinite(returns).all():
            raise NonFiniteError("The rewards are so large that advantages or returns overflow: training stopped.")
        return Batch(
            observations=observations,
            actions=actions,
            advantages=advantages.T.reshape(rows),
            returns=returns.T.reshape(rows),
            values=values,
            log_probs=log_probs,
            pd_flat=pd_flat,
            rewards=flat(arrays.rewards),
            raw_rewards=flat(arrays.raw_rewards),
            terminated=flat(arrays.terminated),
            truncated=flat(arrays.truncated),
            final_observations=flat(arrays.final_observations),
            nsteps=self.nsteps,
        )

    def _next_values(self, theta: np.ndarray, arrays, values: np.ndarray) -> np.ndarray:
        """V of the observation after each step [E, T]; at episode and segment ends that is the final observation's."""
        following = np.empty_like(values)
        following[:, :-1] = values[:, 1:]
        ends = np.logical_or(arrays.terminated, arrays.truncated)
        ends[:, -1] = True
        following[ends] = self._values(theta, np.array(arrays.final_observations[ends])).numpy()
        return following
