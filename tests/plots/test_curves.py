"""Curves of runs whose episodes are known, against loops."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plots.synthetic_runs import write_run
from wng_tf.errors import UserError
from wng_tf.plots.curves import Band, bands, final_value, interpolate, metric_curve, return_curve, running_mean
from wng_tf.plots.runs import load_run


def run_of(tmp_path, **options):
    defaults = {"alg": "ppo", "env": "Hopper-v5", "seed": 0}
    return load_run(write_run(tmp_path / f"run{len(list(tmp_path.iterdir()))}", **(defaults | options)))


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.integers(1, 8))
def test_running_mean_is_baselines_deque(values, window):
    last = deque(maxlen=window)
    expected = []
    for value in values:
        last.append(value)
        expected.append(np.mean(last))
    assert np.allclose(running_mean(np.array(values), window), expected, atol=1e-6)


def test_return_curve_of_one_environment(tmp_path):
    returns, lengths = np.array([1.0, 3.0, 8.0, 4.0]), np.array([100, 50, 70, 30])
    curve = return_curve(run_of(tmp_path, returns=returns, lengths=lengths, nsteps=128), window=2)
    # The run goes on to step 256 without another episode.
    assert list(curve.steps) == [100, 150, 220, 250, 256]
    assert list(curve.values) == [1.0, 2.0, 5.5, 6.0, 6.0]
    assert final_value(curve) == 6.0
    assert np.allclose(curve.seconds, curve.steps * 1e-3)


def test_environments_that_step_together(tmp_path):
    """Two worlds: the run's steps are twice each world's own, and episodes count in the order of their ends."""
    returns, lengths = np.arange(6.0), np.array([10, 7, 20, 9, 1, 30])
    run = run_of(tmp_path, returns=returns, lengths=lengths, num_env=2, nsteps=20)
    ends = []
    for world in range(2):
        own = 0
        for i in range(world, 6, 2):
            own += lengths[i]
            ends.append((2 * own, i))
    curve = return_curve(run, window=1)
    assert list(curve.steps[:6]) == [end for end, _ in sorted(ends)]
    assert list(curve.values[:6]) == [float(i) for _, i in sorted(ends)]


def test_log_and_monitor_agree(tmp_path):
    returns = np.random.default_rng(0).normal(size=300).cumsum()
    run = run_of(tmp_path, returns=returns, nsteps=1000)
    monitor, log = return_curve(run, source="monitor"), return_curve(run, source="progress")
    assert np.allclose(np.interp(log.steps, monitor.steps, monitor.values), log.values)
    assert return_curve(run).steps.size == monitor.steps.size


def test_evolution_strategies_are_read_from_the_log(tmp_path):
    run = run_of(tmp_path, alg="wnes", env="Point", returns=np.arange(50.0), nsteps=1000)
    assert np.array_equal(return_curve(run).values, metric_curve(run, "eprewmean").values)


def test_metrics_leave_out_missing_values(tmp_path):
    columns = {"wng/cosine": lambda step: "" if step == 2000 else step / 1e4}
    run = run_of(tmp_path, returns=np.ones(30), nsteps=1000, columns=columns)
    curve = metric_curve(run, "wng/cosine")
    assert list(curve.steps) == [1000, 3000] and list(curve.values) == [0.1, 0.3]
    with pytest.raises(UserError, match="does not log 'wng/cosin': it has"):
        metric_curve(run, "wng/cosin")


def test_a_run_without_its_source(tmp_path):
    run = run_of(tmp_path, returns=[])
    with pytest.raises(UserError, match="no monitor files with episodes"):
        return_curve(run, source="monitor")
    (run.folder / "progress.csv").unlink()
    with pytest.raises(UserError, match="no progress.csv"):
        return_curve(load_run(run.folder))


def test_interpolation_is_linear_inside_and_silent_outside():
    found = interpolate(np.array([0.0, 1.0, 1.5, 2.0, 3.0]), np.array([1.0, 2.0]), np.array([10.0, 20.0]))
    assert np.isnan(found[[0, 4]]).all() and list(found[1:4]) == [10.0, 15.0, 20.0]


def test_bands_have_the_mean_and_deviation_over_seeds(tmp_path):
    runs = [run_of(tmp_path, seed=seed, returns=np.full(20, value), total=2000, nsteps=1000)
            for seed, value in enumerate([1.0, 2.0, 6.0])]  # fmt: skip
    runs.append(run_of(tmp_path, alg="wnpg", returns=np.full(10, 5.0), total=1000, nsteps=1000))
    found = bands(((run, return_curve(run)) for run in runs), points=5)["Hopper-v5"]
    band = found["ppo", ""]
    assert list(band.x) == [0, 500, 1000, 1500, 2000]
    assert np.isnan(band.mean[0])  # before the first episode ended
    assert np.allclose(band.mean[1:], 3.0) and np.allclose(band.sd[1:], np.std([1, 2, 6], ddof=1))
    short = found["wnpg", ""]
    assert np.isnan(short.mean[3:]).all() and np.allclose(short.mean[1:3], 5.0)
    assert np.allclose(short.sd[1:3], 0.0)


def test_bands_over_minutes(tmp_path):
    slow = run_of(tmp_path, returns=np.arange(20.0), seconds_per_step=0.12, total=2000, nsteps=1000)
    silent = run_of(tmp_path, alg="pg", returns=np.arange(20.0))
    (silent.folder / "progress.csv").unlink()
    silent = load_run(silent.folder)
    pairs = [(run, return_curve(run, window=1)) for run in (slow, silent)]
    found = bands(pairs, axis="minutes", points=5)["Hopper-v5"]
    assert set(found) == {("ppo", "")}  # the other did not log its time
    assert np.allclose(found["ppo", ""].x, [0, 1, 2, 3, 4])
    assert found["ppo", ""].mean[-1] == 19.0
    assert found["ppo", ""].mean[1] == 4.0  # after one minute 500 steps, the fifth episode


def test_band_means_need_every_run():
    band = Band(np.array([0.0, 1.0]), np.array([[1.0, 2.0], [np.nan, 4.0]]))
    assert np.isnan(band.mean[0]) and band.mean[1] == 3.0
