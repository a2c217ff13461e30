"""Figure 1: the exact objective and its gradients, the closed forms, and the paper's findings in a small setting."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy import integrate, stats

from wng_tf.experiments import figure1, figure1_findings, figure1_runs
from wng_tf.experiments.sinc_gaussian import (
    METHODS,
    PARAMETERISATIONS,
    direction,
    gradients,
    loss,
    optimise,
    penalty_gradient,
    record_at,
    start,
    step_variances,
)

# One point for each quadrature rule, and the edges of the range in which it is trusted.
POINTS = [(0.1, 0.2), (-2.5, 1.0), (0.0, 3.0), (9.0, 3.0), (12.0, 12.0), (-11.9, 0.1), (59.0, 0.5), (60.0, 60.0)]


@pytest.mark.parametrize(("mean", "std"), POINTS)
def test_loss_is_the_expectation_under_the_gaussian(mean, std):
    expected, _ = integrate.quad(
        lambda x: (1.0 - np.sinc(x / np.pi)) * stats.norm.pdf(x, mean, std), mean - 10 * std, mean + 10 * std, limit=2000
    )
    assert loss(np.array([mean]), np.array([std**2])) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("mean", "std"), POINTS)
def test_quadrature_is_exact_to_rounding(mean, std):
    t, weights = np.polynomial.legendre.leggauss(400)
    t, weights = (t + 1) / 2, weights / 2
    damped = np.exp(-0.5 * std**2 * t**2)
    by_mean, by_variance = gradients(np.array([mean]), np.array([std**2]))
    assert by_mean[0] == pytest.approx(weights @ (t * np.sin(t * mean) * damped), abs=1e-13)
    assert by_variance[0] == pytest.approx(weights @ (t**2 / 2 * np.cos(t * mean) * damped), abs=1e-13)
    assert loss(np.array([mean]), np.array([std**2])) == pytest.approx(1 - weights @ (np.cos(t * mean) * damped), abs=1e-13)


def test_coordinates_of_different_reach_do_not_disturb_each_other():
    mean, std = map(np.array, zip(*POINTS, strict=True))
    together = gradients(mean, std**2)
    apart = [gradients(mean[i : i + 1], std[i : i + 1] ** 2) for i in range(len(mean))]
    np.testing.assert_allclose(together, np.concatenate(apart, axis=1), rtol=0, atol=1e-15)


def test_small_losses_keep_their_digits():
    # To second order the loss is (μ² + Σ)/6.
    assert loss(np.array([1e-12]), np.array([3e-24])) == pytest.approx(4e-24 / 6, rel=1e-10)


def _numerical(function, *arguments, steps):
    """Central differences in each scalar argument, held in arrays [1]."""
    slopes = []
    for place, step in enumerate(steps):
        plus, minus = [list(arguments) for _ in range(2)]
        plus[place], minus[place] = plus[place] + step, minus[place] - step
        slopes.append((function(*plus) - function(*minus)) / (2 * step))
    return np.array(slopes)


def _variance(parameterisation, v):
    return np.exp(2 * v) if parameterisation == "log_diagonal" else v


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS)
@pytest.mark.parametrize(("mean", "std"), POINTS[:5])
def test_directions_are_the_closed_forms_of_the_euclidean_gradient(parameterisation, mean, std):
    log = parameterisation == "log_diagonal"
    v = np.log(std) if log else std**2
    by_mean, by_v = _numerical(
        lambda m, v: loss(np.array([m]), np.array([_variance(parameterisation, v)])), mean, v, steps=(1e-5, 1e-5)
    )
    expected = {
        "sgd": (by_mean, by_v),
        "wng": (by_mean, by_v / std**2 if log else 4 * std**2 * by_v),
        "fng": (std**2 * by_mean, by_v / 2 if log else 2 * std**4 * by_v),
    }
    for method, of_method in expected.items():
        found = direction(method, parameterisation, np.array([mean]), np.array([std**2]))
        np.testing.assert_allclose(np.ravel(found), np.ravel(of_method), rtol=1e-6, atol=1e-7 * max(1, std**4))


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS)
@pytest.mark.parametrize("method", figure1_runs.PENALTIES)
def test_penalty_gradients_are_those_of_half_the_distance(method, parameterisation):
    mean, old_mean, old_std, std = 0.7, -0.4, 1.3, 0.8

    def half_distance(mean, v):
        std = np.sqrt(_variance(parameterisation, v))
        if method == "w2_penalty":
            return 0.5 * ((mean - old_mean) ** 2 + (std - old_std) ** 2)
        grid = np.linspace(-15, 15, 20_001)
        old = stats.norm(old_mean, old_std)
        ratio = old.logpdf(grid) - stats.norm(mean, std).logpdf(grid)
        return 0.5 * integrate.simpson(old.pdf(grid) * ratio, x=grid)

    v = np.log(std) if parameterisation == "log_diagonal" else std**2
    expected = _numerical(half_distance, mean, v, steps=(1e-4, 1e-4))
    arrays = (np.array([value]) for value in (mean, std**2, old_mean, old_std**2))
    found = penalty_gradient(method, parameterisation, *arrays)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)


def test_one_inner_step_of_a_penalty_is_gradient_descent():
    mean, variance = start(5, seed=1)
    settings = {"step_size": 0.3, "iterations": 30}
    plain = optimise("sgd", "log_diagonal", mean, variance, **settings)
    for method in figure1_runs.PENALTIES:
        penalised = optimise(method, "log_diagonal", mean, variance, penalty=5.0, inner_steps=1, **settings)
        np.testing.assert_array_equal(penalised.loss, plain.loss)


def test_variances_stay_positive_and_ordinary_steps_are_left_alone():
    np.testing.assert_allclose(step_variances(np.array([1.0, 1.0, 1.0]), np.array([-0.5, -2.0, 3.0])), [0.5, 0.1, 4.0])
    assert (step_variances(np.array([1e-30]), np.array([-1.0])) > 0).all()


def test_runs_side_by_side_equal_runs_alone_and_divergence_is_kept_apart():
    mean, variance = start(4, seed=2)
    step_sizes = np.array([0.5, 1000.0, 0.1])
    settings = {"penalty": 0.3, "iterations": 60}
    together = optimise("w2_penalty", "log_diagonal", mean, variance, step_size=step_sizes, **settings)
    np.testing.assert_array_equal(together.diverged, [False, True, False])
    assert np.isfinite(together.loss).all()
    for run in (0, 2):
        alone = optimise("w2_penalty", "log_diagonal", mean, variance, step_size=step_sizes[run], **settings)
        np.testing.assert_allclose(together.loss[run], alone.loss[0], rtol=1e-12)


def test_every_run_diverged_still_gives_full_histories():
    mean, variance = start(3, seed=0)
    history = optimise("sgd", "log_diagonal", mean, variance, step_size=1e5, iterations=50)
    assert history.diverged.all()
    assert history.loss.shape == (1, len(record_at(50)))


@pytest.fixture(scope="module")
def results():
    """Fewer dimensions and iterations: the coordinates are independent, and who stalls does so by then."""
    return figure1_runs.run(figure1_runs.Settings(dimensions=6, iterations=1500, seed=3))


def test_fisher_stalls_where_wasserstein_reaches_1e_8(results):
    for parameterisation in PARAMETERISATIONS:
        fng = results.runs["fng", parameterisation].loss[0]
        wng = results.runs["wng", parameterisation].loss[0]
        assert 1e-4 < fng[-1] < 1e-3
        assert wng[-1] < 1e-8
        early = np.searchsorted(results.runs["wng", parameterisation].iterations, 10)
        assert fng[early] < wng[early]


def test_fisher_ends_near_1e_4_after_the_paper_s_iterations():
    mean, variance = start(4, seed=0)
    for parameterisation in PARAMETERISATIONS:
        history = optimise("fng", parameterisation, mean, variance, step_size=0.9)
        assert 5e-5 < history.loss[0, -1] / 4 < 3e-4


def test_w2_penalty_stalls_in_the_log_parameterisation_whatever_its_strength(results):
    assert results.by_strength["w2_penalty", "log_diagonal"].loss[:, -1].min() > 1e-5


def test_plain_gradient_descent_stops_where_it_should(results):
    assert 5e-5 < results.runs["sgd", "log_diagonal"].loss[0, -1] < 1e-3


def test_only_wng_reaches_1e_8_in_the_log_parameterisation_and_over_the_widest_range(results):
    counts = {method: figure1_findings.usable(results, method, "log_diagonal", 1e-8) for method in METHODS}
    assert counts.pop("wng") >= 2
    assert set(counts.values()) == {0}


def test_files(results, tmp_path):
    written = figure1.write(results, tmp_path)
    assert all(path.stat().st_size > 0 for path in written)
    assert (tmp_path / "figure1.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "final_loss_by_step_size.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(METHODS) * len(PARAMETERISATIONS) * len(figure1_runs.STEP_SIZES)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for finding in figure1_findings.findings(results):
        assert f"| {finding.claim} | {finding.measured} | {'yes' if finding.holds else 'no'} |" in text
