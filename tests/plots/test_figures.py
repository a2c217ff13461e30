"""What is in the figures, and how it looks where that can be said in numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from wng_tf.algorithms import EVOLUTION_STRATEGIES, POLICY_GRADIENTS
from wng_tf.plots import figures
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
