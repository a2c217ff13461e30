"""How far a perturbation's behaviour is from earlier behaviour: the second score of BGES, BG-WNES and NSR-ES.

One rollout gives one embedding x, so a perturbed policy's behaviour is a point mass, and its squared distance W2² to
the earlier policies' behaviours y_1..k has a closed form: transport from a point leaves no choice, mean_j |x - y_j|².
The paper estimates it with test functions in the span of random features (Pacchiano et al. 2019, Algorithm 1).

The two are not the same thing in practice. Scores are normalized over the population, so what counts is the order and
the shape of the distances. Test functions that are fitted until they converge follow W2² (a test: rank correlation
above 0.95 with the defaults of `fitted_transport`). With the released constants s = 0.1, γ = 1 and 25 steps of 0.05 they
say nothing of the points between the samples, and the dual stops to grow two metres away from the past (a test, too): a
bounded distance, a novelty that only sees whether one has been here before. On Point that is what makes BGES work: with
W2 or W2² at equal weight with the return, repulsion pulls the policy away from its past for ever, and it ends between
-780 and -2000; with the bounded distance between -580 and -670 (250 000 steps, three selection seeds).

So there are four distances: `kernel`, a bounded one in closed form and the default, `w2`, `w2_squared`, and
`test_functions`.

NSR-ES (Conti et al. 2018) takes the mean distance to the k nearest embeddings in an archive of earlier policies.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from wng_tf.evolution.config import EvolutionConfig
from wng_tf.transport import GaussianKernel, RandomFeatures, fit


def squared_distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """|x_n - y_k|² [N, K] for x [N, d], y [K, d]."""
    return np.square(x[:, np.newaxis, :] - y).sum(axis=-1)


def point_transport(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """W2² [N] between the point mass at x_n and the uniform distribution on y [K, d]: mean_k |x_n - y_k|²."""
    return squared_distances(x, y).mean(axis=1)


def kernel_distance(x: NDArray[np.float64], y: NDArray[np.float64], bandwidth: float = 0.0) -> NDArray[np.float64]:
    """1 - mean_k exp(-|x_n - y_k|² / (2 s²)) [N]: a distance that stops to grow beyond the bandwidth s.

    Args:
      bandwidth: s, in the embeddings' unit; 0: such that s² is a hundredth of the mean squared distance.
    """
    cost = squared_distances(x, y)
    squared = bandwidth**2 if bandwidth else 0.01 * float(cost.mean())
    return 1.0 - np.exp(-0.5 * cost / (squared or 1.0)).mean(axis=1)


def novelty(x: NDArray[np.float64], archive: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Mean distance [N] from x_n [N, d] to its k nearest in `archive` [A, d], or to all of a smaller archive."""
    distances = np.sqrt(squared_distances(x, archive))
    return np.sort(distances, axis=1)[:, :k].mean(axis=1)


_compiled_fit = tf.function(fit, autograph=False)


def fitted_transport(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    num_features: int,
    seed: int,
    bandwidth: float = 0.0,
    gamma: float = 0.0,
    step_size: float = 0.7,
    steps: int = 25,
) -> NDArray[np.float64]:
    """Estimates of W2² [N] between the point mass at x_n and y [K, d], by test functions fitted to the whole
    population.

    One pair of test functions is fitted between x [N, d] and y; the dual of Eq. 4 is then read off at each point:
    λ₁(x_n) + E[λ₂(y)] - γ E_k[exp((λ₁(x_n) + λ₂(y_k) - |x_n - y_k|²)/γ)] + γ.

    Args:
      num_features: R of the random Fourier features; 0: the Gaussian kernel itself.
      seed: of the features.
      bandwidth: s of the kernel, in the embeddings' unit; 0: the root of the mean squared distance.
      gamma: entropic regularisation, in the squared unit; 0: 0.3 times the mean squared distance.
      step_size: of the ascent, in units of γ.
      steps: of the ascent.
    """
    cost = squared_distances(x, y)
    scale = float(cost.mean()) or 1.0
    # In units in which the mean squared distance is one.
    unit = np.sqrt(scale)
    x, y, cost = x / unit, y / unit, cost / scale
    gamma = gamma / scale if gamma else 0.3
    bandwidth = bandwidth / unit if bandwidth else 1.0
    kernel = RandomFeatures.sample(x.shape[1], num_features, bandwidth, seed) if num_features else GaussianKernel(bandwidth)
    both = kernel.gram(tf.constant(np.concatenate([x, y]))).numpy()
    gram_x, gram_y = both[: len(x), : len(x)], both[len(x) :, len(x) :]
    weights_x, weights_y = _compiled_fit(
        *map(tf.constant, (gram_x, gram_y, cost)),
        gamma=tf.constant(gamma, tf.float64),
        step_size=tf.constant(step_size * gamma, tf.float64),
        steps=steps,
    )
    lambda_x, lambda_y = gram_x @ weights_x.numpy(), gram_y @ weights_y.numpy()
    excess = np.exp(np.minimum((lambda_x[:, np.newaxis] + lambda_y - cost) / gamma, 20.0)).mean(axis=1)
    return scale * (lambda_x + lambda_y.mean() + gamma * (1.0 - excess))


class Repulsion(abc.ABC):
    """The second score of a perturbation: how far its behaviour is from earlier behaviour. One table, `parts.REPULSIONS`."""

    repels = True
    """False: perturbations are scored by their returns alone, and it is never called."""

    def __init__(self, config: EvolutionConfig):
        self.config = config

    @property
    def memory(self) -> int:
        """How many earlier policies it is to be given."""
        return self.config.num_previous

    @abc.abstractmethod
    def __call__(self, x: NDArray[np.float64], past: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """Distances D [2n] of the population's embeddings X [2n, d] to those of earlier policies [k, d], oldest first, k > 0.

        `seed` is of whatever is random in them, another in every generation.
        """


class NoRepulsion(Repulsion):
    """Returns alone."""

    repels = False

    def __call__(self, x: NDArray[np.float64], past: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        raise NotImplementedError("there is no distance without repulsion")


class NoveltyRepulsion(Repulsion):
    """`novelty` against an archive."""

    @property
    def memory(self) -> int:
        return self.config.archive_size

    def __call__(self, x: NDArray[np.float64], past: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        return novelty(x, past, self.config.novelty_k)


class WassersteinRepulsion(Repulsion):
    """One of four distances to the last policies, `config.distance`."""

    def __call__(self, x: NDArray[np.float64], past: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        config = self.config
        distances: dict[str, Callable[[], NDArray[np.float64]]] = {
            "kernel": lambda: kernel_distance(x, past, config.bandwidth),
            "w2": lambda: np.sqrt(point_transport(x, past)),
            "w2_squared": lambda: point_transport(x, past),
            "test_functions": lambda: fitted_transport(
                x,
                past,
                num_features=config.num_features,
                seed=seed,
                bandwidth=config.bandwidth,
                gamma=config.gamma_w,
                step_size=config.inner_lr,
                steps=config.inner_steps,
            ),
        }
        return distances[config.distance]()
