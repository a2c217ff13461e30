"""From returns to scores, from scores to a gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shape(values: NDArray[np.float64], shaping: str) -> NDArray[np.float64]:
    """Values [N] of a population brought to a common scale.

    "normalized": zero mean, unit standard deviation (all zero where the values are equal). "centred_ranks": ranks
    spread evenly over [-0.5, 0.5], ties sharing their mean rank (Salimans et al. 2017).

    Raises:
      ValueError: another word for `shaping`.
    """
    if shaping == "normalized":
        centred = values - values.mean()
        deviation = values.std()
        # Rounding leaves 1e-16 of the size in the mean, which would show in the scores of values that hardly differ; and the
        # squares of deviations below 1e-150 underflow.
        negligible = deviation <= max(1e-9 * np.abs(values).max(initial=0.0), 1e-140)
        return np.zeros_like(values) if negligible else centred / deviation
    if shaping == "centred_ranks":
        from scipy.stats import rankdata  # which takes as long to load as all else that a run loads before TensorFlow

        return (rankdata(values) - 1.0) / max(len(values) - 1, 1) - 0.5
    raise ValueError(f"shaping is 'normalized' or 'centred_ranks', not '{shaping}'")


def mirrored_gradient(scores: NDArray[np.float64], xi: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """g = (1/(2nσ)) Σ_k (F⁺_k - F⁻_k) ξ_k  [P].

    Estimates the gradient of E[F(θ + σ ξ)]. Eq. 13 prints 1/(Nσ) in front of θ̃ - θ = σ ξ, which is off by a factor σ².

    Args:
      scores: [2n], those of θ + σ ξ_1..n first, then of θ - σ ξ_1..n.
      xi: [n, P].
      sigma: σ.
    """
    plus, minus = np.split(scores, 2)
    return (plus - minus) @ xi / (2 * len(xi) * sigma)
