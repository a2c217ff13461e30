"""The toy problem of Section 3.1 and Appendix D.3: a Gaussian is moved to the maximum of a sum of sincs.

q = N(μ, Σ) with Σ diagonal; minimised is L = E_q[ψ(x)], ψ(x) = Σ_i (1 - sin x_i / x_i) (Eqs. 19 and 20; the paper
prints the sign of a maximisation). Nothing is sampled: E[sin x / x] = ∫₀¹ cos(tμ) exp(-t² Σ / 2) dt, which
Gauss-Legendre quadrature gives to rounding. NumPy in float64. Arrays are [runs, dimensions]: runs that differ in
step size or penalty go side by side.

With g_Σ = ∂L/∂Σ_ii, every method becomes free of divisions that underflow as Σ → 0:

| parameterisation | v → Σ | Euclidean | WNG | FNG |
|---|---|---|---|---|
| diagonal | Σ_ii = v_i | g_Σ | 4 Σ g_Σ | 2 Σ² g_Σ |
| log-diagonal | Σ_ii = exp(2 v_i) | 2 Σ g_Σ | Σ⁻¹ (2 Σ g_Σ) = 2 g_Σ | ½ (2 Σ g_Σ) = Σ g_Σ |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

Method = Literal["sgd", "wng", "fng", "w2_penalty", "kl_penalty"]
Parameterisation = Literal["log_diagonal", "diagonal"]

METHODS: tuple[Method, ...] = ("sgd", "wng", "fng", "w2_penalty", "kl_penalty")
PARAMETERISATIONS: tuple[Parameterisation, ...] = ("log_diagonal", "diagonal")

#: Largest |μ_i| and standard deviation at which the quadrature is trusted; a run that leaves this range has diverged.
REACH = 60.0
#: A step of the diagonal parameterisation may shrink a variance at most to this part of it (see `step_variances`).
SHRINKAGE = 0.1
#: And never below this: its share of the loss, v/6, is far below rounding.
SMALLEST_VARIANCE = 1e-30


def _gauss_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    t, weights = np.polynomial.legendre.leggauss(nodes)
    return (t + 1.0) / 2.0, weights / 2.0


# Up to which |μ| and standard deviation each rule is exact to rounding: 64 nodes everywhere, fewer near the optimum.
_RULES = tuple((reach, _gauss_legendre(nodes)) for reach, nodes in ((0.3, 8), (3.0, 16), (12.0, 32), (np.inf, 64)))


def loss(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """L [...], summed over the last axis, for mean and variance [..., d]; accurate relative to its own size."""
    return _by_rule(_coordinate_loss, mean, variance)[0].sum(axis=-1)


def gradients(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """∂L/∂μ and ∂L/∂Σ_ii, both [..., d]."""
    by_mean, by_variance = _by_rule(_coordinate_gradients, mean, variance)
    return by_mean, by_variance


def _coordinate_loss(mean: np.ndarray, variance: np.ndarray, t: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # 1 - e c = (1 - e) + e (1 - c), each without cancellation.
    exponent = -0.5 * variance * t**2
    return ((2.0 * np.exp(exponent) * np.sin(0.5 * mean * t) ** 2 - np.expm1(exponent)) @ weights)[np.newaxis]


def _coordinate_gradients(mean: np.ndarray, variance: np.ndarray, t: np.ndarray, weights: np.ndarray) -> np.ndarray:
    angle = mean * t
    damped = np.exp(-0.5 * variance * t**2)
    return np.stack([(damped * np.sin(angle)) @ (weights * t), (damped * np.cos(angle)) @ (0.5 * weights * t**2)])


def _by_rule(integral: Callable[..., np.ndarray], mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The integrals [k, ...] of each coordinate, with as many nodes as it needs."""
    reach = np.maximum(np.abs(mean), np.sqrt(variance))
    level = np.searchsorted([limit for limit, _ in _RULES], reach)
    first = level.flat[0]
    if (level == first).all():
        return integral(mean[..., np.newaxis], variance[..., np.newaxis], *_RULES[first][1])
    values: np.ndarray | None = None
    for place in np.unique(level):
        chosen = level == place
        part = integral(mean[chosen][:, np.newaxis], variance[chosen][:, np.newaxis], *_RULES[place][1])
        values = np.empty((len(part), *mean.shape)) if values is None else values
        values[:, chosen] = part
    assert values is not None  # there is a coordinate
    return values


def direction(
    method: Method, parameterisation: Parameterisation, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient in (μ, v), in the geometry of the method (closed forms, Eqs. 21-24)."""
    by_mean, by_variance = gradients(mean, variance)
    log = parameterisation == "log_diagonal"
    if method == "wng":
        return by_mean, (2.0 if log else 4.0 * variance) * by_variance
    if method == "fng":
        return variance * by_mean, (variance if log else 2.0 * variance**2) * by_variance
    return by_mean, (2.0 * variance if log else 1.0) * by_variance


def penalty_gradient(
    method: Method,
    parameterisation: Parameterisation,
    mean: np.ndarray,
    variance: np.ndarray,
    old_mean: np.ndarray,
    old_variance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient in (μ, v) of ½ W2²(q_old, q) or of ½ KL(q_old ‖ q)."""
    shift = mean - old_mean
    if method == "w2_penalty":
        std = np.sqrt(variance)
        excess = std - np.sqrt(old_variance)
        return shift, std * excess if parameterisation == "log_diagonal" else 0.5 * excess / std
    by_log_std = 0.5 * (1.0 - (old_variance + shift**2) / variance)
    by_variance = by_log_std if parameterisation == "log_diagonal" else 0.5 * by_log_std / variance
    return 0.5 * shift / variance, by_variance


def step_variances(variance: np.ndarray, change: np.ndarray) -> np.ndarray:
    """v + change, kept positive: a step may take away at most nine tenths of v.

    Gradient steps in Σ_ii = v_i do not know that v > 0. The rule is that of interior-point methods (a fraction of
    the way to the boundary); it leaves every step alone that does not come near zero.
    """
    return np.maximum(np.maximum(variance + change, SHRINKAGE * variance), SMALLEST_VARIANCE)


class History(NamedTuple):
    """What several runs of one method did; R runs, T recorded iterations."""

    iterations: np.ndarray
    """[T]: 0, then about evenly spaced in the logarithm, and the last."""
    loss: np.ndarray
    """[R, T], summed over the dimensions. A diverged run keeps its last value."""
    first_mean: np.ndarray
    """μ₁ [R, T]."""
    first_std: np.ndarray
    """√Σ₁₁ [R, T]."""
    diverged: np.ndarray
    """[R]: whether the run left the range |μ_i|, √Σ_ii ≤ REACH, or produced NaN."""

    def select(self, runs: slice) -> History:
        """Some of the runs."""
        return History(self.iterations, *(part[runs] for part in self[1:]))


def start(dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """μ₀ ~ N(0, 3²) for each coordinate and Σ₀ = 9 I: mean and variance [d]."""
    return np.random.default_rng(seed).normal(0.0, 3.0, dimensions), np.full(dimensions, 9.0)


def record_at(iterations: int, points: int = 120) -> np.ndarray:
    """The iterations to record: 0, about `points` evenly spaced in the logarithm, and the last."""
    return np.unique(np.concatenate([[0], np.geomspace(1, iterations, points).round(), [iterations]]).astype(int))


def optimise(
    method: Method,
    parameterisation: Parameterisation,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    step_size: np.ndarray | float,
    penalty: np.ndarray | float = 0.0,
    iterations: int = 4000,
    inner_steps: int = 10,
) -> History:
    """Runs the method from mean and variance [d], once for each step size λ and penalty β (broadcast to [R]).

    Penalty methods minimise L(θ) + (β/2) D(q_θk, q_θ), D = W2² or KL, by `inner_steps` gradient steps of size λ
    before θ_k moves on. Every gradient step counts as an iteration, also an inner one.
    """
    step_size, penalty = np.broadcast_arrays(np.atleast_1d(step_size), np.atleast_1d(penalty))
    step_size, penalty = step_size[:, np.newaxis].astype(float), penalty[:, np.newaxis].astype(float)
    runs = len(step_size)
    mean, variance = np.tile(mean, (runs, 1)), np.tile(variance, (runs, 1))
    log = parameterisation == "log_diagonal"
    v = 0.5 * np.log(variance) if log else variance
    old_mean, old_variance = mean, variance
    active = np.ones(runs, bool)
    recorded = record_at(iterations)
    due = set(recorded.tolist())
    history: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    for iteration in range(iterations + 1):
        if iteration in due:
            history.append((loss(mean, variance), mean[:, 0].copy(), np.sqrt(variance[:, 0])))
        if iteration == iterations or not active.any():
            history.extend([history[-1]] * (len(recorded) - len(history)))
            break
        step_mean, step_v = direction(method, parameterisation, mean[active], variance[active])
        if method in ("w2_penalty", "kl_penalty"):
            if iteration % inner_steps == 0:
                old_mean, old_variance = mean, variance
            state = (mean[active], variance[active], old_mean[active], old_variance[active])
            # A run that diverges overflows before it is noticed, below.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                of_mean, of_v = penalty_gradient(method, parameterisation, *state)
                step_mean, step_v = step_mean + penalty[active] * of_mean, step_v + penalty[active] * of_v
        with np.errstate(over="ignore", invalid="ignore"):
            new_mean = mean[active] - step_size[active] * step_mean
            change = -step_size[active] * step_v
            new_v = v[active] + change if log else step_variances(v[active], change)
            new_variance = np.exp(2.0 * new_v) if log else new_v
            # Comparisons with NaN are false.
            sound = ((np.abs(new_mean) <= REACH) & (new_variance <= REACH**2)).all(axis=1)
        places = np.flatnonzero(active)
        mean, variance, v = mean.copy(), variance.copy(), v.copy()
        kept = places[sound]
        mean[kept], variance[kept], v[kept] = new_mean[sound], new_variance[sound], new_v[sound]
        active[places[~sound]] = False

    losses, means, stds = (np.stack(part, axis=1) for part in zip(*history, strict=True))
    return History(recorded, losses, means, stds, ~active)
