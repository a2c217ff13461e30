"""The Fisher natural gradient, in the same terms, so that it and the Wasserstein one exchange places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from wng_tf.natural_gradient.checks import require_finite
from wng_tf.natural_gradient.estimator import NaturalGradient, check_problem, damped_solve
from wng_tf.natural_gradient.jacobian_rows import DenseRows, LayerScores
from wng_tf.natural_gradient.jacobians import dense_gradient, flatten, pullback, unflatten, watchable
from wng_tf.natural_gradient.scalars import scalar
from wng_tf.natural_gradient.seeds import Seed, stateless_seed

__all__ = [
    "conjugate_gradient",
    "fisher_natural_gradient",
    "fisher_vector_product",
    "metric_vector_product",
    "per_sample_scores",
    "sketched_scores",
]


def per_sample_scores(
    log_prob: Callable[..., tf.Tensor], samples: Sequence[tf.Tensor], variables: Sequence[tf.Tensor]
) -> tf.Tensor:
    """S [N, P]: ∂ log q_θ(X_n)/∂θ for each sample.

    `samples` are tensors with N in front; `log_prob(*sample)` takes one entry of each and returns a scalar. The N
    reverse passes run as one, on N copies of the variables' gradients: the exact scores, N·P numbers.
    """
    variables = watchable(variables)

    def score(sample: Sequence[tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = tf.reshape(log_prob(*sample), [])
        return flatten(dense_gradient(tape, value, variables))

    return tf.vectorized_map(score, tuple(samples))


def sketched_scores(
    tape: tf.GradientTape, log_probs: tf.Tensor, num_rows: int, variables: Sequence[tf.Tensor], *, seed: Seed
) -> tf.Tensor:
    """M random combinations S̃ [M, P] of the N scores with E[S̃ᵀS̃ / M] = SᵀS / N, from `num_rows` reverse passes.

    Takes the place of the scores where N reverse passes are too many: a Fisher matrix of rank M at the price of the
    Wasserstein one. `log_probs` [N] as recorded by the persistent `tape`; `seed` as in `KernelBasis.sample`.
    """
    count = log_probs.shape[0]
    bits = tf.random.stateless_uniform(
        [num_rows, count], stateless_seed(seed), minval=0, maxval=2, dtype=tf.int32, alg="philox"
    )
    signs = tf.cast(2 * bits - 1, log_probs.dtype) / count**0.5
    return pullback(tape, log_probs, signs, variables, name="log_probs")


def fisher_natural_gradient(
    gradient: tf.Tensor,
    scores: tf.Tensor | LayerScores | DenseRows,
    epsilon: float | tf.Tensor,
    diagonal: bool = False,
    *,
    diagnose: bool | tf.Tensor = True,
) -> NaturalGradient:
    """Solves (F + ε D⁻¹) g_F = g with the empirical Fisher matrix F = SᵀS / N, from scores S [N, P].

    `natural_gradient` with the scores in place of J and N·I in place of L: same diagnostics, same errors. `LayerScores` give
    the same direction as the matrix that they stand for, and sooner.
    """
    gradient = tf.convert_to_tensor(gradient)
    rows = scores if isinstance(scores, LayerScores | DenseRows) else DenseRows(tf.convert_to_tensor(scores))
    epsilon = scalar(epsilon, tf.float64)
    check_problem("fisher_natural_gradient", gradient, rows, epsilon)
    count = tf.shape(rows.tensors()[0])[0]
    whitening = tf.math.rsqrt(tf.cast(count, tf.float64))
    return damped_solve(
        "fisher_natural_gradient",
        gradient,
        rows,
        whitening,
        epsilon,
        diagonal,
        product_type=rows.dtype,
        rank=count,
        valid=tf.constant(True),
        diagnose=diagnose,
    )


def metric_vector_product(
    outputs: Callable[[], Sequence[tf.Tensor]],
    variables: Sequence[tf.Tensor],
    metric: Callable[[Sequence[tf.Tensor]], Sequence[tf.Tensor]] = lambda tangents: tangents,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function v [P] → (1/N) Σ_n J_nᵀ A_n J_n v [P]: a metric on the outputs, pulled back to the variables.

    `outputs()` computes tensors [N, ...] from the variables; `metric` maps tangents of theirs to cotangents (A_n, by
    default the identity). One forward-mode and one reverse pass a call. For a Gaussian policy with outputs mean and
    standard deviation the identity gives the exact Wasserstein metric of the actions, and (1/σ², 2/σ²) the Fisher.
    """
    variables = watchable(variables)

    def product(vector: tf.Tensor) -> tf.Tensor:
        tangents = unflatten(vector, variables)
        with tf.GradientTape() as tape:
            tape.watch(variables)
            with tf.autodiff.ForwardAccumulator(variables, tangents) as accumulator:
                values = list(outputs())
            pushed = [accumulator.jvp(value, unconnected_gradients=tf.UnconnectedGradients.ZERO) for value in values]
        count = tf.cast(tf.shape(values[0])[0], vector.dtype)
        cotangents = [tf.stop_gradient(tangent) / count for tangent in metric(pushed)]
        return flatten(dense_gradient(tape, values, variables, cotangents))

    return product


def fisher_vector_product(
    log_probs: Callable[[], tf.Tensor], variables: Sequence[tf.Tensor]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function v [P] → F v with the empirical Fisher matrix of `log_probs()` [N]; F is never formed."""
    return metric_vector_product(lambda: [log_probs()], variables)


def conjugate_gradient(
    gradient: tf.Tensor,
    product: Callable[[tf.Tensor], tf.Tensor],
    epsilon: float | tf.Tensor,
    iterations: int = 10,
    tolerance: float = 1e-10,
    *,
    quadratic: Callable[[tf.Tensor], tf.Tensor] | None = None,
    diagnose: bool | tf.Tensor = True,
) -> NaturalGradient:
    """Solves (G + ε I) g_G = g approximately, for a metric given by its products v → G v.

    At most `iterations` products; stops where the squared residual falls below `tolerance` times |g|². The diagnostics
    are those of `natural_gradient`, with `iterations` in place of a rank: `residual` is relative to |g|, and
    `condition_number` is the one that the Lanczos coefficients of the iteration show (a lower bound of the true one).

    Args:
      quadratic: v → vᵀ G v, if that costs less than a product: the last iteration needs no more for its step.
      diagnose: False, or a tensor that is: the residual, for which alone the last product is then needed, is left out.
    """
    gradient = tf.convert_to_tensor(gradient)
    epsilon = scalar(epsilon, gradient.dtype)
    require_finite("conjugate_gradient", gradient=gradient, epsilon=epsilon)
    squared_norm = _dot(gradient, gradient)
    one = tf.ones_like(squared_norm)

    def going(step: tf.Tensor, at: _Iterate) -> tf.Tensor:
        return (step < whole) & (at.rho > tolerance * squared_norm)

    def body(step: tf.Tensor, at: _Iterate) -> tuple[tf.Tensor, _Iterate]:
        image = product(at.search) + epsilon * at.search
        alpha, at = _step(at, _dot(at.search, image))
        residual = at.residual - alpha * image
        rho = _dot(residual, residual)
        return step + 1, at._replace(residual=residual, search=residual + (rho / at.rho) * at.search, rho=rho)

    whole = iterations if quadratic is None else iterations - 1
    extremes = one * gradient.dtype.min, one * gradient.dtype.max
    start = _Iterate(tf.zeros_like(gradient), gradient, gradient, squared_norm, *extremes)
    steps, at = tf.while_loop(going, body, (0, start))
    if quadratic is not None:
        left = at.rho > tolerance * squared_norm
        _, last = _step(at, quadratic(at.search) + epsilon * _dot(at.search, at.search))
        at = _Iterate(*(tf.where(left, after, before) for after, before in zip(last, at, strict=True)))
        steps += tf.cast(left, steps.dtype)

        def measured() -> tf.Tensor:
            defect = gradient - product(at.direction) - epsilon * at.direction
            return tf.where(left, _dot(defect, defect), at.rho)

        if isinstance(diagnose, bool):
            rho = measured() if diagnose else tf.zeros_like(at.rho)
        else:
            rho = tf.cond(diagnose, measured, lambda: tf.zeros_like(at.rho))
    else:
        rho = at.rho
    direction = at.direction
    slope = _dot(gradient, direction)
    squared_length = _dot(direction, direction)
    guarded = slope <= 0.0
    finite = tf.math.is_finite(at.rho) & tf.math.is_finite(squared_length) & tf.math.is_finite(slope) & (epsilon > 0.0)
    if tf.executing_eagerly() and not bool(finite):
        raise ValueError("conjugate_gradient: the iteration met NaN or infinity; check the metric's products.")
    cosine = tf.math.divide_no_nan(slope, tf.sqrt(squared_norm * squared_length))
    direction = tf.where(guarded, gradient, direction)
    return NaturalGradient(
        direction=tf.where(finite, direction, tf.zeros_like(direction)),
        slope=tf.where(finite, tf.where(guarded, squared_norm, slope), 0.0),
        residual=tf.math.divide_no_nan(tf.sqrt(rho), tf.sqrt(squared_norm)),
        rank=None,
        cosine=cosine,
        condition_number=tf.where(steps > 0, at.highest / at.lowest, one),
        guarded=guarded,
        finite=finite,
        iterations=steps,
        epsilon=epsilon,
    )


class _Iterate(NamedTuple):
    """State of the conjugate gradients: x, g - (G + ε I) x and its squared length, and Rayleigh quotients of G + ε I."""

    direction: tf.Tensor
    residual: tf.Tensor
    search: tf.Tensor
    rho: tf.Tensor
    highest: tf.Tensor
    lowest: tf.Tensor


def _step(at: _Iterate, curvature: tf.Tensor) -> tuple[tf.Tensor, _Iterate]:
    """The length of the step along the search direction v, from vᵀ (G + ε I) v, and the state after it but for residuals."""
    alpha = at.rho / curvature
    quotient = curvature / _dot(at.search, at.search)
    return alpha, at._replace(
        direction=at.direction + alpha * at.search,
        highest=tf.maximum(at.highest, quotient),
        lowest=tf.minimum(at.lowest, quotient),
    )


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)
