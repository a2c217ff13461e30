"""Test functions: three ways to fit them, POT, and the Gaussians whose W2 is known."""

from __future__ import annotations

import os

os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")

import numpy as np
import ot
import pytest
import tensorflow as tf

from wng_tf.transport import (
    GaussianKernel,
    RandomFeatures,
    fit,
    fit_in_feature_space,
    mean_squared_distance,
    scaled_settings,
    transport_estimate,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 3, 6, 2)) + np.array([0.0, 0.5])[:, np.newaxis, np.newaxis, np.newaxis]
FEATURES = RandomFeatures.sample(2, 40, 1.0, seed=0)
OPTIONS = dict(gamma=0.8, step_size=0.3, steps=25)


def ascent_by_loops(phi_x, phi_y, cost, all_pairs, gamma, step_size, steps):
    """The printed algorithm: one gradient step after another on β₁ and β₂, expectations as sums over samples."""
    beta_x, beta_y = np.zeros(phi_x.shape[1]), np.zeros(phi_y.shape[1])
    pairs = [(j, k) for j in range(len(phi_x)) for k in range(len(phi_y)) if all_pairs or j == k]
    for _ in range(steps):
        slope_x, slope_y = phi_x.mean(axis=0), phi_y.mean(axis=0)
        for j, k in pairs:
            excess = np.exp((beta_x @ phi_x[j] + beta_y @ phi_y[k] - cost[j, k]) / gamma)
            slope_x = slope_x - excess * phi_x[j] / len(pairs)
            slope_y = slope_y - excess * phi_y[k] / len(pairs)
        beta_x, beta_y = beta_x + step_size * slope_x, beta_y + step_size * slope_y
    return beta_x, beta_y


def dual_by_loops(phi_x, phi_y, cost, beta_x, beta_y, all_pairs, gamma):
    pairs = [(j, k) for j in range(len(phi_x)) for k in range(len(phi_y)) if all_pairs or j == k]
    excess = np.mean([np.exp((beta_x @ phi_x[j] + beta_y @ phi_y[k] - cost[j, k]) / gamma) for j, k in pairs])
    return np.mean(phi_x @ beta_x) + np.mean(phi_y @ beta_y) - gamma * excess + gamma


def squared_distances(x, y):
    return np.sum((x[:, np.newaxis] - y) ** 2, axis=-1)


@pytest.mark.parametrize("all_pairs", [True, False])
def test_gram_form_feature_space_and_plain_loops_agree(all_pairs):
    estimates = transport_estimate(tf.constant(X), tf.constant(Y), FEATURES, all_pairs=all_pairs, **OPTIONS)
    for n in range(3):
        phi_x, phi_y = FEATURES(tf.constant(X[n])).numpy(), FEATURES(tf.constant(Y[n])).numpy()
        cost = squared_distances(X[n], Y[n])
        beta_x, beta_y = ascent_by_loops(phi_x, phi_y, cost, all_pairs, **OPTIONS)
        used = cost if all_pairs else np.diag(cost)
        in_features = fit_in_feature_space(phi_x, phi_y, tf.constant(used), all_pairs=all_pairs, **OPTIONS)
        np.testing.assert_allclose(in_features[0], beta_x, atol=1e-12)
        np.testing.assert_allclose(in_features[1], beta_y, atol=1e-12)
        weights = fit(phi_x @ phi_x.T, phi_y @ phi_y.T, tf.constant(used), all_pairs=all_pairs, **OPTIONS)
        np.testing.assert_allclose(weights[0].numpy() @ phi_x, beta_x, atol=1e-12)
        np.testing.assert_allclose(weights[1].numpy() @ phi_y, beta_y, atol=1e-12)
        expected = dual_by_loops(phi_x, phi_y, cost, beta_x, beta_y, all_pairs, OPTIONS["gamma"])
        np.testing.assert_allclose(estimates[n], expected, rtol=1e-12)


def test_two_sample_sizes_and_batches_of_any_shape():
    small = Y[:, :4]
    together = transport_estimate(tf.constant(X), tf.constant(small), FEATURES, **OPTIONS)
    one_by_one = [
        transport_estimate(tf.constant(a), tf.constant(b), FEATURES, **OPTIONS) for a, b in zip(X, small, strict=True)
    ]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-12)
    nested = transport_estimate(tf.constant(X[np.newaxis]), tf.constant(small[np.newaxis]), FEATURES, **OPTIONS)
    np.testing.assert_allclose(nested, together[np.newaxis], rtol=1e-12)


@pytest.mark.parametrize("all_pairs", [True, False])
def test_gradient_is_that_of_the_dual_with_the_test_functions_held(all_pairs):
    x, y = tf.constant(X), tf.constant(Y)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        total = tf.reduce_sum(transport_estimate(x, y, FEATURES, all_pairs=all_pairs, **OPTIONS))
    slope_x, slope_y = tape.gradient(total, [x, y])
    assert slope_x is None
    phi_x, phi_y = FEATURES(x[0]).numpy(), FEATURES(y[0]).numpy()
    beta = ascent_by_loops(phi_x, phi_y, squared_distances(X[0], Y[0]), all_pairs, **OPTIONS)
    step, expected = 1e-6, np.zeros_like(Y[0])
    for index in np.ndindex(*Y[0].shape):
        sides = []
        for sign in (1.0, -1.0):
            moved = Y[0].copy()
            moved[index] += sign * step
            phi = FEATURES(tf.constant(moved)).numpy()
            sides.append(dual_by_loops(phi_x, phi, squared_distances(X[0], moved), *beta, all_pairs, OPTIONS["gamma"]))
        expected[index] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(slope_y[0], expected, atol=1e-8)


def test_compiled_with_known_gram_matrices():
    kernel = GaussianKernel(1.0)
    x, y = tf.constant(X, tf.float32), tf.constant(Y, tf.float32)

    @tf.function(jit_compile=True)
    def compiled(y, gram_x):
        with tf.GradientTape() as tape:
            tape.watch(y)
            estimate = transport_estimate(x, y, kernel, gram_x=gram_x, **OPTIONS)
        return estimate, tape.gradient(estimate, y)

    with tf.GradientTape() as tape:
        tape.watch(y)
        expected = transport_estimate(x, y, kernel, **OPTIONS)
    estimate, slope = compiled(y, kernel.gram(x))
    np.testing.assert_allclose(estimate, expected, rtol=1e-5)
    np.testing.assert_allclose(slope, tape.gradient(expected, y), atol=1e-6)


@tf.function(jit_compile=True)
def converged_estimate(x, y, bandwidth, gamma):
    kernel = GaussianKernel(bandwidth)
    return transport_estimate(x, y, kernel, gamma=gamma, step_size=gamma, steps=20_000)


def test_converges_to_pots_entropic_transport():
    """With all pairs, a kernel narrow enough to tell the samples apart, and time: the cost of entropic transport."""
    x, y, gamma = X[0], Y[0], 0.5
    estimate = converged_estimate(
        tf.constant(x), tf.constant(y), tf.constant(0.3, tf.float64), tf.constant(gamma, tf.float64)
    )
    cost, uniform_x, uniform_y = squared_distances(x, y), np.full(6, 1 / 6), np.full(6, 1 / 6)
    plan = ot.sinkhorn(uniform_x, uniform_y, cost, reg=gamma, stopThr=1e-12)
    divergence = np.sum(plan * np.log(plan / np.outer(uniform_x, uniform_y)))
    np.testing.assert_allclose(estimate, np.sum(plan * cost) + gamma * divergence, rtol=1e-4)


def test_follows_pots_w2_on_samples():
    """With little regularisation the estimate is close to the unregularised cost, at any distance."""
    for shift in (0.0, 1.0, 4.0):
        y = Y[0] + shift
        exact = ot.emd2(np.full(6, 1 / 6), np.full(6, 1 / 6), squared_distances(X[0], y))
        settings = scaled_settings(mean_squared_distance(tf.constant(X[0]), tf.constant(y)))
        estimate = converged_estimate(tf.constant(X[0]), tf.constant(y), tf.constant(0.5, tf.float64), 0.1 * settings.gamma)
        np.testing.assert_allclose(estimate, exact, rtol=0.1)


def gaussian_case(shift, ratio, *, common_noise, all_pairs, settings=None, steps=25):
    """One batch of states: the estimate's mean and its gradient in the new policy's mean and log-deviation.

    Old N(0, I), new N(shift, ratio² I) in three dimensions, K = 10 samples of each at 256 states.
    """
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(256, 10, 3)).astype(np.float32)
    other = noise if common_noise else rng.normal(size=noise.shape).astype(np.float32)
    settings = settings or scaled_settings(6.0)
    mean, log_std = tf.constant(np.float32(shift)), tf.fill([3], np.float32(np.log(ratio)))
    with tf.GradientTape() as tape:
        tape.watch([mean, log_std])
        new = mean + tf.exp(log_std) * other
        estimate = tf.reduce_mean(
            transport_estimate(
                tf.constant(noise),
                new,
                GaussianKernel(settings.bandwidth),
                gamma=settings.gamma,
                step_size=settings.step_size,
                steps=steps,
                all_pairs=all_pairs,
            )
        )
    slope_mean, slope_log_std = tape.gradient(estimate, [mean, log_std])
    return float(estimate), slope_mean.numpy(), slope_log_std.numpy()


@pytest.mark.parametrize("ratio", [0.7, 1.3])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.3, -0.1, 0.0), (2.0, 1.0, -2.0)], ids=["none", "small", "large"])
def test_common_noise_gives_w2_between_gaussians(shift, ratio):
    """What the policy gradient penalty does: pairs of the same noise, whose coupling is the optimal one."""
    shift = np.array(shift)
    estimate, slope_mean, slope_log_std = gaussian_case(shift, ratio, common_noise=True, all_pairs=False)
    true_mean, true_log_std = 2.0 * shift, np.full(3, 2.0 * ratio * (ratio - 1.0))
    np.testing.assert_allclose(estimate, shift @ shift + 3 * (ratio - 1.0) ** 2, rtol=0.05, atol=1e-6)
    slope, true = np.concatenate([slope_mean, slope_log_std]), np.concatenate([true_mean, true_log_std])
    if np.any(true):
        assert slope @ true / np.linalg.norm(slope) / np.linalg.norm(true) > 0.99
    np.testing.assert_allclose(slope, true, atol=0.1 * np.linalg.norm(true) + 1e-6)


@pytest.mark.parametrize("shift", [(0.3, -0.1, 0.2), (1.0, 0.0, -2.0), (3.0, 3.0, 3.0)])
def test_independent_samples_give_the_direction_of_w2(shift):
    """Where noise cannot be shared: the mean is pulled the right way and about as hard; deviations are biased."""
    shift = np.array(shift)
    _, slope_mean, _ = gaussian_case(shift, 1.0, common_noise=False, all_pairs=True, steps=100)
    cosine = slope_mean @ shift / np.linalg.norm(slope_mean) / np.linalg.norm(shift)
    assert cosine > 0.95
    assert 0.7 < np.linalg.norm(slope_mean) / np.linalg.norm(2.0 * shift) < 1.1


def test_released_constants_hardly_follow_w2():
    """s = 0.1, γ = 1, 25 steps of 0.05 and independent pairs, at a shift of one: why the constants are chosen by scale."""
    from wng_tf.transport import DualSettings

    released = DualSettings(tf.constant(0.1), tf.constant(1.0), tf.constant(0.05))
    _, slope_mean, _ = gaussian_case(np.array([1.0, 0.0, 0.0]), 1.0, common_noise=False, all_pairs=False, settings=released)
    assert np.linalg.norm(slope_mean) < 0.1  # of 2


def test_estimates_scale_with_the_data():
    """In other units the same: the settings follow the scale of the samples."""
    estimates = []
    for unit in (1.0, 100.0):
        x, y = tf.constant(unit * X), tf.constant(unit * Y)
        settings = scaled_settings(mean_squared_distance(x, y))
        estimate = transport_estimate(
            x, y, GaussianKernel(settings.bandwidth), gamma=settings.gamma, step_size=settings.step_size
        )
        estimates.append(estimate / unit**2)
    np.testing.assert_allclose(*estimates, rtol=1e-10)


def test_mean_squared_distance():
    expected = np.mean([squared_distances(x, y) for x, y in zip(X, Y[:, :4], strict=True)])
    np.testing.assert_allclose(mean_squared_distance(tf.constant(X), tf.constant(Y[:, :4])), expected, rtol=1e-12)


def test_steps_that_overshoot_stay_finite():
    estimate = transport_estimate(
        tf.constant(X, tf.float32), tf.constant(Y, tf.float32), GaussianKernel(1.0), gamma=0.01, step_size=50.0, steps=25
    )
    assert np.all(np.isfinite(estimate))


@pytest.mark.parametrize("all_pairs", [True, False])
@pytest.mark.parametrize("count", [16, 17, 40, 65])
def test_sums_over_samples_are_the_same_however_they_are_written(count, all_pairs):
    """Several states at once, whose sums are written out for some numbers of samples, against one state at a time."""
    x, y = np.random.default_rng(1).normal(size=(2, 2, count, 2))
    kernel = GaussianKernel(1.0)
    gram_x, gram_y = kernel.gram(tf.constant(x)), kernel.gram(tf.constant(y))
    cost = np.stack([squared_distances(a, b) for a, b in zip(x, y, strict=True)])
    if not all_pairs:
        cost = np.diagonal(cost, axis1=1, axis2=2)
    together = fit(gram_x, gram_y, tf.constant(cost), all_pairs=all_pairs, **OPTIONS)
    for n in range(2):
        alone = fit(gram_x[n], gram_y[n], tf.constant(cost[n]), all_pairs=all_pairs, **OPTIONS)
        for side in range(2):
            np.testing.assert_allclose(together[side][n], alone[side], rtol=1e-10, atol=1e-12)
