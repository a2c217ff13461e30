"""Randomness of a generation: streams, mirroring, shared starts."""

from __future__ import annotations

import numpy as np
import pytest

from wng_tf.evolution import population
from wng_tf.evolution.population import Stream


def test_perturbations_depend_on_seed_and_generation_alone():
    first = population.perturbations(3, 5, (4, 7))
    population.perturbations(3, 6, (4, 7))
    np.testing.assert_array_equal(first, population.perturbations(3, 5, (4, 7)))
    for seed, generation in ((4, 5), (3, 6), (5, 3), (2**63 + 3, 5)):
        assert (first != population.perturbations(seed, generation, (4, 7))).all()


def test_streams_do_not_overlap():
    draws = [population.generator(0, 1, stream).random(50) for stream in Stream]
    draws += [population.generator(0, 2, Stream.ACTIONS).random(50)]
    values = np.concatenate(draws)
    assert len(np.unique(values)) == len(values)


def test_perturbations_are_standard_normal():
    xi = population.perturbations(0, 0, (2000, 30))
    assert abs(xi.mean()) < 0.02
    np.testing.assert_allclose(np.cov(xi.T), np.eye(30), atol=0.15)


def test_unit_perturbations_have_norm_one_after_scaling_and_identity_covariance():
    xi = population.perturbations(0, 0, (4000, 20), unit_norm=True)
    np.testing.assert_allclose(np.linalg.norm(xi / np.sqrt(20), axis=1), 1.0)
    np.testing.assert_allclose(xi.T @ xi / 4000, np.eye(20), atol=0.1)


def test_mirrored_order():
    theta, xi = np.arange(3.0), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    expected = [[0.5, 1, 2], [0, 1.5, 3], [-0.5, 1, 2], [0, 0.5, 1]]
    np.testing.assert_array_equal(population.mirrored(theta, xi, 0.5), expected)


@pytest.mark.parametrize("sharing", ["pair", "generation", "run", "none"])
def test_who_starts_together(sharing):
    one, two = (population.start_seeds(7, generation, 6, 2, sharing) for generation in (0, 1))
    assert len(one) == len(two) == 14
    pairs, evaluations = np.array(one[:12]).reshape(2, 6), one[12:]
    distinct = {"pair": 6, "generation": 1, "run": 1, "none": 12}[sharing]
    assert len(set(one[:12])) == distinct
    assert (pairs[0] == pairs[1]).all() == (sharing != "none")
    assert (one == two) == (sharing == "run")
    assert len(set(evaluations)) == (1 if sharing == "run" else 2)
    assert all(0 <= seed < 2**31 for seed in one)


def test_evaluations_start_alike_whatever_the_population():
    seeds = {tuple(population.start_seeds(1, 4, pairs, 3, how)[-3:]) for pairs in (2, 9) for how in ("pair", "none")}
    assert len(seeds) == 1


def test_unknown_sharing():
    with pytest.raises(ValueError, match="'some'"):
        population.start_seeds(0, 0, 1, 1, "some")


def test_evaluations_act_without_noise():
    noise = population.action_noise(0, 0, 5, 3, 2, 4)
    assert noise.shape == (5, 8, 4)
    assert noise.dtype == np.float32
    assert (noise[:, 6:] == 0).all()
    assert (noise[:, :6] != 0).all()
