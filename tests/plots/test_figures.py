"""What is in the figures, and how it looks where that can be said in numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from wng_tf.algorithms import EVOLUTION_STRATEGIES, POLICY_GRADIENTS
from wng_tf.plots import figures, tuning
from wng_tf.plots.curves import Band
from wng_tf.plots.statistics import Interval
from wng_tf.plots.style import METHODS, Look, contrast_with_white, method_name, ordered, readable, spread, task_name

PPO, WNPG, PG = ("ppo", ""), ("wnpg", ""), ("pg", "")


def texts(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_panels_of_a_row_have_one_range_and_keep_their_column():
    x = np.array([0.0, 1.0])
    curves = {env: {PPO: Band(x, np.array([[0.0, top]]))} for env, top in (("C", 50.0), ("A", 1.0), ("B", 8.0))}
    figure = figures.draw_curves(curves, ylabel="Return", rows=[("A", "B"), ("nothing", "C")])
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes}
    assert set(panels) == {"A", "B", "C"}
    ranges = {name: ax.get_ylim() for name, ax in panels.items()}
    assert ranges["A"] == ranges["B"] and 8.0 < ranges["A"][1] < 10.0 and ranges["C"][1] > 50.0
    places = {name: ax.get_subplotspec() for name, ax in panels.items()}
    assert [(places[name].rowspan.start, places[name].colspan.start) for name in "ABC"] == [(0, 0), (0, 1), (1, 1)]


def test_curves_show_every_mean_and_name_every_line():
    x = np.linspace(0, 1e6, 11)
    made = {PPO: Band(x, np.stack([x, 3 * x])), WNPG: Band(x, np.stack([x, x]))}
    figure = figures.draw_curves({"Hopper-v5": made, "Walker2d": {PG: made[PPO]}}, ylabel="Return")
    first, second = figure.axes
    assert sorted(line.get_ydata()[-1] for line in first.lines) == [1e6, 2e6]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Hopper-v5", "Walker2d (PyBullet)"]
    assert sorted(texts(figure)) == ["None", "PPO (Clip)", "WNPG"]
    assert len(first.collections) == 2 and first.get_xlim() == (0.0, 1e6)


def test_a_method_has_one_colour_in_every_figure():
    look = Look([PPO, WNPG, PG])
    assert Look([PPO]).color(PPO) == look.color(PPO) == METHODS["ppo"][1]
    x = np.linspace(0, 1, 3)
    curves = figures.draw_curves({"A": {PPO: Band(x, x[None])}}, ylabel="Return")
    flat = Interval(x, x, x)
    profile = figures.draw_profile(x, {PPO: flat, WNPG: flat}, xlabel="Return")
    improvement = figures.draw_improvement([(PPO, WNPG)], [Interval(0.5, 0.2, 0.9)])
    efficiency = figures.draw_efficiency({"A": {PPO: np.array([1.0, 2.0])}})
    # The first of the legend, WNPG, is drawn last, on top.
    lines = [made.axes[0].lines[0] for made in (curves, profile, improvement, efficiency)]
    assert {line.get_color() for line in lines} == {METHODS["ppo"][1]}


def test_every_algorithm_of_the_tables_has_a_look():
    assert set(METHODS) >= {*POLICY_GRADIENTS, *EVOLUTION_STRATEGIES}
    for family in (POLICY_GRADIENTS, EVOLUTION_STRATEGIES):
        colors = [METHODS[alg][1] for alg in family]
        assert len(set(colors)) == len(colors)


def test_variants_and_strangers_are_told_apart():
    methods = [("ppo", "lr=1e-4"), ("ppo", "lr=3e-4"), ("sb3", ""), ("cleanrl", "")]
    look = Look(methods)
    assert len({(look.color(method), str(look.line(method))) for method in methods}) == 4
    assert method_name(("ppo", "lr=1e-4")) == "PPO (Clip), lr=1e-4" and method_name(("sb3", "")) == "sb3"


def test_order_is_the_papers_with_variants_by_number():
    methods = [PG, ("ppo", "lr=1e-4"), ("ppo", "lr=5e-5"), WNPG, ("zzz", ""), ("bg_wnpg", "")]
    expected = [("bg_wnpg", ""), WNPG, ("ppo", "lr=5e-5"), ("ppo", "lr=1e-4"), PG, ("zzz", "")]
    assert ordered(methods) == expected


@pytest.mark.parametrize("color", [color for _, color in METHODS.values()])
def test_text_reads_on_white(color):
    assert contrast_with_white(readable(color)) >= 4.5


def test_contrast_of_black_and_white():
    assert contrast_with_white("#ffffff") == pytest.approx(1.0)
    assert contrast_with_white("#000000") == pytest.approx(21.0)


def test_task_names_say_the_engine():
    assert [task_name(env) for env in ("Hopper", "Hopper-v5", "Point")] == ["Hopper (PyBullet)", "Hopper-v5", "Point"]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.01, 0.4))
def test_labels_move_as_little_as_they_can(positions, gap):
    moved = np.array(spread(positions, gap))
    order = np.argsort(positions, kind="stable")
    assert np.all(np.diff(moved[order]) >= gap - 1e-9)
    cost = np.sum((moved - positions) ** 2)
    constraints = [
        {"type": "ineq", "fun": lambda z, a=a, b=b: z[b] - z[a] - gap} for a, b in zip(order, order[1:], strict=False)
    ]
    start = np.array(positions)
    start[order] = np.linspace(0, gap * len(positions), len(positions))
    best = minimize(lambda z: np.sum((z - positions) ** 2), start, constraints=constraints, method="SLSQP")
    assert cost <= best.fun + 1e-5


def test_a_method_as_such_keeps_its_colour_beside_its_variants():
    methods = [("es", ""), ("es", "grad-clip"), ("bges", ""), ("bges", "β = 0.5"), ("bges", "β = 0.75")]
    look = Look(methods)
    assert look.color(("es", "")) == METHODS["es"][1] and look.color(("bges", "")) == METHODS["bges"][1]
    assert len({look.color(method) for method in methods}) == len(methods)
    assert look.line(("bges", "")) == "-"


def test_a_stranger_has_the_same_colour_whoever_is_beside_it():
    alone = Look([("sb3", "")]).color(("sb3", ""))
    assert Look([("sb3", ""), PPO, WNPG, ("zzz", "")]).color(("sb3", "")) == alone
    assert Look([("sb3", "")], {"sb3": "#123456"}).color(("sb3", "")) == "#123456"
    many = [(f"own {place}", "") for place in range(8)]
    assert len({Look(many).color(method) for method in many}) == 8


def edges(figure) -> list[tuple[float, float]]:
    """Lowest and highest point of each band."""
    paths = [path.vertices[:, 1] for ax in figure.axes for band in ax.collections for path in band.get_paths()]
    return [(float(y.min()), float(y.max())) for y in paths]


def test_a_band_is_not_below_zero_where_no_run_was():
    x = np.array([0.0, 1.0])
    kl = {PPO: Band(x, np.array([[0.0, 0.1], [0.0, 2.0]]))}  # mean 1.05, sd 1.34
    ((low, high),) = edges(figures.draw_curves({"A": kl}, ylabel="KL"))
    assert low == 0.0 and high == pytest.approx(1.05 + np.std([0.1, 2.0], ddof=1))
    below = {PPO: Band(x, np.array([[0.0, 0.1], [-1.0, 2.0]]))}
    ((low, _),) = edges(figures.draw_curves({"A": below}, ylabel="Return"))
    assert low == pytest.approx(-0.5 - np.std([0.0, -1.0], ddof=1))


def test_names_of_many_lines_stay_beside_the_axes():
    x = np.array([0.0, 1.0])
    methods = [*list(METHODS)[:9], *(f"own {place}" for place in range(6))]
    made = {(alg, ""): Band(x, np.array([[0.0, 10.0 + 1e-3 * place]])) for place, alg in enumerate(methods)}
    figure = figures.draw_curves({"A": made}, ylabel="Return")
    heights = sorted(text.xyann[1] for text in figure.axes[0].texts)
    assert len(heights) == len(methods) and heights[0] >= -1e-9 and heights[-1] <= 1.0 + 1e-9
    points = 72.0 * figure.get_size_inches()[1] * 0.7  # of the axes, about
    assert min(np.diff(heights)) * points >= 7.0  # the size of the letters


def test_six_tasks_are_six_panels_with_every_method_in_each():
    x = np.array([0.0, 1.0])
    tasks = {f"Task{i}": {PPO: Band(x, np.array([[0.0, i]])), WNPG: Band(x, np.array([[0.0, 2.0 * i]]))} for i in range(6)}
    figure = figures.draw_curves(tasks, ylabel="Return")
    assert len(figure.axes) == 6 and all(len(ax.lines) == 2 for ax in figure.axes)
    colors = {tuple(line.get_color() for line in ax.lines) for ax in figure.axes}
    assert len(colors) == 1


def test_history_of_a_search():
    trials = [(0, 1.0, False), (1, 0.5, True), (2, 3.0, False), (3, 2.0, False), (4, 0.1, True)]
    figure = tuning.draw_history({("Hopper-v5", "ppo"): trials}, ylabel="Return")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["complete"].get_xdata().tolist() == [0, 2, 3] and lines["pruned"].get_xdata().tolist() == [1, 4]
    assert lines["best so far"].get_ydata().tolist() == [1.0, 3.0, 3.0, 3.0]
    assert lines["best so far"].get_xdata().tolist() == [0, 2, 3, 4]
    figure = tuning.draw_history({("Hopper-v5", "ppo"): [(0, 1.0, True)]}, ylabel="Return")
    assert [line.get_label() for line in figure.axes[0].lines] == ["pruned"]


def test_importance_of_flags():
    figure = tuning.draw_importance({("Hopper-v5", "ppo"): {"gamma": 0.2, "lr": 0.8}})
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["lr", "gamma"]
    assert [bar.get_width() for bar in ax.patches] == [0.8, 0.2]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(st.floats(-1, 2), min_size=1, max_size=6))
def test_labels_stay_within_their_limits(positions):
    moved = np.array(spread(positions, 0.1, 0.0, 1.0))
    assert moved.min() >= -1e-9 and moved.max() <= 1.0 + 1e-9
    assert np.all(np.diff(np.sort(moved)) >= 0.1 - 1e-9)
