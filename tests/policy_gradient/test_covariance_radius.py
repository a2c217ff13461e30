"""A radius of its own for the covariance: both parts reach theirs, whatever the metric, distance and number of steps."""

from __future__ import annotations

import numpy as np
import pytest
from trust_regions import DISCRETE, flat_of, kl, make, make_batch, surrogate, w2_squared

from wng_tf.errors import UserError


def parts_of(old, new, distance) -> tuple[float, float]:
    """How far the mean alone and the covariance alone moved."""
    (mean, logstd), (new_mean, new_logstd) = (np.split(x, 2, axis=1) for x in (old, new))
    return distance(old, np.hstack([new_mean, logstd])), distance(old, np.hstack([mean, new_logstd]))


@pytest.mark.parametrize(
    ("alg", "given"),
    [
        ("trpo", {"trust_radius": 0.01, "covariance_radius": 1e-4}),
        ("trpo", {"trust_radius": 1e-3, "covariance_radius": 0.02}),
        ("wtrpo", {"trust_radius": 0.02, "covariance_radius": 2e-4}),
        ("trpo", {"trust_radius": 0.01, "covariance_radius": 1e-3, "distance": "wasserstein"}),
        ("pg", {"step_rule": "trust_region", "trust_radius": 0.01, "covariance_radius": 1e-3}),
    ],
)
def test_each_part_reaches_its_own_radius(alg, given):
    learner = make(alg, **given)
    batch = make_batch(learner)
    report = learner.update(batch, 1, 1e-3, fused=False)
    old, new = batch.pd_flat.astype(np.float64), flat_of(learner, batch)
    wasserstein = alg == "wtrpo" or given.get("distance") == "wasserstein"
    moved = parts_of(old, new, w2_squared if wasserstein else kl)
    unit = np.mean(np.exp(2.0 * old[:, 2:])) if wasserstein else 1.0
    np.testing.assert_allclose(moved, (given["trust_radius"] * unit, given["covariance_radius"]), rtol=0.012)
    reported = report["wng/distance_mean"], report["wng/distance_covariance"]
    np.testing.assert_allclose(reported, moved, rtol=2e-3)
    assert report["wng/accepted"] == 1.0


@pytest.mark.parametrize("alg", ["trpo", "wtrpo"])
def test_the_mean_moves_as_it_would_with_the_covariance_held(alg):
    """The exact metrics have no product between the two parts: a tiny radius of one leaves the other's direction alone."""
    moved = []
    for radius in (1e-8, 1e-3):
        learner = make(alg, trust_radius=0.01, covariance_radius=radius, cg_damping=0.0, cg_iters=60)
        before = learner.theta.numpy()
        learner.update(make_batch(learner), 1, 1e-3, fused=False)
        size = learner.policy.policy_size - 2
        moved.append((learner.theta.numpy() - before)[:size])
    np.testing.assert_allclose(*moved, atol=0.02 * np.abs(moved[0]).max())


def test_natural_steps_share_both_radii():
    learner = make("trpo", trust_radius=0.02, covariance_radius=1e-3, natural_steps=3)
    batch = make_batch(learner)
    learner.update(batch, 1, 1e-3, fused=False)
    mean, covariance = parts_of(batch.pd_flat.astype(np.float64), flat_of(learner, batch), kl)
    assert 0.6 * 0.02 < mean <= 1.02 * 0.02 and 0.6 * 1e-3 < covariance <= 1.02 * 1e-3


def test_backtracking_keeps_both_within_their_radii_and_improves():
    learner = make("wtrpo", trust_radius=500.0, covariance_radius=200.0)
    batch = make_batch(learner)
    before = surrogate(learner, batch, flat_of(learner, batch))
    report = learner.update(batch, 1, 1e-3, fused=False)
    assert report["wng/accepted"] == 1.0 and report["wng/backtracks"] > 0
    assert report["wng/distance_covariance"] < 200.0
    assert surrogate(learner, batch, flat_of(learner, batch)) < before


def test_compiled_is_eager():
    given = {"trust_radius": 0.01, "covariance_radius": 1e-3, "natural_steps": 2}
    thetas = []
    for fused in (True, False):
        learner = make("trpo", **given)
        learner.update(make_batch(learner), 1, 1e-3, fused=fused)
        thetas.append(learner.theta.numpy())
    np.testing.assert_allclose(*thetas, rtol=0.01, atol=1e-4)


def test_discrete_actions_have_no_covariance():
    with pytest.raises(UserError, match="--covariance_radius=0.1: discrete actions have no covariance"):
        make("trpo", DISCRETE, covariance_radius=0.1)
