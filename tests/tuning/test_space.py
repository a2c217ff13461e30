"""Search texts read, refused, and turned into what Optuna proposes."""

from __future__ import annotations

import pytest

from wng_tf import algorithms
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.sweeps.check import check_settings
from wng_tf.sweeps.grid import Run
from wng_tf.tuning.space import Range, Values, grid_points, parse, parse_mapping

FORMS = {
    "lr=log:1e-5:3e-4": Range("lr", "log", 1e-5, 3e-4),
    "gamma=linear:0.9:0.99": Range("gamma", "linear", 0.9, 0.99),
    "lam=linear:0.9:1:0.05": Range("lam", "linear", 0.9, 1.0, 0.05),
    "num_basis=int:5:50:5": Range("num_basis", "int", 5, 50, 5),
    "nsteps=logint:64:4096": Range("nsteps", "logint", 64, 4096),
    "trust_radius=0.01|0.03|0.1": Values("trust_radius", ("0.01", "0.03", "0.1")),
    "lr=linear:3e-4|linear:1e-4": Values("lr", ("linear:3e-4", "linear:1e-4")),
    "lr=linear:3e-4": Values("lr", ("linear:3e-4",)),
    "metric=my.module:Metric|fisher_exact": Values("metric", ("my.module:Metric", "fisher_exact")),
}


@pytest.mark.parametrize("text", FORMS)
def test_forms(text):
    assert parse([text]) == (FORMS[text],)
    assert parse([FORMS[text].text]) == (FORMS[text],)


REFUSED = {
    "lr": "not name=values",
    "lr=": "not name=values",
    "=1|2": "not name=values",
    "lr=log:1e-5": "lacks the ends",
    "lr=log:a:b": "lacks the ends",
    "lr=log:nan:1": "lacks the ends",
    "lr=log:1e-3:1e-5": "begin below its end",
    "lr=log:0:1": "begin above 0",
    "lr=log:1:10:2": "no step",
    "num_basis=int:1.5:3": "whole numbers",
    "gamma=linear:0:1:2": "the step",
    "lr=1e-4||3e-4": "empty value",
    "lr=1e-4|1e-4": "a value twice",
    "lr=log:1e-5:3e-4|1e-3": "a range or values",
}


@pytest.mark.parametrize("text", REFUSED)
def test_other_forms_are_refused_in_one_sentence(text):
    with pytest.raises(UserError, match=REFUSED[text]) as error:
        parse([text])
    assert str(error.value).startswith(f"--search='{text}'") and "\n" not in str(error.value)


def test_the_last_text_on_a_flag_counts():
    assert [axis.text for axis in parse(["lr=1|2", "gamma=0.9|0.99", "lr=3|4"])] == ["lr=3|4", "gamma=0.9|0.99"]


def test_a_grid_has_every_point_in_the_order_of_a_sweep():
    points = grid_points(parse(["lr=1e-4|3e-4", "num_basis=int:5:15:5"]))
    assert [tuple(point.values()) for point in points] == [
        (lr, basis) for lr in ("1e-4", "3e-4") for basis in ("5", "10", "15")
    ]
    assert [point["lam"] for point in grid_points(parse(["lam=linear:0.9:1:0.05"]))] == ["0.9", "0.95", "1"]
    for endless in ("lr=log:1e-5:1e-3", "gamma=linear:0.9:1"):
        with pytest.raises(UserError, match="no end of values"):
            grid_points(parse([endless]))


@pytest.mark.parametrize("name", [*algorithms.POLICY_GRADIENTS, *algorithms.EVOLUTION_STRATEGIES])
def test_every_algorithm_has_a_space_of_flags_that_it_uses(name):
    axes = parse_mapping(algorithms.SEARCH[name])
    task = tasks.resolve("Hopper-v5").name
    for axis in axes:
        for text in axis.probes():
            assert check_settings(Run(name, task, 0, ((axis.name, text),))) == set()
