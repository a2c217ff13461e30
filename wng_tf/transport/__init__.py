"""Wasserstein distances: fitted test functions, and closed forms between Gaussians."""

from __future__ import annotations

from wng_tf.transport.dual import fit, fit_in_feature_space, transport_estimate
from wng_tf.transport.gaussian import kl_diagonal, squared_w2, squared_w2_diagonal
from wng_tf.transport.kernels import GaussianKernel, RandomFeatures
from wng_tf.transport.scale import DualSettings, mean_squared_distance, scaled_settings

__all__ = [
    "DualSettings",
    "GaussianKernel",
    "RandomFeatures",
    "fit",
    "fit_in_feature_space",
    "kl_diagonal",
    "mean_squared_distance",
    "scaled_settings",
    "squared_w2",
    "squared_w2_diagonal",
    "transport_estimate",
]
