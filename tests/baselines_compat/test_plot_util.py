from __future__ import annotations

import json

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from baselines_compat import plot_util
from baselines_compat.monitor import ResultsWriter
from baselines_compat.table import Table

values = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-100, 100))


# Smoothing, against loops over the definitions.


@settings(deadline=None)
@given(y=values, radius=st.integers(1, 12), mode=st.sampled_from(["two_sided", "causal"]), valid=st.booleans())
def test_smooth_is_the_mean_of_the_neighbours(y, radius, mode, valid):
    smoothed = plot_util.smooth(y, radius, mode, valid_only=valid)
    if len(y) < 2 * radius + 1:
        np.testing.assert_allclose(smoothed, np.full(len(y), y.mean()))
        return
    for i in range(len(y)):
        first, last = (i - radius, i + radius) if mode == "two_sided" else (i - radius + 1, i)
        neighbours = y[max(first, 0) : last + 1]
        complete = first >= 0 and last < len(y)
        expected = neighbours.mean() if complete or not valid else np.nan
        np.testing.assert_allclose(smoothed[i], expected, atol=1e-9)


def test_smooth_of_nothing():
    assert len(plot_util.smooth(np.array([]), 3)) == 0


def test_smooth_knows_two_modes():
    with pytest.raises(ValueError, match="not 'anticausal'"):
        plot_util.smooth(np.ones(3), 1, mode="anticausal")


def weighted_mean(x, xolds, yolds, period, causal):
    near = xolds <= x if causal else np.full(len(xolds), True)
    weights = np.exp(-np.abs(x - xolds[near]) / period)
    if not causal:
        weights = weights * np.where(xolds == x, 2.0, 1.0)  # such a point is in both passes
    return (weights @ yolds[near]) / weights.sum(), weights.sum()


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(0, 50), st.floats(-10, 10)), min_size=2, max_size=20),
    n=st.integers(2, 9),
    decay_steps=st.floats(0.5, 4),
    causal=st.booleans(),
)
def test_ema_is_the_weighted_mean_of_its_definition(points, n, decay_steps, causal):
    xolds, yolds = np.array(sorted(points)).T
    if xolds[0] == xolds[-1]:
        xolds = xolds + np.arange(len(xolds))
    ema = plot_util.one_sided_ema if causal else plot_util.symmetric_ema
    xs, ys, counts = ema(xolds, yolds, n=n, decay_steps=decay_steps, low_counts_threshold=0.0)
    period = (xolds[-1] - xolds[0]) / (n - 1) * decay_steps
    np.testing.assert_allclose(xs, np.linspace(xolds[0], xolds[-1], n))
    # Whether a point on the grid counts as before or after it hangs on the last digit: leave those grids out.
    between = np.abs(xs[1:-1, None] - xolds[None, :])
    if np.any((between > 0) & (between < 1e-9)):
        return
    for x, y, count in zip(xs, ys, counts, strict=True):
        mean, weight = weighted_mean(x, xolds, yolds, period, causal)
        np.testing.assert_allclose([y, count], [mean, weight], rtol=1e-6, atol=1e-9)


def test_ema_of_one_point():
    xs, ys, counts = plot_util.symmetric_ema(np.array([5.0]), np.array([3.0]), n=4)
    np.testing.assert_array_equal(xs, [5.0] * 4)
    np.testing.assert_array_equal(ys, [3.0] * 4)


def test_ema_far_from_all_points_is_not_a_number():
    xolds, yolds = np.array([0.0, 1000.0]), np.array([1.0, 2.0])
    _, ys, counts = plot_util.one_sided_ema(xolds, yolds, n=101, decay_steps=0.5)
    assert np.isnan(ys[50]) and counts[50] < 1e-8
    assert ys[0] == 1.0 and ys[-1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (([1, 2], [1]), "As many x as y"),
        (([], []), "at least one"),
        (([1, 2], [3, 4], 0.5, 2), "beyond the points"),
        (([1, 2], [3, 4], 1, 2.5), "beyond the points"),
    ],
)
def test_ema_does_not_extrapolate(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        plot_util.one_sided_ema(*map(np.asarray, arguments))


# Loading.


def write_run(folder, rewards, length=10):
    folder.mkdir(parents=True)
    writer = ResultsWriter(folder / "0", {"t_start": 0.0, "env_id": "X"})
    for number, reward in enumerate(rewards):
        writer.write_row({"r": reward, "l": length, "t": number})
    writer.close()
    lines = ["eprewmean,misc/total_timesteps"]
    lines += [f"{reward},{length * (number + 1)}" for number, reward in enumerate(rewards)]
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def runs(tmp_path):
    for name, rewards in {
        "Hopper/ppo-1": [0.0, 1.0, 2.0, 3.0],
        "Hopper/ppo-2": [2.0, 3.0, 4.0, 5.0, 6.0],
        "Hopper/wnpg-1": [5.0, 5.0, 5.0, 5.0],
        "Ant/ppo-1": [1.0, 1.0, 1.0, 1.0],
    }.items():
        write_run(tmp_path / name, rewards)
    return tmp_path


def test_load_results_finds_the_runs_below(runs, capsys):
    (runs / "Hopper/ppo-1/summary.json").write_text(json.dumps({"alg": "ppo"}))
    (runs / "Hopper/ppo-2/metadata.json").write_text(json.dumps({"note": 1}))
    (runs / "Hopper/ppo-2/checkpoints").mkdir()
    results = plot_util.load_results(str(runs), verbose=True)
    names = [result.dirname.removeprefix(f"{runs}/") for result in results]
    assert names == ["Ant/ppo-1", "Hopper/ppo-1", "Hopper/ppo-2", "Hopper/wnpg-1"]
    assert list(results[1].monitor.r) == list(results[1].progress.eprewmean) == [0, 1, 2, 3]
    assert [result.metadata for result in results] == [None, {"alg": "ppo"}, {"note": 1}, None]
    assert capsys.readouterr().out.endswith("loaded 4 results\n")


def test_load_results_of_several_folders_and_parts(runs):
    folders = [runs / "Ant", runs / "Hopper/wnpg-1"]
    assert len(plot_util.load_results(folders)) == 2
    assert plot_util.load_results(folders, enable_monitor=False)[0].monitor is None
    assert plot_util.load_results(folders, enable_progress=False)[0].progress is None
    assert plot_util.load_results(folders, enable_progress=False, enable_monitor=False) == []
    assert all(list(result) == [None] * 4 for result in [plot_util.Result()])


def test_load_results_prefers_json_as_baselines_does(runs):
    (runs / "Ant/ppo-1/progress.json").write_text('{"eprewmean": 9}\n')
    assert list(plot_util.load_results(runs / "Ant")[0].progress.eprewmean) == [9]


def test_load_results_of_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        plot_util.load_results(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "dirname, group", [("runs/Hopper/ppo-3", "ppo"), ("ppo", "ppo"), ("a-b/bg_wnpg-12", "bg_wnpg"), ("", "")]
)
def test_default_split_fn_drops_the_seed(dirname, group):
    assert plot_util.default_split_fn(plot_util.Result(dirname=dirname)) == group


# Plotting. What the figure holds is compared, not how it looks.


@pytest.fixture
def plot():
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield lambda *args, **kwargs: plot_util.plot_results(*args, **kwargs)
    plt.close("all")


def progress_xy(result):
    return result.progress["misc/total_timesteps"], result.progress["eprewmean"]


def test_a_run_without_monitor_files_is_drawn_from_its_log(runs):
    (result,) = plot_util.load_results(runs / "Hopper/ppo-1", enable_monitor=False)
    x, y = plot_util.default_xy_fn(result)
    assert list(x) == [10, 20, 30, 40] and list(y) == [0, 1, 2, 3]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_one_panel_for_each_split_and_one_curve_for_each_run(runs, plot):
    figure, axes = plot(plot_util.load_results(runs), xlabel="steps", ylabel="return")
    assert axes.shape == (2, 1)
    assert [ax.get_title() for ax in axes[:, 0]] == ["ppo", "wnpg"]
    assert [len(ax.lines) for ax in axes[:, 0]] == [3, 1]
    assert [ax.get_xlabel() for ax in axes[:, 0]] == ["", "steps"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["return", "return"]
    x, y = axes[1, 0].lines[0].get_data()
    assert list(x) == [10, 20, 30, 40] and list(y) == [5] * 4
    assert list(figure.get_size_inches()) == [6, 12]


def test_groups_in_one_panel_have_a_colour_each(runs, plot):
    _, axes = plot(plot_util.load_results(runs / "Hopper"), split_fn=None, xy_fn=progress_xy, figsize=(3, 2))
    (ax,) = axes.flat
    assert legend(ax) == ["ppo", "wnpg"]
    assert [line.get_color() for line in ax.lines] == ["blue", "blue", "green"]


def test_average_of_a_group_over_the_steps_that_its_runs_share(runs, plot):
    _, axes = plot(
        plot_util.load_results(runs / "Hopper"),
        split_fn=lambda result: "",
        xy_fn=progress_xy,
        average_group=True,
        resample=4,
        smooth_step=1e-3,
        legend_outside=True,
    )
    (ax,) = axes.flat
    assert legend(ax) == ["ppo (2)", "wnpg (1)"]
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, [10, 20, 30, 40])
    np.testing.assert_allclose(y, [1, 2, 3, 4])
    bands = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in ax.collections]
    # ppo: standard error, then standard deviation around 1 ... 4; wnpg: none around 5.
    np.testing.assert_allclose(bands, [3 + 2 / np.sqrt(2), 3 + 2, 0, 0], atol=1e-9)


def test_bands_can_be_left_out(runs, plot):
    _, axes = plot(plot_util.load_results(runs), average_group=True, shaded_std=False, shaded_err=False)
    assert all(len(ax.collections) == 0 for ax in axes.flat)
    assert len(axes[0, 0].lines[0].get_xdata()) == plot_util.EMA_SAMPLES


def test_resampled_curves(runs, plot):
    _, axes = plot(plot_util.load_results(runs / "Ant"), resample=16)
    x, y = axes[0, 0].lines[0].get_data()
    np.testing.assert_allclose(x, np.linspace(10, 40, 16))
    np.testing.assert_allclose(y, np.ones(16))


@pytest.mark.parametrize("tiling, shape", [(None, (6, 1)), ("horizontal", (1, 6)), ("symmetric", (2, 3))])
def test_tiling(plot, tiling, shape):
    curve = Table({"y": np.arange(3.0)})
    results = [plot_util.Result(progress=curve, dirname=f"run{i}") for i in range(6)]
    _, axes = plot(results, xy_fn=lambda r: (None, r.progress.y), tiling=tiling)
    assert axes.shape == shape
    assert list(axes.flat[0].lines[0].get_xdata()) == [0, 1, 2]


def test_points_without_a_value_are_left_out(plot):
    columns = {"x": np.arange(4.0), "y": np.array([np.nan, 1.0, np.inf, 2.0])}
    results = [
        plot_util.Result(progress=Table(columns), dirname="a"),
        plot_util.Result(progress=Table({"x": np.zeros(1), "y": np.array([np.nan])}), dirname="b"),
    ]
    _, axes = plot(results, xy_fn=lambda r: (r.progress.x, r.progress.y))
    assert list(axes[0, 0].lines[0].get_xdata()) == [1, 3]
    assert len(axes[1, 0].lines) == 0 and axes[1, 0].get_legend() is None


def test_averaging_runs_without_common_steps_is_an_error(plot):
    results = [
        plot_util.Result(progress=Table({"x": np.arange(3.0) + start, "y": np.ones(3)}), dirname="a") for start in (0, 10)
    ]
    with pytest.raises(ValueError, match="'a \\(2\\)' have no steps in common"):
        plot(results, xy_fn=lambda r: (r.progress.x, r.progress.y), average_group=True)


def test_bad_arguments(runs, plot):
    with pytest.raises(ValueError, match="no results"):
        plot([])
    with pytest.raises(ValueError, match="not 'diagonal'"):
        plot(plot_util.load_results(runs), tiling="diagonal")
