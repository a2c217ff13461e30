"""The estimator against closed forms, in small settings, and the files of the experiment."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from wng_tf.experiments import accuracy_measurements as experiment
from wng_tf.experiments.accuracy_measurements import Case
from wng_tf.experiments.estimator_accuracy import write

SEEDS = (0, 1, 2)


def _medians(form, case):
    row = experiment.summarise(form, "reference", 0, case, experiment.measure(form, case, SEEDS))
    return row.cosine[1], row.error[1]


def test_truth_solves_the_damped_system():
    truth = experiment.Truth(np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.5, 1.0]]))
    direction = experiment.direction_of(truth, 0.25)
    np.testing.assert_allclose(truth.metric @ direction + 0.25 * direction, truth.gradient, atol=1e-14)


def test_compare():
    assert experiment.compare(np.array([2.0, 0.0]), np.array([1.0, 0.0])) == pytest.approx((1.0, 1.0))
    assert experiment.compare(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx((0.0, 2.0**0.5))


def test_problems_have_the_metrics_they_claim():
    rng = np.random.default_rng(0)
    gaussian = experiment.Estimator("reparameterised", 10, 2, 3)
    metric = gaussian.problem(4).metric
    v = gaussian._variables[1].numpy().astype(float)
    # W2² between q_θ and a neighbour is, to second order, the metric's quadratic form.
    step = 1e-4 * rng.normal(size=6)
    squared = (step[:3] ** 2).sum() + ((np.exp(v + step[3:]) - np.exp(v)) ** 2).sum()
    assert step @ metric @ step == pytest.approx(squared, rel=1e-3)
    evolution = experiment.Estimator("evolution", 10, 2, 3)
    metric = evolution.problem(4).metric
    moved = evolution._matrix.numpy() @ step[:3]
    assert step[:3] @ metric @ step[:3] == pytest.approx(moved @ moved, rel=1e-5)


@pytest.mark.parametrize("dimension", [1, 2])
def test_many_basis_functions_find_the_natural_gradient(dimension):
    case = Case(samples=5000, basis=50, dimension=dimension)
    cosine, error = _medians("reparameterised", case)
    assert cosine >= 0.999
    assert error <= 0.03
    assert _medians("score", case)[0] >= 0.99
    assert _medians("evolution", case)[0] >= 0.99


def test_few_basis_functions_slow_down_as_many_directions():
    rows = experiment.damping_of_directions(Case(samples=1000, dimension=5), (2, 5), SEEDS)
    assert [row.slowed for row in rows] == [2, 5]
    assert all(row.slowed_exactly == 10 for row in rows)
    cosine, error = _medians("reparameterised", Case(samples=1000, basis=5, dimension=5))
    # The directions that nobody slows down keep the length 1/ε: the direction is part right, its length far off.
    assert cosine < 0.95
    assert error > 10


def test_strong_damping_hides_what_few_basis_functions_miss():
    assert _medians("reparameterised", Case(samples=1000, basis=5, dimension=5, epsilon=10.0))[0] > 0.98


def test_cases_vary_one_thing_at_a_time():
    few = Case(basis=experiment.FEW)
    for varied, value, case in experiment.cases():
        if varied == "reference":
            continue
        name = varied.removesuffix("_few")
        around = few if varied.endswith("_few") else Case()
        assert getattr(case, name) == value
        assert {**vars(case), name: None} == {**vars(around), name: None}


def test_files(tmp_path, monkeypatch):
    def outcomes(form, case, seeds):
        return [experiment.Outcome(0.9 - 0.01 * seed, 0.1 + 0.01 * seed, 0.001) for seed in seeds]

    monkeypatch.setattr(experiment, "measure", outcomes)
    rows = experiment.sweep(SEEDS)
    damped = [experiment.Damped(5, 5.0, 10.0, 0.5, 1.0), experiment.Damped(50, 10.0, 10.0, 1.0, 1.0)]
    written = write(rows, damped, SEEDS, tmp_path)
    assert (tmp_path / "estimator_accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert all(path.stat().st_size > 0 for path in written)
    with (tmp_path / "accuracy.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(experiment.FORMS) * len(experiment.cases())
    assert {(row["cosine_median"], row["error_median"], row["milliseconds"]) for row in table} == {("0.89", "0.11", "1")}
    assert "| 5 | 20000 | 200 | 0.8900, 0.110" in (tmp_path / "README.md").read_text(encoding="utf-8")
