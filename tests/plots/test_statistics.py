"""Against loops written from the definitions, SciPy's Mann-Whitney U, and the normal approximation of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wng_tf.plots.statistics import (
    bootstrap,
    improvement_interval,
    interquartile_mean,
    iqm_interval,
    mean_interval,
    performance_profile,
    student_interval,
)

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=7)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_interquartile_mean_cuts_a_quarter_from_either_end(scores):
    cut = len(scores) // 4
    middle = sorted(scores)[cut : len(scores) - cut]
    assert np.isclose(interquartile_mean(np.array(scores)), sum(middle) / len(middle))


def test_interquartile_mean_of_several_tasks_pools_their_runs():
    a, b = rng().normal(size=5), rng().normal(2.0, size=7)
    pooled = sorted([*a, *b])[3:9]
    assert np.isclose(iqm_interval(a, b).value, np.mean(pooled))


def test_mean_interval_is_the_normal_one_for_many_runs():
    scores = rng().normal(10.0, 3.0, size=400)
    found = mean_interval(scores)
    half = stats.norm.ppf(0.975) * np.std(scores) / 20.0
    assert found.value == pytest.approx(np.mean(scores))
    assert found.low == pytest.approx(np.mean(scores) - half, abs=0.05 * half)
    assert found.high == pytest.approx(np.mean(scores) + half, abs=0.05 * half)


def test_mean_interval_is_that_of_all_resamples():
    """Three runs have 27 equally likely resamples: the percentiles are known exactly."""
    scores = np.array([1.0, 5.0, 30.0])
    means = [np.mean([a, b, c]) for a in scores for b in scores for c in scores]
    found = mean_interval(scores)
    # 1 of 27 resamples is all the smallest (3.7%, above the 2.5% cut) and 1 all the largest.
    assert (found.low, found.high) == pytest.approx((min(means), max(means)))


def test_iqm_interval_against_a_loop():
    groups = [rng().normal(size=6), rng().normal(1.0, size=9)]
    generator = np.random.default_rng(11)
    values = []
    for _ in range(4000):
        pooled = np.concatenate([generator.choice(group, size=len(group)) for group in groups])
        cut = len(pooled) // 4
        values.append(np.mean(np.sort(pooled)[cut : len(pooled) - cut]))
    found = iqm_interval(*groups)
    assert (found.low, found.high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.06)


@settings(deadline=None, max_examples=25)
@given(SCORES, SCORES)
def test_probability_of_improvement_is_mann_whitney_u(x, y):
    found = improvement_interval([x], [y])
    loop = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y])
    assert found.value == pytest.approx(loop)
    assert found.value == pytest.approx(stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))
    assert found.low <= found.value <= found.high
    assert improvement_interval([y], [x]).value == pytest.approx(1.0 - found.value)


def test_probability_of_improvement_is_the_mean_over_tasks():
    x1, y1, x2, y2 = [1.0, 2.0], [0.0, 0.5], [0.0, 1.0, 2.0], [5.0, 1.0]
    assert improvement_interval([x1, x2], [y1, y2]).value == pytest.approx((1.0 + 1.5 / 6) / 2)
    with pytest.raises(ValueError, match="same tasks"):
        improvement_interval([x1, x2], [y1])


def test_improvement_interval_against_a_loop():
    x, y = rng().normal(0.4, size=8), rng().normal(size=8)
    generator = np.random.default_rng(5)
    values = []
    for _ in range(4000):
        a, b = generator.choice(x, 8), generator.choice(y, 8)
        values.append(np.mean(a[:, None] > b) + 0.5 * np.mean(a[:, None] == b))
    found = improvement_interval([x], [y])
    assert (found.low, found.high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.03)


def test_resampling_stays_inside_a_task():
    """Runs that agree within each task leave nothing to doubt, however far the tasks are apart."""
    found = iqm_interval([1.0, 1.0, 1.0], [100.0, 100.0, 100.0])
    assert found.low == found.value == found.high
    profile = performance_profile([[1.0, 1.0], [3.0, 3.0]], [2.0])
    assert (profile.low[0], profile.value[0], profile.high[0]) == (0.5, 0.5, 0.5)


def test_performance_profile_against_a_loop():
    tasks = [[0.1, 0.5, 0.9], [0.4, 0.4]]
    thresholds = [0.0, 0.4, 0.5, 1.0]
    expected = []
    for threshold in thresholds:
        shares = []
        for scores in tasks:
            shares.append(sum(score > threshold for score in scores) / len(scores))
        expected.append(sum(shares) / len(shares))
    found = performance_profile(tasks, thresholds)
    assert found.value == pytest.approx(expected)
    assert np.all(np.diff(found.value) <= 0)
    assert np.all(found.low <= found.value) and np.all(found.value <= found.high)
    assert found.low.shape == found.high.shape == (4,)


def test_one_run_has_no_interval():
    found = mean_interval([3.0])
    assert found.value == 3.0 and np.isnan(found.low) and np.isnan(found.high)


def test_the_same_scores_give_the_same_interval():
    scores = rng().normal(size=5)
    assert mean_interval(scores) == mean_interval(scores)


@pytest.mark.parametrize("samples", [[], [[]], [[1.0, np.nan]], [[1.0, 2.0], [np.inf, 1.0]]])
def test_scores_that_are_none(samples):
    with pytest.raises(ValueError):
        bootstrap(samples, lambda *arrays, axis: np.mean(arrays[0], axis=axis))


def test_student_interval_is_scipys():
    scores = [3.0, 5.0, 4.0, 9.0]
    mean, low, high = student_interval(scores)
    assert mean == pytest.approx(5.25)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 3, mean, stats.sem(scores)))
    one = student_interval([2.0])
    assert one.value == 2.0 and np.isnan(one.low) and np.isnan(one.high)
