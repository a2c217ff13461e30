"""How far to go along a direction: to a distance, then back until the loss is better. Both run inside compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

#: How closely the distance is met, relative, and how many more evaluations that may take.
TOLERANCE = 0.005
_TRIES = 8


def length_at(distance: Callable[[tf.Tensor], tf.Tensor], target: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """The step length [] at which `distance(length)` is `target`, within 0.5 % of the target.

    The distance is near c · length², so length ← length · √(target / distance) converges in a few evaluations, the
    faster the smaller the target is. Where the distance stays below the target (it is bounded, or the direction is
    zero), or is not finite, the length grows or shrinks by at most a factor of 4 a try, and the result is what the last
    try gave.
    """

    def body(tries, length, reached):
        factor = tf.sqrt(target / tf.maximum(reached, 1e-3 * target))
        factor = tf.where(tf.math.is_finite(reached), tf.clip_by_value(factor, 0.25, 4.0), 0.25)
        length = length * factor
        return tries + 1, length, distance(length)

    def off(tries, length, reached):
        return (tries < _TRIES) & ~(tf.abs(reached - target) <= TOLERANCE * target)

    return tf.while_loop(off, body, (0, guess, distance(guess)))[1]


class Backtracked(NamedTuple):
    """What a backtracking search settled on; scalars."""

    length: tf.Tensor
    """Of the step that is taken; 0 where none was acceptable."""
    loss: tf.Tensor
    """After that step."""
    backtracks: tf.Tensor
    """How many lengths were refused, int32."""
    accepted: tf.Tensor
    """Whether a step is taken."""


def backtrack(
    evaluate: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    length: tf.Tensor,
    loss: tf.Tensor,
    bound: tf.Tensor,
    *,
    shrink: float,
    tries: int,
) -> Backtracked:
    """The first of length, shrink · length, ... whose loss is below `loss` and whose distance is within `bound`.

    `evaluate(length)` gives loss and distance there. At most `tries` lengths are refused before the step is given up.
    """

    def fits(new_loss, distance):
        # Comparisons with NaN are false, so a length that breaks the loss is refused.
        return (new_loss < loss) & (distance <= bound * (1.0 + 2.0 * TOLERANCE))

    def body(refused, length, new_loss, accepted):
        length = length * shrink
        new_loss, distance = evaluate(length)
        return refused + 1, length, new_loss, fits(new_loss, distance)

    def refused_so_far(refused, length, new_loss, accepted):
        return (refused < tries) & ~accepted

    first, distance = evaluate(length)
    start = (0, length, first, fits(first, distance))
    refused, length, new_loss, accepted = tf.while_loop(refused_so_far, body, start)
    refused = tf.where(accepted, refused, refused + 1)
    return Backtracked(
        tf.where(accepted, length, tf.zeros_like(length)), tf.where(accepted, new_loss, loss), refused, accepted
    )
