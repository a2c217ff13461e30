"""Embeddings of populations against the registered functions, rollout by rollout."""

from __future__ import annotations

import numpy as np
import pytest

from wng_tf import embeddings
from wng_tf.errors import UserError
from wng_tf.evolution.embeddings import PopulationEmbedding, Trajectories

HORIZON = 9


@pytest.fixture
def trajectories():
    rng = np.random.default_rng(0)
    lengths = np.array([9, 4, 1, 7])
    alive = np.arange(HORIZON) < lengths[:, np.newaxis]
    observations = (rng.standard_normal((4, HORIZON, 3)) * alive[..., np.newaxis]).astype(np.float32)
    return Trajectories(
        rewards=rng.standard_normal((4, HORIZON)) * alive,
        lengths=lengths,
        final_observations=rng.standard_normal((4, 3)),
        observation_sums=observations.sum(axis=1, dtype=np.float64),
        observations=observations,
        actions=(rng.standard_normal((4, HORIZON, 2)) * alive[..., np.newaxis]).astype(np.float32),
    )


def one_by_one(name, trajectories, length):
    function = embeddings.find(name).function
    rows = []
    for i, steps in enumerate(trajectories.lengths):
        trajectory = embeddings.Trajectory(
            trajectories.observations[i, :steps],
            trajectories.actions[i, :steps],
            trajectories.rewards[i, :steps],
            trajectories.final_observations[i],
        )
        rows.append(function(trajectory, length))
    return np.array(rows)


@pytest.mark.parametrize("length", [0, 5])
@pytest.mark.parametrize("name", ["final_state", "mean_state", "reward_to_go", "trajectory_actions"])
def test_same_as_the_registered_function(name, length, trajectories):
    embed = PopulationEmbedding(name, HORIZON, length)
    np.testing.assert_allclose(embed(trajectories), one_by_one(name, trajectories, length or HORIZON), rtol=1e-6, atol=1e-7)


def test_reward_to_go_is_the_printed_sum(trajectories):
    x = PopulationEmbedding("reward_to_go", HORIZON)(trajectories)
    for n in range(4):
        for i in range(HORIZON):
            assert x[n, i] == pytest.approx(sum(trajectories.rewards[n, t] for t in range(i, HORIZON)), abs=1e-12)


def test_only_some_need_every_step():
    needs = {name: PopulationEmbedding(name, HORIZON).needs_steps for name in ("final_state", "mean_state", "reward_to_go")}
    assert not any(needs.values())
    assert PopulationEmbedding("trajectory_actions", HORIZON).needs_steps
    assert PopulationEmbedding("reward_to_go", HORIZON, 5).needs_steps


def test_ones_own(trajectories):
    x = PopulationEmbedding("toy_worlds:last_action", HORIZON)(trajectories)
    np.testing.assert_array_equal(x[1], trajectories.actions[1, 3])


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "Unknown embedding"), ("actions", "choose one of"), ("toy_worlds:nothing", "cannot be imported")],
)
def test_unusable_names(name, message):
    with pytest.raises(UserError, match=message):
        PopulationEmbedding(name, HORIZON)


def test_vectors_of_several_lengths_are_refused(trajectories):
    with pytest.raises(UserError, match="one length"):
        PopulationEmbedding("toy_worlds:ragged", HORIZON)(trajectories)
