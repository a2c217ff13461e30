"""Directions against dense float64 matrices from finite differences of a network written in NumPy.

The oracle shares no code with what it tests: θ goes through a NumPy network, derivatives are central differences,
Ĝ = Jᵀ L† J is formed as a matrix [P, P], and ε (Ĝ + ε D⁻¹)⁻¹ g is solved by NumPy.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from scipy import special, stats

from baselines_compat.policies import build_policy
from wng_tf import algorithms, embeddings
from wng_tf.errors import UserError
from wng_tf.policies import heads
from wng_tf.policy_gradient.config import resolve
from wng_tf.policy_gradient.learner import Learner
from wng_tf.policy_gradient.metrics import Point
from wng_tf.policy_gradient.steps.minibatch import at_gradient_scale

OBS, HIDDEN, ACT, K, M, N = 3, 4, 2, 3, 4, 12
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(N, OBS)).astype(np.float32)
CONTINUOUS, DISCRETE = spaces.Box(-1.0, 1.0, (ACT,)), spaces.Discrete(3)


# ---- the oracle -----------------------------------------------------------------------------------------------------


def network(theta: np.ndarray, outputs: int) -> np.ndarray:
    """Mean, logits or value [N, outputs] of a network of one hidden layer with these weights."""
    cuts = np.cumsum([OBS * HIDDEN, HIDDEN, HIDDEN * outputs, outputs])
    w1, b1, w2, b2 = np.split(theta[: cuts[-1]], cuts[:-1])
    h = np.tanh(STATES @ w1.reshape(OBS, HIDDEN) + b1)
    return h @ w2.reshape(HIDDEN, outputs) + b2


def differences(function, theta: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """∂ function(θ) / ∂θ [..., P] by central differences."""
    theta = theta.astype(np.float64)
    steps = h * np.eye(len(theta))
    return np.stack([(function(theta + d) - function(theta - d)) / (2.0 * h) for d in steps], axis=-1)


def log_prob(theta: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """log π(a|s) of actions [N, ...] (for K actions per state [N, K, ...] the sum over K), θ the policy's part."""
    if actions.dtype.kind == "f":
        mean, std = network(theta, ACT), np.exp(theta[-ACT:])
        shape = (N, *[1] * (actions.ndim - 2), ACT)
        return stats.norm.logpdf(actions, mean.reshape(shape), std).reshape(N, -1).sum(axis=1)
    log_p = special.log_softmax(network(theta, 3), axis=1)
    return np.take_along_axis(log_p, actions.reshape(N, -1), axis=1).sum(axis=1)


def kernel_basis(x: np.ndarray, samples: np.ndarray, coordinates: np.ndarray, log_bandwidth: float):
    """h [M, N] and ∂h [M, N, d] of the kernel's basis functions, written out."""
    squared = np.mean([[np.sum((x[m] - x[n]) ** 2) for n in range(N)] for m in samples]) * 10.0**log_bandwidth
    values, slopes = np.zeros((M, N)), np.zeros((M, N, x.shape[1]))
    for m in range(M):
        for n in range(N):
            difference, i = x[samples[m]] - x[n], coordinates[m]
            kernel = np.exp(-difference @ difference / (2.0 * squared))
            values[m, n] = -kernel * difference[i] / squared
            slopes[m, n] = -kernel * difference[i] * difference / squared**2
            slopes[m, n, i] += kernel / squared
    return values, slopes


def dense_direction(jacobian, similarity, gradient, epsilon, diagonal) -> np.ndarray:
    """ε (Jᵀ L† J + ε I)⁻¹ g, or (Jᵀ L† J + ε D⁻¹)⁻¹ g at the length of g with D_jj = 1 / |T_j|, T the whitened J."""
    values, vectors = np.linalg.eigh(similarity)
    kept = values > 1e-9 * values[-1]
    assert kept.all(), "the test's own similarity matrix must be well conditioned"
    whitened = (vectors / np.sqrt(values)).T @ jacobian
    metric = whitened.T @ whitened
    return damped_direction(metric, gradient, epsilon, diagonal)


def damped_direction(metric, gradient, epsilon, diagonal) -> np.ndarray:
    if not diagonal:
        return epsilon * np.linalg.solve(metric + epsilon * np.eye(len(metric)), gradient)
    lengths = np.sqrt(np.diag(metric))
    lengths[lengths <= 1e-6 * lengths.max()] = np.sqrt(np.mean(lengths**2))
    solution = np.linalg.solve(metric + epsilon * np.diag(lengths), gradient)
    return solution * np.linalg.norm(gradient) / np.linalg.norm(solution)


# ---- what is tested -------------------------------------------------------------------------------------------------


def make_policy(actions: spaces.Space):
    policy = build_policy(spaces.Box(-1.0, 1.0, (OBS,)), actions, num_layers=1, num_hidden=HIDDEN)
    theta = np.random.default_rng(1).normal(scale=0.5, size=policy.size).astype(np.float32)
    return policy, theta


def config_of(alg: str = "wnpg", **given):
    return resolve(algorithms.find(alg), "other", {"num_basis": M, "num_actions": K, **given})


SAMPLES, COORDINATES = np.array([0, 3, 7, 10], np.int32), np.array([0.1, 0.3, 0.6, 0.9], np.float32)


def make_learner(config, policy) -> Learner:
    return Learner(policy=policy, config=config, embedding=embeddings.find(config.embedding), seed=0)


def direction(config, policy, theta, gradient, data, epsilon):
    """The direction [P] and the solution, as a minibatch step asks for them."""
    step = make_learner(config, policy).step
    data = {name: tf.constant(x) for name, x in {"observations": STATES, **data}.items()}
    weights = policy.unflatten(tf.constant(theta))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        pd = policy.pd(weights, data["observations"])
        values = policy.value(weights, data["observations"])
        recorded = step.metric.record(pd, values, pd.logp(data["actions"]), data)
    point = Point(weights, data, tf.constant(SAMPLES), tf.constant(COORDINATES), tape, recorded)
    epsilon = tf.constant(epsilon, tf.float32)
    result, solution, _ = step.precondition(tf.constant(gradient), point, (), epsilon)
    return result.numpy(), solution


def gradient_of(policy) -> np.ndarray:
    return np.random.default_rng(2).normal(size=policy.size).astype(np.float32)


def taken(actions: spaces.Space) -> np.ndarray:
    if isinstance(actions, spaces.Discrete):
        return RNG.integers(0, 3, N).astype(np.int32)
    return RNG.normal(size=(N, ACT)).astype(np.float32)


def epsilon_near(metric_rows: np.ndarray, factor: float) -> float:
    """A damping that leaves both captured and free directions visible."""
    return float(factor * np.sum(metric_rows**2) / M)


NOISE = RNG.normal(size=(N, K, ACT)).astype(np.float32)
BOTH = pytest.mark.parametrize("diagonal", [False, True], ids=["plain", "diagonal"])


@BOTH
@pytest.mark.parametrize("log_bandwidth", [0.0, 0.5])
def test_reparameterised_actions(diagonal, log_bandwidth):
    policy, theta = make_policy(CONTINUOUS)
    size, gradient = policy.policy_size, gradient_of(policy)

    def embedding(part):
        drawn = network(part, ACT)[:, None] + np.exp(part[-ACT:]) * NOISE
        return drawn.reshape(N, K * ACT)

    coordinates = (COORDINATES * K * ACT).astype(int)
    _, slopes = kernel_basis(embedding(theta[:size].astype(float)), SAMPLES, coordinates, log_bandwidth)
    jacobian = np.einsum("mnd,ndp->mp", slopes, differences(embedding, theta[:size])) / N
    similarity = np.einsum("mnd,knd->mk", slopes, slopes) / N
    epsilon = epsilon_near(jacobian, 0.1) / np.trace(similarity) * M
    expected = dense_direction(jacobian, similarity, gradient[:size], epsilon, diagonal)
    config = config_of(diagonal_damping=diagonal, log_bandwidth=log_bandwidth)
    actual, diagnostics = direction(config, policy, theta, gradient, {"actions": taken(CONTINUOUS), "noise": NOISE}, epsilon)
    np.testing.assert_allclose(actual[:size], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert np.abs(expected - gradient[:size]).max() > 0.1 * np.abs(gradient).max()
    np.testing.assert_array_equal(actual[size:], gradient[size:])
    assert int(diagnostics.rank) == M
    assert not bool(diagnostics.guarded)


@pytest.mark.parametrize("score", [False, True], ids=["reparameterised", "score"])
def test_state_actions_see_states_but_do_not_move_them(score):
    policy, theta = make_policy(CONTINUOUS)
    size, gradient = policy.policy_size, gradient_of(policy)

    def embedding(part):
        drawn = network(part, ACT)[:, None] + np.exp(part[-ACT:]) * NOISE
        return drawn.reshape(N, K * ACT)

    start = theta[:size].astype(float)
    x = embedding(start)
    points = np.concatenate([x, STATES * np.sqrt(x.var(axis=0).sum() / STATES.var(axis=0).sum())], axis=1)
    values, slopes = kernel_basis(points, SAMPLES, (COORDINATES * K * ACT).astype(int), 0.0)
    slopes = slopes[:, :, : K * ACT]
    if score:
        scores = differences(lambda part: log_prob(part, x.reshape(N, K, ACT)), theta[:size])
        jacobian = (values - values.mean(axis=1, keepdims=True)) @ scores / N
    else:
        jacobian = np.einsum("mnd,ndp->mp", slopes, differences(embedding, theta[:size])) / N
    similarity = np.einsum("mnd,knd->mk", slopes, slopes) / N
    epsilon = epsilon_near(jacobian, 0.1) / np.trace(similarity) * M
    expected = dense_direction(jacobian, similarity, gradient[:size], epsilon, False)
    config = config_of(embedding="state_actions", jacobian="score" if score else "reparameterised", diagonal_damping=False)
    actual, _ = direction(config, policy, theta, gradient, {"actions": taken(CONTINUOUS), "noise": NOISE}, epsilon)
    np.testing.assert_allclose(actual[:size], expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    assert np.abs(expected - gradient[:size]).max() > 0.1 * np.abs(gradient).max()


def test_actions_and_value_cover_all_parameters():
    policy, theta = make_policy(CONTINUOUS)
    gradient = gradient_of(policy)

    def embedding(whole):
        part = whole[: policy.policy_size]
        drawn = network(part, ACT)[:, None] + np.exp(part[-ACT:]) * NOISE
        return np.concatenate([drawn.reshape(N, K * ACT), network(whole[policy.policy_size :], 1)], axis=1)

    coordinates = (COORDINATES * (K * ACT + 1)).astype(int)
    _, slopes = kernel_basis(embedding(theta.astype(float)), SAMPLES, coordinates, 0.0)
    jacobian = np.einsum("mnd,ndp->mp", slopes, differences(embedding, theta)) / N
    similarity = np.einsum("mnd,knd->mk", slopes, slopes) / N
    epsilon = epsilon_near(jacobian, 0.1) / np.trace(similarity) * M
    expected = dense_direction(jacobian, similarity, gradient, epsilon, False)
    config = config_of(embedding="actions_value", diagonal_damping=False)
    actual, _ = direction(config, policy, theta, gradient, {"actions": taken(CONTINUOUS), "noise": NOISE}, epsilon)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert np.abs(actual - gradient)[policy.policy_size :].max() > 1e-3


@pytest.mark.parametrize("actions", [CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def test_score_of_drawn_actions(actions):
    """J_m = (1/N) Σ_n (h_m(X_n) - h̄_m) Σ_k ∂ log π(a_k | s_n), X_n the K actions, one-hot if discrete."""
    policy, theta = make_policy(actions)
    size, gradient = policy.policy_size, gradient_of(policy)
    start = theta[:size].astype(np.float64)
    if policy.discrete:
        noise = np.random.default_rng(3).gumbel(size=(N, K, 3)).astype(np.float32)
        drawn = np.argmax(network(start, 3)[:, None] + noise, axis=-1)
        x = np.eye(3)[drawn].reshape(N, -1)
    else:
        noise = NOISE
        drawn = network(start, ACT)[:, None] + np.exp(start[-ACT:]) * noise
        x = drawn.reshape(N, -1)
    values, slopes = kernel_basis(x, SAMPLES, (COORDINATES * x.shape[1]).astype(int), 0.0)
    scores = differences(lambda part: log_prob(part, drawn), theta[:size])
    jacobian = (values - values.mean(axis=1, keepdims=True)) @ scores / N
    similarity = np.einsum("mnd,knd->mk", slopes, slopes) / N
    epsilon = epsilon_near(jacobian, 0.1) / np.trace(similarity) * M
    expected = dense_direction(jacobian, similarity, gradient[:size], epsilon, False)
    config = config_of(jacobian="score", diagonal_damping=False)
    actual, _ = direction(config, policy, theta, gradient, {"actions": taken(actions), "noise": noise}, epsilon)
    np.testing.assert_allclose(actual[:size], expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(actual[size:], gradient[size:])


def test_score_of_trajectories():
    """A whole batch of three trajectories: sums over each one's steps, means over trajectories."""
    policy, theta = make_policy(CONTINUOUS)
    size, gradient, actions = policy.policy_size, gradient_of(policy), taken(CONTINUOUS)
    steps = [range(0, 3), range(3, 8), range(8, 12)]
    each = RNG.normal(size=(3, 5))
    x = np.repeat(each, [3, 5, 4], axis=0).astype(np.float32)
    coordinates = (COORDINATES * 5).astype(int)
    values, slopes = kernel_basis(x.astype(float), SAMPLES, coordinates, 0.0)
    per_step = differences(lambda part: log_prob(part, actions.astype(float)), theta[:size])
    jacobian, similarity = np.zeros((M, size)), np.zeros((M, M))
    centre = np.mean([values[:, one[0]] for one in steps], axis=0)
    for one in steps:
        score = sum(per_step[t] for t in one)
        jacobian += np.outer(values[:, one[0]] - centre, score) / 3
        similarity += slopes[:, one[0]] @ slopes[:, one[0]].T / 3
    epsilon = epsilon_near(jacobian, 0.1) / np.trace(similarity) * M
    expected = dense_direction(jacobian, similarity, gradient[:size], epsilon, False)
    lengths = np.repeat([3, 5, 4], [3, 5, 4])
    data = {
        "actions": actions,
        "embeddings": x,
        "weights": (4.0 / lengths).astype(np.float32),
        "mean_length": np.full(N, 4.0, np.float32),
    }
    config = config_of(embedding="reward_to_go", diagonal_damping=False)
    actual, _ = direction(config, policy, theta, gradient, data, epsilon)
    np.testing.assert_allclose(actual[:size], expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(actual[size:], gradient[size:])


@BOTH
@pytest.mark.parametrize("actions", [CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def test_fisher(actions, diagonal):
    """F = (1/N) Σ_n s_n s_nᵀ with the scores of the actions taken."""
    policy, theta = make_policy(actions)
    size, gradient, chosen = policy.policy_size, gradient_of(policy), taken(actions)
    exact = chosen.astype(float) if chosen.dtype.kind == "f" else chosen
    scores = differences(lambda part: log_prob(part, exact), theta[:size])
    metric = scores.T @ scores / N
    epsilon = 0.1 * float(np.trace(metric)) / N
    expected = damped_direction(metric, gradient[:size], epsilon, diagonal)
    config = config_of("npg", metric="fisher_empirical", diagonal_damping=diagonal)
    actual, _ = direction(config, policy, theta, gradient, {"actions": chosen}, epsilon)
    np.testing.assert_allclose(actual[:size], expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(actual[size:], gradient[size:])


def test_exact_wasserstein():
    """G = (1/N) Σ_n (∂μᵀ∂μ + ∂σᵀ∂σ), by as many conjugate gradients as there are parameters."""
    policy, theta = make_policy(CONTINUOUS)
    size, gradient = policy.policy_size, gradient_of(policy)
    mean = differences(lambda part: network(part, ACT), theta[:size])
    std = differences(lambda part: np.tile(np.exp(part[-ACT:]), (N, 1)), theta[:size])
    metric = np.einsum("nap,naq->pq", mean, mean) / N + np.einsum("nap,naq->pq", std, std) / N
    epsilon = 0.05 * float(np.trace(metric)) / size
    expected = epsilon * np.linalg.solve(metric + epsilon * np.eye(size), gradient[:size])
    config = config_of("wnpg", metric="wasserstein_exact", cg_iters=2 * size)
    actual, _ = direction(config, policy, theta, gradient, {"actions": taken(CONTINUOUS)}, epsilon)
    np.testing.assert_allclose(actual[:size], expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(actual[size:], gradient[size:])


def test_heavy_damping_leaves_the_gradient():
    policy, theta = make_policy(CONTINUOUS)
    gradient, data = gradient_of(policy), {"actions": taken(CONTINUOUS), "noise": NOISE}
    actual, diagnostics = direction(config_of(diagonal_damping=False), policy, theta, gradient, data, 1e5)
    np.testing.assert_allclose(actual, gradient, rtol=1e-3, atol=1e-4)
    assert float(diagnostics.cosine) == pytest.approx(1.0, abs=1e-4)


def test_a_guarded_direction_is_the_gradient_itself():
    policy, theta = make_policy(CONTINUOUS)
    data = {"actions": taken(CONTINUOUS), "noise": NOISE}
    gradient, epsilon = gradient_of(policy), tf.constant(1e-3)
    _, diagnostics = direction(config_of(), policy, theta, gradient, data, 1e-3)
    covered = tf.constant(gradient[: policy.policy_size])
    rescaled = at_gradient_scale(diagnostics, covered, epsilon, False).numpy()
    np.testing.assert_allclose(rescaled, 1e-3 * diagnostics.direction.numpy(), rtol=1e-6)
    guarded = diagnostics._replace(guarded=tf.constant(True), direction=covered)
    for diagonal in (False, True):
        result = at_gradient_scale(guarded, covered, epsilon, diagonal)
        np.testing.assert_allclose(result, covered, rtol=1e-6)


def test_drawn_discrete_actions_follow_the_policy():
    """Gumbel noise and argmax draw from the softmax (chi-square)."""
    policy, theta = make_policy(DISCRETE)
    pd = policy.pd(policy.unflatten(tf.constant(theta)), tf.constant(STATES[:1]))
    noise = np.random.default_rng(4).gumbel(size=(1, 20_000, 3)).astype(np.float32)
    drawn = heads.of_policy(policy).drawn(pd, tf.constant(noise)).numpy()[0]
    np.testing.assert_array_equal(drawn.sum(axis=1), 1.0)
    expected = 20_000 * special.softmax(network(theta[: policy.policy_size], 3)[0])
    assert stats.chisquare(drawn.sum(axis=0), expected).pvalue > 0.01


@pytest.mark.parametrize(
    ("actions", "given", "sentence"),
    [
        (
            DISCRETE,
            {"jacobian": "reparameterised"},
            "cannot be reparameterised, because the action space is discrete",
        ),
        (
            CONTINUOUS,
            {"jacobian": "reparameterised", "embedding": "final_state"},
            "--embedding=final_state cannot be reparameterised, because it passes through the environment",
        ),
        (
            CONTINUOUS,
            {"jacobian": "score", "embedding": "actions_value"},
            "contains the value, which has no score",
        ),
        (DISCRETE, {"embedding": "actions_value"}, "contains the value, which has no score"),
        (
            CONTINUOUS,
            {"metric": "wasserstein_exact", "embedding": "final_state"},
            "The exact Wasserstein metric is that of the actions, not of --embedding=final_state",
        ),
    ],
)
def test_parts_that_do_not_fit_are_one_sentence(actions, given, sentence):
    policy, _ = make_policy(actions)
    config = config_of(**given)
    with pytest.raises(UserError) as caught:
        make_learner(config, policy)
    assert sentence in str(caught.value)


def test_what_each_metric_needs():
    policy, _ = make_policy(CONTINUOUS)

    def needs(alg: str, **given) -> tuple[bool, bool, bool]:
        config = config_of(alg, **given)
        made = make_learner(config, policy).metric
        return made.draws_actions, made.needs_trajectories, made.covers_value

    assert needs("pg") == (False, False, False)
    assert needs("npg") == (False, False, False)
    assert needs("wnpg") == (True, False, False)
    assert needs("wnpg", embedding="actions_value") == (True, False, True)
    assert needs("wnpg", embedding="mean_state") == (False, True, False)
