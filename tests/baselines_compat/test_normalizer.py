"""The normalizer's fast arithmetic against Baselines' formulas written with whole arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from baselines_compat.running_mean_std import Moments, RunningMeanStd
from baselines_compat.vec_env import Normalizer, NormalizerSettings
from baselines_compat.vec_env.normalizer import LocalNormalizer, normalize

SETTINGS = NormalizerSettings(gamma=0.9)


@pytest.fixture
def observations() -> np.ndarray:
    return np.random.default_rng(0).normal([100.0, -3.0, 0.0], [5.0, 0.01, 1.0], size=(40, 3))


def started(settings: NormalizerSettings, observations: np.ndarray) -> Normalizer:
    normalizer = Normalizer((3,), settings)
    normalizer.merge(Moments.of(observations[:10]), Moments.of(observations[:10, 0]))
    return normalizer


def test_each_observation_is_normalized_by_statistics_that_include_it(observations):
    normalizer = started(SETTINGS, observations)
    local = LocalNormalizer(normalizer.snapshot(), SETTINGS)
    reference = RunningMeanStd(shape=(3,))
    reference.update(observations[:10])
    out = np.empty(3, np.float32)
    for row in observations[10:]:
        local.observe(row, out)
        reference.update(row[np.newaxis])
        expected = np.clip((row - reference.mean) / np.sqrt(reference.var + 1e-8), -10.0, 10.0)
        np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(local.normalize(row), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("limit", [0.25, 1.0, 1.5, 10.0])
def test_in_place_arithmetic_rounds_as_the_formula(observations, limit):
    settings = dataclasses.replace(SETTINGS, clipob=limit)
    normalizer = started(settings, observations)
    local = LocalNormalizer(normalizer.snapshot(), settings)
    count, mean, m2 = normalizer.ob_rms.moments
    for observation in observations:
        out = np.empty(observation.shape, np.float32)
        local.observe(observation, out)
        count += 1.0
        delta = observation - mean
        mean = mean + delta / count
        m2 = m2 + delta * (observation - mean)
        scaled = (observation - mean) / np.sqrt(m2 / count + SETTINGS.epsilon)
        expected = np.maximum(np.minimum(scaled, limit), -limit).astype(np.float32)
        assert out.tobytes() == expected.tobytes()


def test_rewards_are_scaled_by_the_deviation_of_the_return_that_includes_them(observations):
    rewards = observations[:, 0]
    normalizer = Normalizer((3,), SETTINGS)
    local = LocalNormalizer(normalizer.snapshot(), SETTINGS)
    reference, discounted = RunningMeanStd(), 0.0
    for reward in rewards:
        discounted = 0.9 * discounted + reward
        reference.update(np.array([discounted]))
        expected = np.clip(reward / np.sqrt(reference.var + 1e-8), -10.0, 10.0)
        assert local.reward(float(reward), discounted) == pytest.approx(float(expected), rel=1e-9)


def test_a_segment_starts_from_the_run_and_leaves_it_alone(observations):
    normalizer = started(SETTINGS, observations)
    before = normalizer.state()
    local = LocalNormalizer(normalizer.snapshot(), SETTINGS)
    for row in observations[10:]:
        local.observe(row, np.empty(3, np.float32))
        local.reward(1.0, 2.0)
    after = normalizer.state()
    for name in ("ob_rms", "ret_rms"):
        for key, value in before[name].items():
            np.testing.assert_array_equal(value, after[name][key])


def test_extremes_are_clipped(observations):
    settings = NormalizerSettings(clipob=2.0, cliprew=0.5)
    local = LocalNormalizer(started(settings, observations).snapshot(), settings)
    out = np.empty(3, np.float32)
    for row in observations[10:]:
        local.observe(row, out)
    # Far outside, but seen once only: its own weight in the statistics does not bring it within the limit.
    for sign in (1.0, -1.0):
        np.testing.assert_array_equal(local.normalize(np.full(3, sign * 1e9)), np.float32([2.0, 2.0, 2.0]) * sign)
    local.observe(np.full(3, 1e9), out)
    np.testing.assert_array_equal(out, np.float32([2.0, 2.0, 2.0]))
    assert local.reward(1e12, 1e-3) == 0.5
    assert local.reward(-1e12, 1e-3) == -0.5


def test_what_is_switched_off_passes_through(observations):
    settings = NormalizerSettings(ob=False, ret=False)
    normalizer = Normalizer((3,), settings)
    local = LocalNormalizer(normalizer.snapshot(), settings)
    out = np.empty(3, np.float32)
    for row in observations:
        local.observe(row, out)
        np.testing.assert_array_equal(out, row.astype(np.float32))
        assert local.reward(123.0, 5.0) == 123.0
    np.testing.assert_array_equal(local.normalize(observations[0]), observations[0].astype(np.float32))
    np.testing.assert_array_equal(normalizer(observations), observations.astype(np.float32))


def test_a_constant_observation_is_zero_not_nan():
    local = LocalNormalizer(Normalizer((2,), SETTINGS).snapshot(), SETTINGS)
    out = np.empty(2, np.float32)
    for _ in range(5):
        local.observe(np.array([7.0, 0.0]), out)
        assert np.isfinite(out).all()
    assert out[1] == 0.0


def test_batches_are_normalized_row_by_row(observations):
    normalizer = started(SETTINGS, observations)
    rows = np.stack([normalizer(row) for row in observations])
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(normalizer(observations), rows)
    mean, var = normalizer.ob_rms.mean, normalizer.ob_rms.var
    np.testing.assert_array_equal(normalize(observations, mean, var, SETTINGS), rows)


def test_state_restores(observations):
    normalizer = started(SETTINGS, observations)
    other = Normalizer((3,), SETTINGS)
    other.restore(normalizer.state())
    np.testing.assert_array_equal(other(observations), normalizer(observations))
    assert other.ret_rms.count == normalizer.ret_rms.count
    assert float(other.ret_rms.var) == float(normalizer.ret_rms.var)
