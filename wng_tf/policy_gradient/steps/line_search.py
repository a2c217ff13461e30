"""How far to go along a direction: to a distance, then back until the loss is better. Both run inside compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

#: How closely the distance is met, relative, and how many evaluations that may take.
TOLERANCE = 0.005
_TRIES = 8


def length_at(distance: Callable[[tf.Tensor], tf.Tensor], target: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """The step length [] at which `distance(length)` is `target`, within 0.5 % of the target.

    The distance is near c · length², so the first try corrects the guess by √(target / distance), and later ones by the
    exponent that the last two show in place of 2. Where the distance stays below the target (it is bounded, or the
    direction is zero), or is not finite, the length grows or shrinks by at most a factor of 4 a try, and the result is
    what the last try gave.
    """

    def body(tries, length, met, last_length, last_reached):
        reached = distance(length)
        met = tf.abs(reached - target) <= TOLERANCE * target
        exponent = tf.math.log(reached / last_reached) / tf.math.log(length / last_length)
        exponent = tf.where(tf.math.is_finite(exponent) & (tries > 0), tf.clip_by_value(exponent, 1.0, 10.0), 2.0)
        factor = tf.pow(target / tf.maximum(reached, 1e-3 * target), 1.0 / exponent)
        factor = tf.where(tf.math.is_finite(reached), tf.clip_by_value(factor, 0.25, 4.0), 0.25)
        return tries + 1, tf.where(met, length, length * factor), met, length, reached

    start = (0, guess, tf.constant(False), guess, tf.zeros_like(guess))
    return tf.while_loop(lambda tries, length, met, *_: (tries < _TRIES) & ~met, body, start)[1]


class Backtracked(NamedTuple):
    """What a backtracking search settled on; scalars."""

    length: tf.Tensor
    """Of the step that is taken; 0 where none was acceptable."""
    loss: tf.Tensor
    """After that step."""
    distance: tf.Tensor
    """What `evaluate` gave there, 0 where no step is taken."""
    backtracks: tf.Tensor
    """How many lengths were refused, int32."""
    accepted: tf.Tensor
    """Whether a step is taken."""


def backtrack(
    evaluate: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
    length: tf.Tensor,
    loss: tf.Tensor,
    bound: tf.Tensor,
    *,
    shrink: float,
    tries: int,
) -> Backtracked:
    """The first of length, shrink · length, ... whose loss is below `loss` and whose total distance is within `bound`.

    `evaluate(length)` gives the loss, the step's own distance, and the total distance that is bounded. After `tries`
    refusals of a shorter length the step is given up.
    """
    zero = tf.zeros_like(length)

    def body(refused, length, found):
        new_loss, distance, total = evaluate(length)
        # Comparisons with NaN are false, so a length that breaks the loss is refused.
        accepted = (new_loss < loss) & (total <= bound * (1.0 + 2.0 * TOLERANCE))
        found = Backtracked(
            length=tf.where(accepted, length, zero),
            loss=tf.where(accepted, new_loss, loss),
            distance=tf.where(accepted, distance, zero),
            backtracks=tf.where(accepted, refused, refused + 1),
            accepted=accepted,
        )
        return refused + 1, length * shrink, found

    start = Backtracked(zero, loss, zero, tf.constant(0), tf.constant(False))
    return tf.while_loop(lambda refused, length, found: (refused <= tries) & ~found.accepted, body, (0, length, start))[2]
