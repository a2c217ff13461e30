"""Metrics as factors: rows T [R, P] with G = TᵀT, so that matrices of thousands of parameters are compared without one.

P parameters of the policy, N states, act coordinates of an action.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.natural_gradient import KernelBasis, pullback, score_jacobian, similarity
from wng_tf.policy_gradient.directions import whiten

#: What a behavioural embedding is made of: the actions of a state alone, or with the state that they were taken in.
EMBEDDINGS = ("actions", "state_actions")


class Agreement(NamedTuple):
    """How an estimate compares with the exact metric.

    Attributes:
      trace: its trace over the exact one's.
      error: Frobenius norm of the difference over that of the exact one.
      cosine: between the two damped natural gradients.
      rank: eigenvalues of the estimate above 1e-4 of its largest.
    """

    trace: float
    error: float
    cosine: float
    rank: int


def exact_rows(policy: PolicyWithValue, theta: np.ndarray, observations: np.ndarray, chunk: int = 256) -> np.ndarray:
    """T [2 act N, P] of the exact Wasserstein metric of a Gaussian policy: ∂μ_i/∂θ and ∂σ_i/∂θ at each state, / √N."""
    weights = _policy_weights(policy, theta)
    blocks = []
    for start in range(0, len(observations), chunk):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(weights)
            pd = policy.pd(weights, tf.constant(observations[start : start + chunk]))
            outputs = tf.concat([pd.mean, pd.std], axis=1)
        units = tf.eye(outputs.shape.num_elements())
        rows = pullback(tape, outputs, tf.reshape(units, [-1, *outputs.shape]), weights)
        blocks.append(rows.numpy())
    return np.concatenate(blocks) / np.sqrt(len(observations))


def kernel_rows(
    policy: PolicyWithValue,
    theta: np.ndarray,
    observations: np.ndarray,
    *,
    num_basis: int,
    num_actions: int = 1,
    embedding: str = "actions",
    score: bool = False,
    log_bandwidth: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """T [M, P] of the kernel estimate (Algorithm 3) with K reparameterised actions drawn at each state, divided by K.

    Moving the K actions of a state costs K times what one does, so the estimate is brought to the exact metric's scale.

    `state_actions` adds the state to the embedding, scaled to weigh as much as the actions, and lets behaviour move along
    the actions only: the metric of the joint distribution of states and actions, where moving a state is forbidden. That
    is what the exact metric is.
    """
    weights = _policy_weights(policy, theta)
    states, act = len(observations), policy.pdtype.sample_shape()[0]
    rng = np.random.default_rng([seed, num_basis])
    noise = tf.constant(rng.standard_normal((states, num_actions, act)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        pd = policy.pd(weights, tf.constant(observations))
        drawn = pd.mean[:, tf.newaxis] + pd.std[:, tf.newaxis] * noise
        actions = tf.reshape(drawn, [states, num_actions * act])
        log_probs = tf.add_n([pd.logp(drawn[:, k]) for k in range(num_actions)]) if score else None
    dimension = num_actions * act
    points = actions
    if embedding == "state_actions":
        spread = np.sqrt(_mean_variance(actions.numpy()) / _mean_variance(observations))
        points = tf.concat([actions, tf.constant((spread * observations).astype(np.float32))], axis=1)
    count = min(num_basis, states * dimension)
    pairs = rng.permutation(states * dimension)[:count]  # distinct pairs of a point and a coordinate
    basis = KernelBasis.from_indices(points, pairs // dimension, pairs % dimension, log_bandwidth)
    slopes = basis.gradients(points)[..., :dimension]
    if score:
        jacobian = score_jacobian(tape, log_probs, basis(points), weights)
    else:
        jacobian = pullback(tape, actions, slopes / states, weights)
    return whiten(jacobian, similarity(slopes)).numpy() / np.sqrt(num_actions)


def compare(exact: np.ndarray, estimate: np.ndarray, gradient: np.ndarray, damping: float = 0.01) -> Agreement:
    """The metrics with rows `exact` and `estimate` [·, P], and the natural gradients of `gradient` [P] in them.

    Both are damped relative to their own curvature along the gradient, as in `metric.solve_metric`.
    """
    exact, estimate = exact.astype(np.float64), estimate.astype(np.float64)
    own, theirs = exact @ exact.T, estimate @ estimate.T
    squared = np.sum(own**2)
    difference = squared - 2.0 * np.sum((exact @ estimate.T) ** 2) + np.sum(theirs**2)
    a, b = (damped_solve(rows, gram, gradient, damping) for rows, gram in ((exact, own), (estimate, theirs)))
    spectrum = np.linalg.eigvalsh(theirs)
    return Agreement(
        trace=float(np.trace(theirs) / np.trace(own)),
        error=float(np.sqrt(max(difference, 0.0) / squared)),
        cosine=float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
        rank=int(np.sum(spectrum > 1e-4 * spectrum[-1])),
    )


def damped_solve(rows: np.ndarray, gram: np.ndarray, gradient: np.ndarray, damping: float) -> np.ndarray:
    """(G + ε I)⁻¹ g for G = TᵀT from T [R, P] and its Gram matrix T Tᵀ, ε = damping · gᵀGg / gᵀg (Woodbury, Eq. 12)."""
    image = rows @ gradient
    epsilon = damping * (image @ image) / (gradient @ gradient)
    inner = np.linalg.solve(gram + epsilon * np.eye(len(rows)), image)
    return (gradient - rows.T @ inner) / epsilon


def policy_gradient(policy: PolicyWithValue, theta: np.ndarray, batch) -> np.ndarray:
    """Gradient [P] of the importance-weighted surrogate on the batch, over the policy's parameters."""
    from wng_tf.policy_gradient import objectives

    weights = _policy_weights(policy, theta)
    advantages = objectives.normalised(tf.constant(batch.advantages))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        log_probs = policy.pd(weights, tf.constant(batch.observations)).logp(tf.constant(batch.actions))
        ratio = objectives.importance_ratio(log_probs, tf.constant(batch.log_probs))
        loss = objectives.importance_surrogate(ratio, advantages)
    return policy.flatten(tape.gradient(loss, weights)).numpy().astype(np.float64)


def _policy_weights(policy: PolicyWithValue, theta: np.ndarray) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(w) for w in policy.unflatten(theta)][: policy.num_policy_weights]


def _mean_variance(x: np.ndarray) -> float:
    """Summed over coordinates."""
    return float(np.sum(np.var(x, axis=0)))
