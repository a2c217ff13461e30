"""Distances between policies at a state, and the metrics that they induce on the distributions' parameters.

A geometry measures how far one distribution of actions is from another, D(p, q), and gives the matrix A(p) of its
second order, D(p, p + dp) = curvature · dpᵀ A dp + o(|dp|²), in the coordinates of `Pd.flat`. Averaged over states and
pulled back through the network, A becomes the metric of the parameters: G = E_s[Jᵀ A J]. The geometries of a policy are
those of its action head.

| geometry | policy | D | A | curvature |
|---|---|---|---|---|
| Fisher | both | KL(p, q) | Fisher information | 1/2 |
| Wasserstein | Gaussian, flat = (μ, log σ) | |Δμ|² + |Δσ|², which is W2² | diag(1, σ²) | 1 |
| Wasserstein | categorical, flat = logits | energy of the straight line from p to q | F L(p)† F | 1 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf


class Geometry(NamedTuple):
    """How far policies are apart. The functions take `Pd.flat` parameters [B, params]."""

    name: str
    """Of the distance: "kl" or "wasserstein"."""
    distance: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """D(p, q) [B] of the parameters of p and q; of squared actions for "wasserstein", of nats for "kl"."""
    metric: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """A(p) dp [B, params] of the parameters of p and a tangent dp of theirs."""
    curvature: float
    """D = curvature · dpᵀ A dp to second order."""
    unit: Callable[[tf.Tensor], tf.Tensor]
    """What a scale-free radius is a multiple of []: the mean action variance for "wasserstein", 1 for "kl"."""
