"""The Wasserstein penalty against loops in feature space, and against W2 between Gaussians."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from baselines_compat.distributions import DiagGaussianPd
from wng_tf import algorithms
from wng_tf.policy_gradient.config import resolve
from wng_tf.policy_gradient.penalties.wasserstein import WassersteinPenalty

STATES, K, ACT = 6, 5, 2
RNG = np.random.default_rng(0)
OLD = np.concatenate([RNG.normal(size=(STATES, ACT)), RNG.normal(-0.5, 0.2, size=(STATES, ACT))], axis=1).astype("f4")
NEW = OLD + RNG.normal(scale=0.3, size=OLD.shape).astype(np.float32)
NOISE = RNG.normal(size=(STATES, K, ACT)).astype(np.float32)


def make(num_features: int = 100, steps: int = 25, lr: float = 0.05) -> WassersteinPenalty:
    return WassersteinPenalty(ACT, num_features, 1.0, 1.0, steps, lr)


def estimate(penalty: WassersteinPenalty, old: np.ndarray, new: np.ndarray, noise: np.ndarray, **replaced):
    """The estimate, and its gradient in the new policy's [mean, logstd], averaged over states."""
    data = {**penalty.prepare(SimpleNamespace(pd_flat=old), noise), "noise": noise, **replaced}
    flat = tf.Variable(new)
    with tf.GradientTape() as tape:
        value = penalty.distance(DiagGaussianPd(flat), {name: tf.constant(x) for name, x in data.items()})
    return float(value), tape.gradient(value, flat).numpy()


def feature_space_twin(penalty: WassersteinPenalty, old, new, noise) -> float:
    """The estimate as Pacchiano et al. (2019) print it: R coefficients, one state after another, T steps of ascent each."""
    omega, phase = penalty.kernel.omega.numpy().astype(float), penalty.kernel.phase.numpy().astype(float)
    s = np.sqrt(2.0 * np.mean(np.sum(np.exp(2.0 * old[:, ACT:]), axis=1)))

    def features(x):
        return np.sqrt(2.0 / len(omega)) * np.cos(x @ omega.T + phase)

    total = 0.0
    for n in range(len(old)):
        x = (old[n, :ACT] + np.exp(old[n, ACT:]) * noise[n]) / s
        y = (new[n, :ACT] + np.exp(new[n, ACT:]) * noise[n]) / s
        cost = np.sum((x - y) ** 2, axis=1)
        phi_x, phi_y = features(x), features(y)
        beta_x, beta_y = np.zeros(len(omega)), np.zeros(len(omega))
        for _ in range(penalty.inner_steps):
            excess = np.exp(phi_x @ beta_x + phi_y @ beta_y - cost)
            beta_x += penalty.inner_lr * np.mean((1.0 - excess)[:, None] * phi_x, axis=0)
            beta_y += penalty.inner_lr * np.mean((1.0 - excess)[:, None] * phi_y, axis=0)
        excess = np.exp(phi_x @ beta_x + phi_y @ beta_y - cost)
        total += np.mean(phi_x @ beta_x) + np.mean(phi_y @ beta_y) - np.mean(excess) + 1.0
    return s**2 * total / len(old)


def test_the_gram_form_is_the_loop_in_feature_space():
    penalty = make()
    value, _ = estimate(penalty, OLD, NEW, NOISE)
    assert value == pytest.approx(feature_space_twin(penalty, OLD, NEW, NOISE), rel=1e-4)


def test_the_prepared_gram_matrices_are_those_of_the_old_actions():
    penalty = make()
    data = penalty.prepare(SimpleNamespace(pd_flat=OLD), NOISE)
    drawn = OLD[:, None, :ACT] + np.exp(OLD[:, None, ACT:]) * NOISE
    np.testing.assert_allclose(data["old_drawn"], drawn, rtol=1e-6)
    gram = penalty.kernel.gram(tf.constant(drawn / data["action_scale"][0])).numpy()
    np.testing.assert_allclose(data["old_gram"], gram, rtol=1e-5, atol=1e-6)
    value, _ = estimate(penalty, OLD, NEW, NOISE)
    again, _ = estimate(penalty, OLD, NEW, NOISE, old_gram=gram)
    assert again == pytest.approx(value, rel=1e-5)
    wrong, _ = estimate(penalty, OLD, NEW, NOISE, old_gram=np.zeros_like(gram))
    assert wrong != pytest.approx(value, rel=1e-2)


@pytest.mark.parametrize("num_features", [100, 0])
def test_between_equal_policies_estimate_and_gradient_vanish(num_features):
    value, gradient = estimate(make(num_features), OLD, OLD, NOISE)
    assert abs(value) < 1e-6
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


@pytest.mark.parametrize("num_features", [100, 0])
@pytest.mark.parametrize(("shift", "log_ratio"), [(0.1, 0.0), (0.5, 0.0), (0.0, 0.2), (0.0, -0.2), (0.3, -0.2), (0.3, 0.2)])
def test_small_steps_cost_their_w2_and_its_gradient(num_features, shift, log_ratio):
    """W2² = |Δμ|² + Σ_i (σ_i - σ'_i)², with shifts in units of σ."""
    states, std = 300, 0.4
    noise = np.random.default_rng(1).normal(size=(states, 10, ACT)).astype(np.float32)
    old = np.tile(np.float32([0.3, -0.2, np.log(std), np.log(std)]), (states, 1))
    new = old + np.float32([shift * std, 0.0, log_ratio, log_ratio])
    value, gradient = estimate(make(num_features), old, new, noise)
    new_std = std * np.exp(log_ratio)
    assert value == pytest.approx((shift * std) ** 2 + ACT * (new_std - std) ** 2, rel=0.1)
    expected = np.array([2.0 * shift * std, 0.0, *[2.0 * (new_std - std) * new_std] * ACT])
    actual = gradient.sum(axis=0)
    np.testing.assert_allclose(actual, expected, rtol=0.15, atol=0.1 * np.abs(expected).max())
    assert actual @ expected / np.linalg.norm(actual) / np.linalg.norm(expected) > 0.99


def test_large_steps_cost_more():
    values = [estimate(make(), OLD, OLD + np.float32([shift, 0, 0, 0]), NOISE)[0] for shift in (0.1, 0.5, 1.0, 2.0, 4.0)]
    assert values == sorted(values)
    assert values[0] > 0.0


@pytest.mark.parametrize("c", [0.01, 30.0])
def test_the_estimate_is_in_squared_actions(c):
    """All actions in other units: the estimate times c², its gradient in the mean times c."""
    units = np.float32([0.0, 0.0, np.log(c), np.log(c)])
    mean = np.float32([c, c, 1.0, 1.0])
    value, gradient = estimate(make(), OLD, NEW, NOISE)
    scaled, scaled_gradient = estimate(make(), OLD * mean + units, NEW * mean + units, NOISE)
    assert scaled == pytest.approx(c**2 * value, rel=1e-3)
    np.testing.assert_allclose(scaled_gradient[:, :ACT], c * gradient[:, :ACT], rtol=1e-2, atol=1e-4 * c)
    np.testing.assert_allclose(scaled_gradient[:, ACT:], c**2 * gradient[:, ACT:], rtol=1e-2, atol=1e-4 * c**2)


def test_settings_reach_the_penalty():
    given = {"num_features": 7, "inner_steps": 3, "inner_lr": 0.2, "bandwidth": 0.5, "gamma_w": 2.0}
    config = resolve(algorithms.find("bgpg"), "other", given)
    penalty = WassersteinPenalty.from_config(config, 3)
    assert penalty.kernel.omega.shape == (7, 3)
    assert (penalty.inner_steps, penalty.inner_lr, penalty.bandwidth, penalty.gamma) == (3, 0.2, 0.5, 2.0)
    default = WassersteinPenalty.from_config(resolve(algorithms.find("bgpg"), "other", {}), 3)
    assert (default.bandwidth, default.gamma) == (1.0, 1.0)
