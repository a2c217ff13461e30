"""Gradient ascent with explicit state: Adam, momentum, SGD (as Keras computes them, with the sign turned)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OPTIMIZERS = ("adam", "momentum", "sgd")
BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9


class Slots(NamedTuple):
    """What an optimizer remembers; float64."""

    count: int  # type: ignore[assignment]  # the name of a tuple's method, which nobody calls
    """Steps taken."""
    first: NDArray[np.float64]
    """[P], mean of gradients (Adam) or velocity (momentum)."""
    second: NDArray[np.float64]
    """[P], mean of squared gradients (Adam)."""


def initial(size: int) -> Slots:
    """Slots before the first step, for P = `size` parameters."""
    return Slots(0, np.zeros(size), np.zeros(size))


def ascent(optimizer: str, slots: Slots, gradient: NDArray[np.float64], lr: float) -> tuple[Slots, NDArray[np.float64]]:
    """One step uphill along `gradient` [P]: the new slots, and the step [P] to add to the parameters.

    Raises:
      ValueError: an unknown optimizer.
    """
    count = slots.count + 1
    if optimizer == "adam":
        first = BETA_1 * slots.first + (1 - BETA_1) * gradient
        second = BETA_2 * slots.second + (1 - BETA_2) * np.square(gradient)
        rate = lr * np.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
        return Slots(count, first, second), rate * first / (np.sqrt(second) + ADAM_EPSILON)
    if optimizer == "momentum":
        first = MOMENTUM * slots.first + lr * gradient
        return Slots(count, first, slots.second), first
    if optimizer == "sgd":
        return Slots(count, slots.first, slots.second), lr * gradient
    raise ValueError(f"optimizer is one of {', '.join(OPTIMIZERS)}, not '{optimizer}'")
