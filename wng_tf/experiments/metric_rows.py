"""Metrics as factors: rows T [R, P] with G = TᵀT, so that matrices of thousands of parameters are compared without one.

P parameters of the policy, N states, act coordinates of an action.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from baselines_compat.policies import PolicyWithValue
from wng_tf.natural_gradient import KernelBasis, pullback, reparameterised_jacobian, score_jacobian, similarity
from wng_tf.policy_gradient.metrics.wasserstein import beside, whiten

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
            pd: Any = policy.pd(weights, tf.constant(observations[start : start + chunk]))
            outputs = tf.concat([pd.mean, pd.std], axis=1)
        units = tf.eye(outputs.shape.num_elements())
        rows = pullback(tape, outputs, tf.reshape(units, [-1, *outputs.shape]), weights)
        blocks.append(rows.numpy())
    return np.concatenate(blocks) / np.sqrt(len(observations))


class KernelRows:
    """T [M, P] of the kernel estimate (Algorithm 3) with K reparameterised actions drawn at each state, divided by K.

    Moving the K actions of a state costs K times what one does, so the estimate is brought to the exact metric's scale.

    `state_actions` adds the state to the embedding, scaled to weigh as much as the actions, and lets behaviour move along
    the actions only: the metric of the joint distribution of states and actions, where moving a state is forbidden. That
    is what the exact metric is.
    """

    def __init__(
        self,
        policy: PolicyWithValue,
        theta: np.ndarray,
        observations: np.ndarray,
        *,
        num_actions: int = 1,
        embedding: str = "actions",
        score: bool = False,
        log_bandwidth: float = 0.0,
    ):
        if embedding not in EMBEDDINGS:
            raise ValueError(f"embedding must be one of {', '.join(EMBEDDINGS)}, not '{embedding}'.")
        self.policy = policy
        self.weights = _policy_weights(policy, theta)
        self.observations = observations
        self.num_actions = num_actions
        self.embedding = embedding
        self.score = score
        self.log_bandwidth = log_bandwidth
        self._rows = tf.function(self._rows_of, autograph=False)

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """[N, K, act]."""
        return len(self.observations), self.num_actions, self.policy.pdtype.sample_shape()[0]

    def __call__(self, num_basis: int, seed: int) -> np.ndarray:
        """With M = `num_basis` distinct pairs of a point and a coordinate (all there are, if M is larger)."""
        states, actions, act = self.noise_shape
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(self.noise_shape).astype(np.float32)
        pairs = rng.permutation(states * actions * act)[:num_basis].astype(np.int32)
        return self._rows(tf.constant(noise), tf.constant(pairs)).numpy()

    def _rows_of(self, noise: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
        states, actions, act = self.noise_shape
        dimension = actions * act
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(self.weights)
            pd: Any = self.policy.pd(self.weights, tf.constant(self.observations))
            drawn = pd.mean[:, tf.newaxis] + pd.std[:, tf.newaxis] * noise
            flat = tf.reshape(drawn, [states, dimension])
            log_probs = tf.add_n([pd.logp(drawn[:, k]) for k in range(actions)]) if self.score else None
        observations = tf.constant(self.observations) if self.embedding == "state_actions" else None
        basis, points, slopes = _basis_and_slopes(
            flat, observations, pairs // dimension, pairs % dimension, self.log_bandwidth
        )
        if self.score:
            jacobian = score_jacobian(tape, log_probs, basis(points), self.weights)
        else:
            jacobian = reparameterised_jacobian(tape, flat, slopes, self.weights)
        return whiten(jacobian, similarity(slopes)) / actions**0.5


def _basis_and_slopes(
    embeddings: tf.Tensor,
    observations: tf.Tensor | None,
    samples: tf.Tensor,
    coordinates: tf.Tensor,
    log_bandwidth: float,
) -> tuple[KernelBasis, tf.Tensor, tf.Tensor]:
    """The basis, the points [n, ...] where it is taken, and its slopes [M, n, d] along the embeddings [n, d].

    `samples` and `coordinates` [M] choose it, as in `KernelBasis.from_indices`. With `observations` the basis tells states
    apart; nothing can move those, so their slopes are left out.
    """
    points = tf.stop_gradient(embeddings)
    if observations is not None:
        points = beside(points, observations)
    basis = KernelBasis.from_indices(points, samples, coordinates, log_bandwidth)
    return basis, points, basis.gradients(points)[..., : embeddings.shape[1]]


class Comparison:
    """Compares estimates with an exact metric; what depends on the latter alone is computed once.

    Args:
      exact: rows T [R, P] of the exact metric.
      gradient: [P], whose natural gradients are compared, both damped relative to their own curvature along it, as in
        `metric.solve_metric`.
      damping: relative.
    """

    def __init__(self, exact: np.ndarray, gradient: np.ndarray, damping: float = 0.01):
        self.exact = exact.astype(np.float64)
        self.gradient = gradient
        self.damping = damping
        gram = self.exact @ self.exact.T
        self.trace = float(np.trace(gram))
        self.squared_norm = float(np.sum(gram**2))
        self.natural = damped_solve(self.exact, gram, gradient, damping)

    def __call__(self, estimate: np.ndarray) -> Agreement:
        """Of an estimate with rows [M, P]."""
        estimate = estimate.astype(np.float64)
        gram = estimate @ estimate.T
        difference = self.squared_norm - 2.0 * np.sum((self.exact @ estimate.T) ** 2) + np.sum(gram**2)
        spectrum = np.linalg.eigvalsh(gram)
        return Agreement(
            trace=float(np.trace(gram)) / self.trace,
            error=float(np.sqrt(max(difference, 0.0) / self.squared_norm)),
            cosine=cosine(self.natural, damped_solve(estimate, gram, self.gradient, self.damping)),
            rank=int(np.sum(spectrum > 1e-4 * spectrum[-1])),
        )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two vectors."""
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


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
    advantages = objectives.normalized(tf.constant(batch.advantages))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        log_probs = policy.pd(weights, tf.constant(batch.observations)).logp(tf.constant(batch.actions))
        ratio = objectives.importance_ratio(log_probs, tf.constant(batch.log_probs))
        loss = objectives.importance_surrogate(ratio, advantages)
    return policy.flatten(tape.gradient(loss, weights)).numpy().astype(np.float64)


def _policy_weights(policy: PolicyWithValue, theta: np.ndarray) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(w) for w in policy.unflatten(theta)][: policy.num_policy_weights]
