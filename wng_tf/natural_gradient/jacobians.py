"""The Jacobian J of the expected basis functions, three ways (Eqs. 10, 11 and 14).

All three are M weighted sums of derivatives, so the first two share one reverse pass over a stack of M cotangents:
what `tf.GradientTape.jacobian` does, but started at the embeddings, where the cotangents are known in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from wng_tf.natural_gradient.scalars import scalar

__all__ = [
    "dense_gradient",
    "evolution_jacobian",
    "flatten",
    "pullback",
    "reparameterised_jacobian",
    "score_jacobian",
    "unflatten",
]


def flatten(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """One vector [P] from the list of tensors (of one type), row-major, in the order given."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def unflatten(vector: tf.Tensor, variables: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The inverse of `flatten`: cuts the vector [P] into tensors with the shapes of the variables."""
    sizes = [variable.shape.num_elements() for variable in map(_shaped, variables)]
    return [tf.reshape(piece, variable.shape) for piece, variable in zip(tf.split(vector, sizes), variables, strict=True)]


def pullback(
    tape: tf.GradientTape,
    outputs: tf.Tensor,
    cotangents: tf.Tensor,
    variables: Sequence[tf.Tensor],
    *,
    name: str = "outputs",
) -> tf.Tensor:
    """[M, P]: row m is Σ cotangents[m] · ∂outputs/∂variables, for cotangents [M, *outputs.shape].

    `tape` must be persistent and have recorded the outputs. Variables (of TensorFlow or Keras) that they do not depend on
    give zeros; `name` is what the outputs are called where they depend on none of them.

    Raises:
      ValueError: the tape is not persistent, or has not seen the outputs depend on any of the variables; or the outputs do
        not have the shape that the cotangents are for, to which they would be broadcast.
    """
    if not tape._persistent:  # the tape has no public attribute for it, and its own message comes one call too late
        raise ValueError("The tape is used more than once: open it as tf.GradientTape(persistent=True).")

    expected, shape = cotangents.shape[1:], tf.convert_to_tensor(outputs).shape
    if not shape.is_compatible_with(expected):
        raise ValueError(f"`{name}` has the shape {shape.as_list()}, where {expected.as_list()} is expected.")
    variables = list(variables)
    unseen = False

    def dense_row(row: tf.Tensor) -> list[tf.Tensor]:
        nonlocal unseen
        gradients = tape.gradient(outputs, variables, output_gradients=row)
        unseen = _none(gradients)
        return _filled(gradients, variables)

    num_rows = tf.shape(cotangents)[0]
    rows = tf.vectorized_map(dense_row, cotangents)
    if unseen:  # raised here, because an error inside of the map would come with the map's own text around it
        raise _unseen(name)
    return tf.concat([tf.reshape(block, [num_rows, -1]) for block in rows], axis=1)


def dense_gradient(
    tape: tf.GradientTape,
    outputs: tf.Tensor,
    variables: Sequence[tf.Tensor],
    cotangents: tf.Tensor | None = None,
    *,
    name: str | None = None,
) -> list[tf.Tensor]:
    """`tape.gradient` with zeros for variables that the outputs do not depend on, and no sparse slices.

    Raises:
      ValueError: they depend on none, and have a `name`.
    """
    variables = list(variables)
    gradients = tape.gradient(outputs, variables, output_gradients=cotangents)
    if name is not None and _none(gradients):
        raise _unseen(name)
    return _filled(gradients, variables)


def reparameterised_jacobian(
    tape: tf.GradientTape,
    embeddings: tf.Tensor,
    basis_gradients: tf.Tensor,
    variables: Sequence[tf.Tensor],
) -> tf.Tensor:
    """J [M, P] where the embeddings X = B_θ(Z) are a differentiable function of the variables (Eq. 10, left).

    J_m = (1/N) Σ_n ∇h_m(X_n)ᵀ ∂X_n/∂θ, from the embeddings [N, d] that the persistent `tape` has recorded and
    C = basis.gradients(embeddings) [M, N, d]. Equal to `tape.jacobian` of the mean of `basis(embeddings)`. Raises as
    `pullback` does.
    """
    return pullback(tape, embeddings, basis_gradients / _count(embeddings), variables, name="embeddings")


def score_jacobian(
    tape: tf.GradientTape, log_probs: tf.Tensor, values: tf.Tensor, variables: Sequence[tf.Tensor]
) -> tf.Tensor:
    """J [M, P] from the score alone (Eq. 10, right): for embeddings that no gradient can pass through.

    J_m = (1/N) Σ_n (h_m(X_n) - h̄_m) ∂ log q_θ(X_n)/∂θ, from log_probs [N] that the persistent `tape` has recorded
    and the basis' values h [M, N]. Subtracting the mean h̄_m leaves the expectation and cuts the variance. The
    log-probability of a trajectory's actions may stand for that of its embedding. Raises as `pullback` does.
    """
    return pullback(tape, log_probs, _centred(values) / _count(log_probs), variables, name="log_probs")


def evolution_jacobian(
    perturbations: tf.Tensor, values: tf.Tensor, sigma: float | tf.Tensor, *, mirrored: bool = False
) -> tf.Tensor:
    """J [M, P] for evolution strategies, θ̃ = θ + σ ξ (Eq. 14, with the factor that the printed one lacks).

    J_m = (1/(N σ)) Σ_n (h_m(X_n) - h̄_m) ξ_n, from perturbations ξ [N, P] ~ N(0, I) and values h [M, N]; sigma in
    the unit of the parameters. Eq. 14 prints 1/(N σ) in front of θ̃ - θ = σ ξ; the score of N(θ, σ² I) is
    (θ̃ - θ)/σ², so the factor there must be 1/(N σ²).

    Mirrored: values [M, 2N] hold θ + σ ξ_1..ξ_N first, then θ - σ ξ_1..ξ_N;  J_m = (1/(2 N σ)) Σ_k (h⁺ - h⁻) ξ_k.
    """
    if mirrored:
        plus, minus = tf.split(values, 2, axis=1)
        weights = 0.5 * (plus - minus)
    else:
        weights = _centred(values)
    return tf.matmul(weights, perturbations) / (_count(perturbations) * scalar(sigma, perturbations.dtype))


def watchable(variables: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Tensors and tf.Variables, which `tape.watch` and ForwardAccumulator take, for Keras variables, which they do not."""
    return [v if isinstance(v, tf.Tensor | tf.Variable) else v.value for v in variables]


def _none(gradients: Sequence[tf.Tensor | None]) -> bool:
    return all(gradient is None for gradient in gradients)


def _unseen(name: str) -> ValueError:
    return ValueError(
        f"`{name}` was computed outside of the tape, or without the variables: the tape has not seen it depend on any of "
        "them. Compute it inside `with tf.GradientTape(persistent=True) as tape:`, from these variables, with operations "
        "that have a gradient."
    )


def _filled(gradients: Sequence[tf.Tensor | None], variables: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Zeros for None. They are made here, because `UnconnectedGradients.ZERO` does not know Keras' variables."""
    return [
        tf.zeros(variable.shape, variable.dtype) if gradient is None else tf.convert_to_tensor(gradient)
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def _centred(values: tf.Tensor) -> tf.Tensor:
    values = tf.stop_gradient(values)
    return values - tf.reduce_mean(values, axis=1, keepdims=True)


def _count(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(tensor)[0], tensor.dtype)


def _shaped(variable: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(variable.shape)
