"""Running statistics against the statistics of everything seen."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from baselines_compat.running_mean_std import Moments, RunningMeanStd

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
BLOCK = hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(3)), elements=FINITE)
BLOCKS = st.lists(BLOCK, min_size=1, max_size=6)


@given(BLOCKS)
def test_merged_blocks_have_the_moments_of_all_samples(blocks):
    samples = np.concatenate(blocks)
    merged = functools.reduce(Moments.merge, (Moments.of(block) for block in blocks))
    assert merged.count == len(samples)
    if len(samples):
        scale = max(1.0, float(np.abs(samples).max()))
        np.testing.assert_allclose(merged.mean, samples.mean(axis=0), rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(merged.var, samples.var(axis=0), rtol=1e-9, atol=1e-12 * scale**2)


@given(BLOCKS)
def test_the_order_of_merging_does_not_matter(blocks):
    forwards = functools.reduce(Moments.merge, (Moments.of(block) for block in blocks))
    backwards = functools.reduce(Moments.merge, (Moments.of(block) for block in reversed(blocks)))
    scale = max(1.0, float(np.abs(np.concatenate(blocks)).max(initial=0.0)))
    np.testing.assert_allclose(forwards.mean, backwards.mean, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(forwards.m2, backwards.m2, rtol=1e-9, atol=1e-10 * scale**2)


def test_far_from_zero_no_digit_is_lost():
    samples = 1e9 + np.random.default_rng(0).normal(size=(1000, 1))
    merged = functools.reduce(Moments.merge, (Moments.of(block) for block in np.split(samples, 10)))
    np.testing.assert_allclose(merged.var, samples.var(axis=0), rtol=1e-6)


def test_running_statistics_start_as_baselines_do():
    running = RunningMeanStd(epsilon=1e-4, shape=(2,))
    assert running.count == 1e-4
    np.testing.assert_array_equal(running.mean, [0.0, 0.0])
    np.testing.assert_array_equal(running.var, [1.0, 1.0])
    samples = np.random.default_rng(0).normal([5.0, -1.0], [2.0, 0.1], size=(50_000, 2))
    for block in np.split(samples, 100):
        running.update(block)
    np.testing.assert_allclose(running.mean, samples.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(running.var, samples.var(axis=0), rtol=1e-5)


def test_state_restores_the_statistics_and_shares_nothing():
    running = RunningMeanStd(shape=(2,))
    running.update(np.arange(6.0).reshape(3, 2))
    state = running.state()
    other = RunningMeanStd(shape=(2,))
    other.restore(state)
    state["mean"][:] = 99.0
    assert other.count == running.count
    np.testing.assert_array_equal(other.mean, running.mean)
    np.testing.assert_array_equal(other.var, running.var)


def test_no_samples_change_nothing():
    running = RunningMeanStd(shape=(2,))
    running.update(np.ones((4, 2)))
    before = running.moments
    running.update(np.empty((0, 2)))
    assert running.moments is before
    assert Moments.of(np.empty((0, 2))).count == 0.0


@pytest.mark.parametrize("shape", [(), (4,)])
def test_shapes(shape):
    running = RunningMeanStd(shape=shape)
    running.update(np.ones((3, *shape)))
    assert running.mean.shape == running.var.shape == shape
