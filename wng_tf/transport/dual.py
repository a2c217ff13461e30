"""Wasserstein distance by test functions: the entropic dual of Eq. 4 (Pacchiano et al. 2019, Algorithms 1 and 3).

Maximised over two test functions, λ₁ of x and λ₂ of y, in the span of a kernel:

    E[λ₁(x)] + E[λ₂(y)] - γ E[exp((λ₁(x) + λ₂(y) - |x - y|²) / γ)] + γ

The constant γ at the end, which the printed dual leaves out, makes the maximum the entropic transport cost itself.
The expectation of the exponential runs over all pairs (x_j, y_k) of the samples or, as in the code released with
the paper, over (x_k, y_k) alone.

Ascent on the coefficients of features φ stays in the span of φ(x_k) and φ(y_k), so `fit` takes its steps there, on
K×K matrices; `fit_in_feature_space` takes the same steps as printed, on R coefficients.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from wng_tf.transport.kernels import Expansion, GaussianKernel, RandomFeatures
from wng_tf.transport.sums import weighted_sums

__all__ = ["fit", "fit_in_feature_space", "transport_estimate"]

# Beyond this an overshooting step would overflow instead of being pulled back.
LARGEST_EXPONENT = 20.0


def fit(
    gram_x: tf.Tensor,
    gram_y: tf.Tensor,
    cost: tf.Tensor,
    *,
    gamma: float | tf.Tensor,
    step_size: float | tf.Tensor,
    steps: int,
    all_pairs: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights w_x [..., K] and w_y [..., K'] of λ₁ = Σ_k w_x[k] K(x_k, ·) and λ₂ = Σ_k w_y[k] K(y_k, ·).

    From the Gram matrices [..., K, K] and [..., K', K'] and the cost |x_j - y_k|² [..., K, K'], by `steps` steps of
    gradient ascent of length `step_size` from zero. Leading axes are separate problems. Without `all_pairs`,
    K = K' and only the diagonal of the cost is used. gamma and the step size are in the unit of the cost.
    """
    gram_x, gram_y, cost = map(tf.convert_to_tensor, (gram_x, gram_y, cost))
    leading = tf.shape(gram_x)[:-2] if gram_x.shape.rank > 2 else None
    sides = _samples_first(gram_x, 2), _samples_first(gram_y, 2), _samples_first(cost, 2 if all_pairs else 1)
    weights, _ = _ascend(*sides, gamma=gamma, step_size=step_size, steps=steps, all_pairs=all_pairs)
    if leading is None:
        return weights
    return tuple(tf.reshape(tf.transpose(side), tf.concat([leading, [-1]], axis=0)) for side in weights)


def _ascend(
    gram_x: tf.Tensor,
    gram_y: tf.Tensor,
    cost: tf.Tensor,
    *,
    gamma: float | tf.Tensor,
    step_size: float | tf.Tensor,
    steps: int,
    all_pairs: bool,
) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """The weights of `fit`, everything with the samples in front, and λ₁ and λ₂ on the samples; λ₁ + λ₂ without `all_pairs`.

    The sums go round with the weights: to take them once more afterwards XLA would compute the Gram matrices again.
    """
    if not all_pairs:
        # Both sides begin at zero and take the same steps: λ₁ + λ₂ comes from the sum of the Gram matrices.
        both, scale = gram_x + gram_y, step_size / _count(gram_x)

        def paired(step: tf.Tensor, weights: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            weights += scale * (1.0 - _exponential(total, cost, gamma))
            return step + 1, weights, weighted_sums(both, weights)

        zeros = tf.zeros_like(gram_x[0])
        _, weights, total = tf.while_loop(lambda step, *_: step < steps, paired, (0, zeros, zeros))
        return (weights, weights), (total,)
    scale_x, scale_y = step_size / _count(gram_x), step_size / _count(gram_y)

    def body(step: tf.Tensor, weights: tuple[tf.Tensor, ...], sums: tuple[tf.Tensor, ...]) -> tuple[Any, Any, Any]:
        excess_x, excess_y = _excess(sums[0], sums[1], cost, gamma)
        weights = weights[0] + scale_x * (1.0 - excess_x), weights[1] + scale_y * (1.0 - excess_y)
        return step + 1, weights, (weighted_sums(gram_x, weights[0]), weighted_sums(gram_y, weights[1]))

    start = tf.zeros_like(gram_x[0]), tf.zeros_like(gram_y[0])
    _, weights, sums = tf.while_loop(lambda step, *_: step < steps, body, (0, start, start))
    return weights, sums


def fit_in_feature_space(
    features_x: tf.Tensor,
    features_y: tf.Tensor,
    cost: tf.Tensor,
    *,
    gamma: float | tf.Tensor,
    step_size: float | tf.Tensor,
    steps: int,
    all_pairs: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Coefficients β₁, β₂ [R] of λ(z) = β·φ(z), from features [K, R], [K', R] and cost [K, K'], step by step as printed."""
    beta_x, beta_y = tf.zeros_like(features_x[0]), tf.zeros_like(features_y[0])
    for _ in range(steps):
        lambda_x, lambda_y = tf.linalg.matvec(features_x, beta_x), tf.linalg.matvec(features_y, beta_y)
        if all_pairs:
            excess_x, excess_y = _excess(lambda_x, lambda_y, cost, gamma)
        else:
            excess_x = excess_y = _exponential(lambda_x + lambda_y, cost, gamma)
        beta_x += step_size * tf.reduce_mean((1.0 - excess_x)[:, tf.newaxis] * features_x, axis=0)
        beta_y += step_size * tf.reduce_mean((1.0 - excess_y)[:, tf.newaxis] * features_y, axis=0)
    return beta_x, beta_y


def transport_estimate(
    x: tf.Tensor,
    y: tf.Tensor,
    kernel: GaussianKernel | RandomFeatures,
    *,
    gamma: float | tf.Tensor,
    step_size: float | tf.Tensor,
    steps: int = 25,
    all_pairs: bool = True,
    gram_x: tf.Tensor | None = None,
) -> tf.Tensor:
    """The estimate of W2² [...] between samples x [..., K, d] and y [..., K', d], one per leading index.

    Test functions are fitted, then held: the estimate is differentiable in y alone, through the samples and not
    through the fit (by the envelope theorem that is its whole gradient at the maximum). `gram_x`, where it is known
    from before, saves computing kernel.gram(x).
    """
    x = tf.stop_gradient(x)
    # From here on axes are [samples, states].
    if y.shape.rank == 2:
        gram_x = kernel.gram(x) if gram_x is None else gram_x
        gram_y = kernel.held_gram(y)
        expansion: Expansion = functools.partial(_expansion_of_one, gram_y)
    else:
        gram_x = kernel.held(_one_batch(x))[0] if gram_x is None else _samples_first(gram_x, 2)
        gram_y, expansion = kernel.held(_one_batch(y))
    cost = _samples_first(_cost(x, y, all_pairs), 2 if all_pairs else 1)
    weights, sums = _ascend(
        gram_x,
        tf.stop_gradient(gram_y),
        tf.stop_gradient(cost),
        gamma=gamma,
        step_size=step_size,
        steps=steps,
        all_pairs=all_pairs,
    )
    *sums_x, sums_y = tf.nest.map_structure(tf.stop_gradient, sums)
    # λ₂ is differentiable in the points y where it is taken, not in those it is expanded around. Without all pairs this is
    # λ₁ + λ₂, which is all that is needed of them.
    values = [*sums_x, expansion(tf.stop_gradient(weights[1]), sums_y)]
    excess = _excess(values[0], values[1], cost, gamma)[0] if all_pairs else _exponential(values[0], cost, gamma)
    total = tf.add_n([tf.reduce_mean(side, axis=0) for side in values])
    return tf.reshape(total + gamma * (1.0 - tf.reduce_mean(excess, axis=0)), tf.shape(y)[:-2])


def _expansion_of_one(gram: tf.Tensor, weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`Expansion` on the points of one state, from a Gram matrix [K, K] that is differentiable in its second argument."""
    taken = tf.linalg.matvec(gram, weights, transpose_a=True)
    return values + taken - tf.stop_gradient(taken)


def _one_batch(points: tf.Tensor) -> tf.Tensor:
    """[..., K, d] with all leading axes gathered into one."""
    return points if points.shape.rank == 3 else tf.reshape(points, tf.concat([[-1], tf.shape(points)[-2:]], axis=0))


def _cost(x: tf.Tensor, y: tf.Tensor, all_pairs: bool) -> tf.Tensor:
    difference = x[..., :, tf.newaxis, :] - y[..., tf.newaxis, :, :] if all_pairs else x - y
    return tf.reduce_sum(tf.square(difference), axis=-1)


def _excess(
    lambda_x: tf.Tensor, lambda_y: tf.Tensor, cost: tf.Tensor, gamma: float | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean over all pairs of exp((λ₁ + λ₂ - cost)/γ) for each x_j and for each y_k; samples in front."""
    excess = _exponential(lambda_x[:, tf.newaxis] + lambda_y, cost, gamma)
    return tf.reduce_mean(excess, axis=1), tf.reduce_mean(excess, axis=0)


def _exponential(total: tf.Tensor, cost: tf.Tensor, gamma: float | tf.Tensor) -> tf.Tensor:
    return tf.exp(tf.minimum((total - cost) / gamma, LARGEST_EXPONENT))


def _samples_first(tensor: tf.Tensor, num_sample_axes: int) -> tf.Tensor:
    """[..., K] or [..., K, K'] with all leading axes gathered into one and put last; as it is where there are none."""
    if tensor.shape.rank == num_sample_axes:
        return tensor
    flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[-num_sample_axes:]], axis=0))
    return tf.transpose(flat, [*range(1, num_sample_axes + 1), 0])


def _count(gram: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(gram)[0], gram.dtype)
