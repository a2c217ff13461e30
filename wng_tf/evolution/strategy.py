"""The strategy as a pure function: from what a generation's rollouts gave, the next state and the diagnostics.

| symbol | meaning | shape |
|---|---|---|
| θ, ξ, σ | parameters, perturbations, their standard deviation | [P], [n, P] |
| F | returns of θ + σ ξ_1..n, then of θ - σ ξ_1..n | [2n] |
| X | embeddings of the same rollouts | [2n, d] |
| D | distances of X to earlier behaviour (repulsion), β its weight | [2n] |
| g | gradient of the scores (1 - β) F + β D, both normalized | [P] |
| J, L, ε | Jacobian of the basis functions, similarity, damping (Algorithm 3) | [M, P], [M, M] |
| g_W | natural gradient (JᵀL†J + ε I)⁻¹ g | [P] |
| δ | interpolation: step along (1 - δ) g + δ g_W, g_W brought to g's scale (Eq. 15) | |

Where this departs from the released code, and why:

* Perturbations are σ ξ. There they are divided by their norm after the scaling, so that σ plays no part;
  `perturbation="unit"` does that here, and σ below is then 1/√P.
* The score of N(θ, σ² I) is (θ̃ - θ)/σ²: Eqs. 13 and 14 print 1/(Nσ), which changes g's length and the meaning of ε.
* The basis functions are centred by mirroring, (h⁺ - h⁻)/2, which leaves J's expectation and cuts its variance.
* There δ multiplies the projected part alone and the sum is scaled by 1/ε; here it is Eq. 15 with ε g_W, which tends
  to g for large ε and to g without its captured directions for small ε. `natural_scale="norm"` gives g_W the length
  of g.
* There gradients are brought to norm P before Adam. Adam does not see a factor, so that is left out; under SGD it
  would be a learning rate of its own, and `max_grad_norm` is a plainer one.
* There ε follows the mean difference of mirrored pairs, which is noise around zero with a reward's sign, so it only
  rises. Here it is fixed, or (`damping="adaptive"`) follows the gain in the population's mean return against its
  prediction gᵀΔθ.
* An absolute ε means nothing by itself: embeddings are metres on one task and summed rewards on another. By default ε
  counts in mean eigenvalues of the captured matrix: 1 halves an average captured direction in ε g_W, 0.01 removes it.
* Distances to earlier behaviour are in closed form (see `repulsion`); the first generation, which has no past, has none.
* Rollouts of a mirrored pair share their start state and nothing else; there every rollout of the run starts from one
  state (`start_states="run"`).
* Initial weights have zero mean; there they are positive, the same draws in every layer (`initial_weights="positive"`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from baselines_compat.errors import NonFiniteError
from baselines_compat.running_mean_std import Moments
from wng_tf.evolution import optimizers
from wng_tf.evolution.config import EvolutionConfig
from wng_tf.evolution.fitness import mirrored_gradient, shape
from wng_tf.evolution.optimizers import Slots
from wng_tf.evolution.population import Stream, tensor_seed
from wng_tf.evolution.repulsion import Repulsion
from wng_tf.natural_gradient import KernelBasis, NaturalGradient, evolution_jacobian, natural_gradient, similarity
from wng_tf.natural_gradient import damping as damping_rule
from wng_tf.natural_gradient.damping import DampingState
from wng_tf.natural_gradient.seeds import stateless_seed
from wng_tf.parts import REPULSIONS

Array = NDArray[np.float64]


class State(NamedTuple):
    """Everything that a generation hands to the next."""

    generation: int
    theta: Array
    """[P]."""
    slots: Slots
    damping: DampingState
    """ε and what its rule remembers, as NumPy scalars."""
    expected_gain: float
    """gᵀΔθ of the last step, in units of return; NaN before the first."""
    last_return: float
    """Mean return of the last population."""
    past: Array
    """[≤ archive, d], embeddings of earlier unperturbed policies, oldest first."""
    moments: Moments
    """Of the observations, for the normalizer."""


class Results(NamedTuple):
    """What the rollouts of one generation gave."""

    returns: Array
    """[2n]."""
    embeddings: Array
    """[2n, d]."""
    own_embeddings: Array
    """[evaluations, d], of the unperturbed policy."""


def initial(theta: Array, config: EvolutionConfig, observations: int) -> State:
    """The state before the first generation, for observations of that length."""
    return State(
        generation=0,
        theta=theta,
        slots=optimizers.initial(len(theta)),
        damping=_plain(damping_rule.initial(config.epsilon, tf.float64)),
        expected_gain=math.nan,
        last_return=math.nan,
        past=np.zeros((0, 0)),
        moments=Moments(0.0, np.zeros(observations), np.zeros(observations)),
    )


def spread(config: EvolutionConfig, num_parameters: int) -> float:
    """σ: the standard deviation of one parameter's perturbation."""
    return config.sigma if config.perturbation == "gaussian" else 1.0 / math.sqrt(num_parameters)


def tell(
    state: State, xi: Array, results: Results, config: EvolutionConfig, *, seed: int, lr: float
) -> tuple[State, dict[str, float]]:
    """One update of the strategy.

    Args:
      state: before.
      xi: ξ [n, P].
      results: of the rollouts with `population.mirrored(state.theta, xi, spread(...))`.
      config: settings.
      seed: of the run.
      lr: learning rate of this update.

    Returns:
      the state after, and the diagnostics, ready to be logged.

    Raises:
      NonFiniteError: a return, an embedding or the gradient is not finite.
    """
    for name, values in (("return", results.returns), ("embedding", results.embeddings)):
        if not np.isfinite(values).all():
            raise NonFiniteError(f"NaN or infinite {name} in the population: the run stops, its last checkpoint is kept.")
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(results.returns.std()):
            raise NonFiniteError(
                "Returns in the population are so large that their deviation overflows: the run stops, its last "
                "checkpoint is kept."
            )
    sigma = spread(config, len(state.theta))
    distances = repulsion_of(state, results.embeddings, config, seed)
    scores = combine(results.returns, distances, config)
    gradient = mirrored_gradient(scores, xi, sigma)

    diagnostics: dict[str, Any] = {
        "es/return_mean": results.returns.mean(),
        "es/return_std": results.returns.std(),
        "es/return_max": results.returns.max(),
        "es/gradient_norm": np.linalg.norm(gradient),
    }
    if distances is not None:
        diagnostics |= {
            "es/distance_mean": distances.mean(),
            "es/distance_std": distances.std(),
            "es/distance_return_correlation": _correlation(distances, results.returns),
        }
    direction, damping = gradient, state.damping
    if config.metric == "wasserstein_kernel":
        if config.damping == "adaptive":
            damping, diagnostics["wng/reduction_ratio"] = adapt(state, results.returns)
        basis_seed = tensor_seed(seed, state.generation, Stream.BASIS)
        solved, used = precondition(gradient, xi, results.embeddings, sigma, damping.epsilon, basis_seed, config)
        if not solved.finite:
            raise NonFiniteError("NaN or infinite natural gradient: the run stops, its last checkpoint is kept.")
        if not solved.guarded:
            direction = interpolate(gradient, solved.direction.numpy(), float(used), config)
        diagnostics |= {
            "wng/epsilon": damping.epsilon,
            "wng/epsilon_absolute": used,
            "wng/cosine": solved.cosine,
            "wng/effective_rank": solved.rank,
            "wng/condition_number": solved.condition_number,
            "wng/residual": solved.residual,
            "wng/guarded": solved.guarded,
        }
    direction = clip_norm(direction, config.max_grad_norm)
    slots, step = optimizers.ascent(config.optimizer, state.slots, direction, lr)
    if not np.isfinite(step).all():
        raise NonFiniteError("NaN or infinite gradient: the run stops, its last checkpoint is kept.")
    if np.abs(state.theta + step).max() > np.finfo(np.float32).max:
        raise NonFiniteError(
            "A step beyond what a policy's weights can be: the run stops, its last checkpoint is kept. A smaller --lr may "
            "avoid it."
        )
    diagnostics |= {
        "es/direction_cosine": _cosine(direction, gradient),
        "es/step_norm": np.linalg.norm(step),
        "es/theta_norm": np.linalg.norm(state.theta + step),
    }
    if len(state.past):
        diagnostics["es/moved"] = np.linalg.norm(results.own_embeddings[0] - state.past[-1])
    return_gradient = mirrored_gradient(results.returns, xi, sigma)
    after = state._replace(
        generation=state.generation + 1,
        theta=state.theta + step,
        slots=slots,
        damping=damping,
        expected_gain=float(return_gradient @ step),
        last_return=float(results.returns.mean()),
        past=remember(state.past, results.own_embeddings, config),
    )
    return after, {name: float(value) for name, value in diagnostics.items()}


def remember(past: Array, latest: Array, config: EvolutionConfig) -> Array:
    """The past with the latest policy's embeddings [evaluations, d] at its end, no longer than the repulsion needs."""
    policies = REPULSIONS.build(config.repulsion, config, Repulsion).memory
    longer = np.concatenate([past, latest]) if len(past) else latest
    return longer[-policies * len(latest) :]


def repulsion_of(state: State, x: Array, config: EvolutionConfig, seed: int) -> Array | None:
    """D [2n], or None for an algorithm without repulsion. Zero in the first generation, which has no past."""
    repulsion = REPULSIONS.build(config.repulsion, config, Repulsion)
    if not repulsion.repels:
        return None
    if not len(state.past):
        return np.zeros(len(x))
    return repulsion(x, state.past, tensor_seed(seed, state.generation, Stream.FEATURES))


def combine(returns: Array, distances: Array | None, config: EvolutionConfig) -> Array:
    """(1 - β) F + β D [2n], both shaped over the population; F alone without repulsion."""
    shaped = shape(returns, config.shaping)
    if distances is None:
        return shaped
    beta = config.repulsion_coef
    return (1.0 - beta) * shaped + beta * shape(distances, config.shaping)


def precondition(
    gradient: Array, xi: Array, x: Array, sigma: float, epsilon: float, seed: int, config: EvolutionConfig
) -> tuple[NaturalGradient, tf.Tensor]:
    """g_W by Algorithm 3 with J from Eq. 14, and the ε that was used, in the unit of the information matrix.

    Args:
      gradient, xi, x, sigma, epsilon: g [P], ξ [n, P], X [2n, d], σ, ε.
      seed: of the basis functions.
      config: settings.
    """
    return _precondition(
        *map(tf.constant, (gradient, xi, x)),
        tf.constant(sigma, tf.float64),
        tf.constant(epsilon, tf.float64),
        stateless_seed(seed),
        tf.constant(config.log_bandwidth, tf.float64),
        num_basis=config.num_basis,
        diagonal=config.diagonal_damping,
        relative=config.epsilon_unit == "relative",
    )


@tf.function(autograph=False)
def _precondition(
    gradient: tf.Tensor,
    xi: tf.Tensor,
    x: tf.Tensor,
    sigma: tf.Tensor,
    epsilon: tf.Tensor,
    seed: tf.Tensor,
    log_bandwidth: tf.Tensor,
    *,
    num_basis: int,
    diagonal: bool,
    relative: bool,
) -> tuple[NaturalGradient, tf.Tensor]:
    basis = KernelBasis.sample(x, num_basis, seed=seed, log_bandwidth=log_bandwidth)
    jacobian = evolution_jacobian(xi, basis(x), sigma, mirrored=True)
    likeness = similarity(basis.gradients(x))
    if relative:
        unit = mean_eigenvalue(jacobian, likeness)
        # Equal embeddings give J = 0, a matrix without a unit: g_W is g / ε for any ε.
        epsilon *= tf.where(unit > 0.0, unit, tf.ones_like(unit))
    return natural_gradient(gradient, jacobian, likeness, epsilon, diagonal), epsilon


def mean_eigenvalue(jacobian: tf.Tensor, likeness: tf.Tensor) -> tf.Tensor:
    """Mean of the eigenvalues of JᵀL†J on the range of L, from J [M, P] and L [M, M], float64; 0 if L is 0."""
    values, vectors = tf.linalg.eigh(likeness)
    kept = values > 1e-12 * values[-1]
    roots = tf.where(kept, tf.math.rsqrt(tf.where(kept, values, 1.0)), 0.0)
    whitened = tf.matmul(vectors * roots, jacobian, transpose_a=True)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.square(whitened)), tf.math.count_nonzero(kept, dtype=tf.float64))


def interpolate(gradient: Array, natural: Array, epsilon: float, config: EvolutionConfig) -> Array:
    """(1 - δ) g + δ g_W, with g_W brought to g's scale (Eq. 15)."""
    if config.natural_scale == "epsilon":
        scaled = epsilon * natural
    else:
        length = np.linalg.norm(natural)
        scaled = natural * (np.linalg.norm(gradient) / length) if length > 0.0 else natural
    return (1.0 - config.delta) * gradient + config.delta * scaled


def clip_norm(direction: Array, limit: float) -> Array:
    """`direction` [P], shortened to the norm `limit` if it is longer; 0: as it is."""
    norm = np.linalg.norm(direction)
    return direction * (limit / norm) if 0.0 < limit < norm else direction


def adapt(state: State, returns: Array) -> tuple[DampingState, float]:
    """ε after the last step is judged by the returns [2n] that came of it, and the ratio of its gain to the prediction.

    The ratio is NaN, and ε as it was, in the first generation.
    """
    if math.isnan(state.expected_gain):
        return state.damping, math.nan
    loss_old, loss_new, predicted = (
        tf.constant(value, tf.float64) for value in (-state.last_return, -returns.mean(), state.expected_gain)
    )
    ratio = damping_rule.reduction_ratio(loss_old, loss_new, predicted)
    return _plain(damping_rule.update(DampingState(*map(tf.constant, state.damping)), ratio)), float(ratio)


def _plain(damping: DampingState) -> DampingState:
    return DampingState(*(np.asarray(value)[()] for value in damping))


def _correlation(a: Array, b: Array) -> float:
    return _cosine(a - a.mean(), b - b.mean())


def _cosine(a: Array, b: Array) -> float:
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms > 0.0 else math.nan


def to_tree(state: State) -> dict[str, Any]:
    """The state as plain data for a checkpoint."""
    return {
        **state._asdict(),
        "slots": state.slots._asdict(),
        "damping": [np.asarray(value) for value in state.damping],
        "moments": state.moments._asdict(),
    }


def from_tree(tree: dict[str, Any]) -> State:
    """The inverse of `to_tree`."""
    return State(
        **{
            **tree,
            "slots": Slots(**tree["slots"]),
            "damping": DampingState(*(value[()] for value in tree["damping"])),
            "moments": Moments(**tree["moments"]),
        }
    )
