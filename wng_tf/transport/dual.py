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

import tensorflow as tf

from wng_tf.transport.kernels import Expansion, GaussianKernel, RandomFeatures

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
    weights = _ascend(*sides, gamma=gamma, step_size=step_size, steps=steps, all_pairs=all_pairs)
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
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weights of `fit`, everything with the samples in front."""
    if not all_pairs:
        # Both sides begin at zero and take the same steps: λ₁ + λ₂ comes from the sum of the Gram matrices.
        both, scale = gram_x + gram_y, step_size / _count(gram_x)

        def paired(step: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            excess = _exponential(_apply(both, weights), cost, gamma)
            return step + 1, weights + scale * (1.0 - excess)

        weights = tf.while_loop(lambda step, _: step < steps, paired, (0, tf.zeros_like(gram_x[0])))[1]
        return weights, weights
    scale_x, scale_y = step_size / _count(gram_x), step_size / _count(gram_y)

    def body(step: tf.Tensor, weights_x: tf.Tensor, weights_y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        excess_x, excess_y = _excess(_apply(gram_x, weights_x), _apply(gram_y, weights_y), cost, gamma, all_pairs)
        return step + 1, weights_x + scale_x * (1.0 - excess_x), weights_y + scale_y * (1.0 - excess_y)

    start = (0, tf.zeros_like(gram_x[0]), tf.zeros_like(gram_y[0]))
    _, weights_x, weights_y = tf.while_loop(lambda step, *_: step < steps, body, start)
    return weights_x, weights_y


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
        excess_x, excess_y = _excess(lambda_x, lambda_y, cost, gamma, all_pairs)
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
    if gram_x is None:
        gram_x = kernel.gram(x)
    # From here on axes are [samples, states].
    gram_x = _samples_first(gram_x, 2)
    if y.shape.rank == 2:
        gram_y = kernel.held_gram(y)
        expansion: Expansion = functools.partial(tf.linalg.matvec, gram_y, transpose_a=True)
    else:
        gram_y, expansion = kernel.held(tf.reshape(y, tf.concat([[-1], tf.shape(y)[-2:]], axis=0)))
    cost = _samples_first(_cost(x, y, all_pairs), 2 if all_pairs else 1)
    weights_x, weights_y = _ascend(
        gram_x,
        tf.stop_gradient(gram_y),
        tf.stop_gradient(cost),
        gamma=gamma,
        step_size=step_size,
        steps=steps,
        all_pairs=all_pairs,
    )
    weights_x, weights_y = tf.stop_gradient(weights_x), tf.stop_gradient(weights_y)
    # λ₂ is differentiable in the points y where it is taken, not in those it is expanded around.
    lambda_x, lambda_y = _apply(gram_x, weights_x), expansion(weights_y)
    excess_x, _ = _excess(lambda_x, lambda_y, cost, gamma, all_pairs)
    means = [tf.reduce_mean(values, axis=0) for values in (lambda_x, lambda_y, excess_x)]
    return tf.reshape(means[0] + means[1] + gamma * (1.0 - means[2]), tf.shape(y)[:-2])


def _cost(x: tf.Tensor, y: tf.Tensor, all_pairs: bool) -> tf.Tensor:
    difference = x[..., :, tf.newaxis, :] - y[..., tf.newaxis, :, :] if all_pairs else x - y
    return tf.reduce_sum(tf.square(difference), axis=-1)


def _excess(
    lambda_x: tf.Tensor, lambda_y: tf.Tensor, cost: tf.Tensor, gamma: float | tf.Tensor, all_pairs: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean of exp((λ₁ + λ₂ - cost)/γ) for each x_j and for each y_k; samples in front."""
    total = lambda_x[:, tf.newaxis] + lambda_y if all_pairs else lambda_x + lambda_y
    excess = _exponential(total, cost, gamma)
    return (tf.reduce_mean(excess, axis=1), tf.reduce_mean(excess, axis=0)) if all_pairs else (excess, excess)


def _exponential(total: tf.Tensor, cost: tf.Tensor, gamma: float | tf.Tensor) -> tf.Tensor:
    return tf.exp(tf.minimum((total - cost) / gamma, LARGEST_EXPONENT))


def _apply(gram: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Σ_k gram[j, k] weights[k], for [K, K] and [K], or for [K, K, B] and [K, B]."""
    if gram.shape.rank == 2:
        return tf.linalg.matvec(gram, weights)
    # With the states last XLA on the CPU works on whole vectors of them: five times as fast as states in front.
    return tf.reduce_sum(gram * weights, axis=1)


def _samples_first(tensor: tf.Tensor, num_sample_axes: int) -> tf.Tensor:
    """[..., K] or [..., K, K'] with all leading axes gathered into one and put last; as it is where there are none."""
    if tensor.shape.rank == num_sample_axes:
        return tensor
    flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[-num_sample_axes:]], axis=0))
    return tf.transpose(flat, [*range(1, num_sample_axes + 1), 0])


def _count(gram: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(gram)[0], gram.dtype)
