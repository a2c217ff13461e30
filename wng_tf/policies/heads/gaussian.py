"""Diagonal Gaussian actions: a Box of real numbers, or of whole ones that are rounded.

`Pd.flat` is (mean, log standard deviation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actor import GaussianHead
from baselines_compat.conform import size_of
from wng_tf.policies.geometry import Geometry
from wng_tf.policies.heads.base import StochasticHead
from wng_tf.policies.lazy import Lazy

if TYPE_CHECKING:
    import tensorflow as tf

else:
    tf = Lazy("tensorflow")


class Gaussian(GaussianHead, StochasticHead):
    """Independent Gaussians, whose standard deviations do not depend on the state."""

    reparameterised = True

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.Box)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Gaussian:
        return cls(size_of(space), **settings)

    @property
    def geometries(self) -> Mapping[str, Geometry]:
        return GEOMETRIES

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Standard normal."""
        return rng.standard_normal(size=(*shape, self.size))

    def drawn(self, pd: Any, noise: tf.Tensor) -> tf.Tensor:
        return pd.mean[:, tf.newaxis] + pd.std[:, tf.newaxis] * noise

    def log_prob_of_drawn(self, pd: Any, drawn: tf.Tensor) -> tf.Tensor:
        """Up to a constant."""
        drawn = tf.stop_gradient(drawn)
        mean, std = pd.mean[:, tf.newaxis], pd.std[:, tf.newaxis]
        per_action = -0.5 * tf.square((drawn - mean) / std) - tf.math.log(std)
        return tf.reduce_sum(per_action, axis=[1, 2])

    def acts(self, outputs: NDArray[np.float32], perturbations: NDArray[Any]) -> NDArray[Any]:
        actions: NDArray[Any] = outputs + perturbations
        return actions

    def log_prob(self, outputs: NDArray[np.float32], free: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[Any]:
        scaled = (np.asarray(actions, np.float32) - outputs) * np.exp(-free)
        log_prob: NDArray[Any] = -0.5 * np.square(scaled).sum(axis=-1) - free.sum() - 0.5 * self.size * np.log(2.0 * np.pi)
        return log_prob.astype(np.float32)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs

    def sample_tensor(self, outputs: tf.Tensor, free: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        return outputs + tf.exp(free) * tf.random.stateless_normal(tf.shape(outputs), seed)


# ---- geometries --------------------------------------------------------------------------------------------


def gaussian_kl(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """KL(old, new) [B]."""
    (old_mean, old_logstd), (mean, logstd) = _halves(old), _halves(new)
    spread = 2.0 * (old_logstd - logstd)
    # e^x - 1 - x in place of ratio - 1 - log ratio: the same, with less cancellation near 0.
    terms = tf.math.expm1(spread) - spread + tf.square((mean - old_mean) * tf.exp(-logstd))
    return 0.5 * tf.reduce_sum(terms, axis=-1)


def gaussian_fisher(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
    """A = diag(1/σ², 2)."""
    _, logstd = _halves(flat)
    along_mean, along_logstd = _halves(tangent)
    return tf.concat([tf.exp(-2.0 * logstd) * along_mean, 2.0 * along_logstd], axis=-1)


def gaussian_w2(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """W2² [B] = |Δμ|² + |Δσ|²."""
    (old_mean, old_logstd), (mean, logstd) = _halves(old), _halves(new)
    wider = tf.exp(old_logstd) * tf.math.expm1(logstd - old_logstd)
    return tf.reduce_sum(tf.square(mean - old_mean) + tf.square(wider), axis=-1)


def gaussian_wasserstein(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
    """A = diag(1, σ²), as dσ = σ d(log σ)."""
    _, logstd = _halves(flat)
    along_mean, along_logstd = _halves(tangent)
    return tf.concat([along_mean, tf.exp(2.0 * logstd) * along_logstd], axis=-1)


def gaussian_variance(flat: tf.Tensor) -> tf.Tensor:
    """Variance of an action's coordinate, averaged over coordinates and states."""
    return tf.reduce_mean(tf.exp(2.0 * _halves(flat)[1]))


def _halves(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    mean, logstd = tf.split(flat, 2, axis=-1)
    return mean, logstd


def _one(flat: tf.Tensor) -> tf.Tensor:
    return tf.ones([], flat.dtype)


GEOMETRIES: Mapping[str, Geometry] = {
    "kl": Geometry("kl", gaussian_kl, gaussian_fisher, 0.5, _one),
    "wasserstein": Geometry("wasserstein", gaussian_w2, gaussian_wasserstein, 1.0, gaussian_variance),
}
