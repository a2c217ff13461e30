"""The damping ε, adapted to how well the step's prediction came true (Arbel et al. 2020; Appendix D.1)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

__all__ = ["DampingState", "initial", "reduction_ratio", "update"]

LOWEST, HIGHEST = 1e-10, 1e5
FACTOR = 0.85
POOR, GOOD = 0.25, 0.75
PERIOD = 5


class DampingState(NamedTuple):
    """What the rule remembers between steps; three scalar tensors."""

    epsilon: tf.Tensor
    """ε, the damping to use now."""
    best_ratio: tf.Tensor
    """The largest reduction ratio since ε was last looked at."""
    count: tf.Tensor
    """Steps since then, int32."""


def initial(epsilon: float = 1e-5, dtype: tf.DType = tf.float32) -> DampingState:
    """The state before the first step. Raises ValueError where ε is outside [1e-10, 1e5]."""
    if not LOWEST <= epsilon <= HIGHEST:
        raise ValueError(f"damping: epsilon is {epsilon}, but must lie in [{LOWEST}, {HIGHEST}].")
    return DampingState(tf.constant(epsilon, dtype), tf.constant(float("-inf"), dtype), tf.constant(0, tf.int32))


def reduction_ratio(loss_old: tf.Tensor, loss_new: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """ρ = 2 (𝓛_old - 𝓛_new) / predicted: 1 where the quadratic model of the loss holds.

    Both losses on the *same* minibatch, before and after the step. `predicted` is the linear decrease λ gᵀ g_W, or
    -gᵀΔθ where an optimiser has rescaled the step. A loss that is not finite after the step gives -inf (the step
    failed); a step that predicts nothing (zero gradient) gives NaN, which `update` passes over.
    """
    predicted = tf.convert_to_tensor(predicted)
    ratio = tf.math.divide_no_nan(2.0 * (loss_old - loss_new), predicted)
    nan = tf.constant(float("nan"), predicted.dtype)
    ratio = tf.where(predicted == 0.0, nan, ratio)
    return tf.where(tf.math.is_finite(loss_new), ratio, tf.constant(float("-inf"), predicted.dtype))


def update(state: DampingState, ratio: tf.Tensor, *, period: int = PERIOD, only_shrink: bool = False) -> DampingState:
    """One step of the rule: every `period` steps, look at the largest ratio among them.

    Below 0.25 the model was poor and ε grows to ε / 0.85; above 0.75 it was good and ε shrinks to 0.85 ε; within
    [1e-10, 1e5]. A ratio of NaN is passed over: the state comes back as it was.

    `only_shrink` repeats the code released with the paper, in which the branch that raises ε has no effect.
    """
    epsilon, best_ratio, count = state
    ratio = tf.cast(ratio, best_ratio.dtype)
    best = tf.maximum(best_ratio, ratio)
    count = count + 1
    due = count >= period
    factor = tf.where(best > GOOD, FACTOR, tf.where(best < POOR, 1.0 if only_shrink else 1.0 / FACTOR, 1.0))
    changed = tf.clip_by_value(epsilon * tf.cast(factor, epsilon.dtype), LOWEST, HIGHEST)
    new = DampingState(
        tf.where(due, changed, epsilon),
        tf.where(due, tf.constant(float("-inf"), best.dtype), best),
        tf.where(due, 0, count),
    )
    known = tf.logical_not(tf.math.is_nan(ratio))
    return DampingState(*(tf.where(known, after, before) for after, before in zip(new, state, strict=True)))
