"""Behavioural embeddings against naive computations."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from baselines_compat.runner import Batch
from wng_tf import embeddings
from wng_tf.embeddings import Trajectory, embed_batch, embed_trajectories, find, split_trajectories
from wng_tf.errors import UserError
from wng_tf.policies.heads.categorical import Categorical

RNG = np.random.default_rng(0)


def trajectory(steps: int) -> Trajectory:
    rng = np.random.default_rng(steps)
    return Trajectory(rng.normal(size=(steps, 3)), rng.normal(size=(steps, 2)), rng.normal(size=steps), rng.normal(size=3))


def embed(name: str, steps: int, length: int) -> np.ndarray:
    return np.asarray(find(name).function(trajectory(steps), length))


# ---- the maps -------------------------------------------------------------------------------------------------------


def test_actions_are_concatenated_per_state():
    drawn = RNG.normal(size=(4, 3, 2)).astype(np.float32)
    embedded = find("actions").function(tf.constant(drawn), tf.zeros([4])).numpy()
    np.testing.assert_array_equal(embedded, [[drawn[n, k, i] for k in range(3) for i in range(2)] for n in range(4)])


def test_actions_value_appends_the_value():
    drawn, values = RNG.normal(size=(4, 3, 2)).astype(np.float32), np.arange(4.0, dtype=np.float32)
    embedded = find("actions_value").function(tf.constant(drawn), tf.constant(values)).numpy()
    assert embedded.shape == (4, 7)
    np.testing.assert_array_equal(embedded[:, :6], drawn.reshape(4, 6))
    np.testing.assert_array_equal(embedded[:, 6], values)
    assert find("actions_value").uses_value
    assert not find("actions").uses_value


def test_final_and_mean_state():
    np.testing.assert_array_equal(embed("final_state", 5, 9), trajectory(5).final_observation)
    np.testing.assert_allclose(embed("mean_state", 5, 9), [sum(trajectory(5).observations[:, i]) / 5 for i in range(3)])


def test_reward_to_go_at_every_step():
    rewards = trajectory(6).rewards
    np.testing.assert_allclose(embed("reward_to_go", 6, 6), [sum(rewards[t:]) for t in range(6)])


def test_long_trajectories_are_read_at_even_times_from_first_to_last():
    rewards, actions = trajectory(9).rewards, trajectory(9).actions
    np.testing.assert_allclose(embed("reward_to_go", 9, 5), [sum(rewards[t:]) for t in (0, 2, 4, 6, 8)])
    np.testing.assert_array_equal(embed("trajectory_actions", 9, 3), actions[[0, 4, 8]].ravel())
    np.testing.assert_array_equal(embed("trajectory_actions", 9, 1), actions[0])


def test_short_trajectories_are_filled_with_zeros():
    np.testing.assert_array_equal(embed("trajectory_actions", 2, 4), [*trajectory(2).actions.ravel(), 0, 0, 0, 0])
    rewards = trajectory(2).rewards
    np.testing.assert_allclose(embed("reward_to_go", 2, 4), [rewards.sum(), rewards[1], 0, 0])


# ---- trajectories of a batch ----------------------------------------------------------------------------------------


def batch_of(lengths: list[list[int]], discrete: bool = False) -> Batch:
    """Environments whose episodes have these lengths; the last of each is still open."""
    nsteps = sum(lengths[0])
    size = nsteps * len(lengths)
    terminated, truncated = np.zeros(size, bool), np.zeros(size, bool)
    for e, one in enumerate(lengths):
        stops = e * nsteps + np.cumsum(one[:-1], dtype=int) - 1
        terminated[stops[::2]], truncated[stops[1::2]] = True, True
    actions = RNG.integers(0, 3, size).astype(np.int32) if discrete else RNG.normal(size=(size, 2)).astype("f4")
    floats = {name: RNG.normal(size=size).astype(np.float32) for name in ("advantages", "returns", "values", "log_probs")}
    return Batch(
        observations=RNG.normal(size=(size, 3)).astype(np.float32),
        actions=actions,
        pd_flat=np.zeros((size, 4), np.float32),
        rewards=np.zeros(size, np.float32),
        raw_rewards=RNG.normal(size=size),
        terminated=terminated,
        truncated=truncated,
        final_observations=RNG.normal(size=(size, 3)).astype(np.float32),
        nsteps=nsteps,
        **floats,
    )


LENGTHS = [[3, 4, 1], [8], [1, 1, 6]]


def split(batch: Batch) -> list[Trajectory]:
    ends = batch.terminated | batch.truncated
    parts = batch.observations, batch.actions, batch.raw_rewards, ends, batch.final_observations
    return split_trajectories(*parts, batch.nsteps)


def test_trajectories_are_cut_at_episodes_and_at_segments():
    batch = batch_of(LENGTHS)
    trajectories = split(batch)
    assert [len(t.rewards) for t in trajectories] == [3, 4, 1, 8, 1, 1, 6]
    np.testing.assert_array_equal(np.concatenate([t.observations for t in trajectories]), batch.observations)
    np.testing.assert_array_equal(np.concatenate([t.actions for t in trajectories]), batch.actions)
    np.testing.assert_array_equal(np.concatenate([t.rewards for t in trajectories]), batch.raw_rewards)
    finals = batch.final_observations[[2, 6, 7, 15, 16, 17, 23]]
    np.testing.assert_array_equal([t.final_observation for t in trajectories], finals)


def test_means_over_samples_are_means_over_trajectories():
    batch = batch_of(LENGTHS)
    trajectories = split(batch)
    embedded = embed_trajectories(trajectories, find("reward_to_go"), 5)
    each = np.stack([find("reward_to_go").function(t, 5) for t in trajectories])
    assert embedded.values.shape == (24, 5)
    np.testing.assert_allclose(np.mean(embedded.weights), 1.0, rtol=1e-6)
    np.testing.assert_allclose((embedded.weights[:, None] * embedded.values).mean(axis=0), each.mean(axis=0), rtol=1e-5)
    assert embedded.mean_length == pytest.approx(24 / 7)
    np.testing.assert_allclose(embedded.values[7], each[2], rtol=1e-6)


def test_columns_of_a_batch():
    batch = batch_of(LENGTHS)
    columns = embed_batch(batch, find("final_state"), 5)
    np.testing.assert_array_equal(columns["embeddings"][:3], np.tile(batch.final_observations[2], (3, 1)))
    np.testing.assert_allclose(columns["mean_length"], 24 / 7, rtol=1e-6)
    np.testing.assert_allclose(columns["weights"][[0, 3, 7]] * [3, 4, 1], 24 / 7, rtol=1e-6)


def test_discrete_actions_are_embedded_one_hot():
    batch = batch_of([[4]], discrete=True)
    embedded = embed_batch(batch, find("trajectory_actions"), 4, Categorical(3).coordinates(batch.actions))["embeddings"]
    np.testing.assert_array_equal(embedded[0].reshape(4, 3), np.eye(3)[batch.actions])


@pytest.mark.parametrize(
    "function",
    [lambda t, n: np.zeros(len(t.rewards)), lambda t, n: [np.nan], lambda t, n: []],
    ids=["of varying length", "not finite", "empty"],
)
def test_embeddings_that_are_no_vectors_of_one_length_are_refused(function):
    embedding = embeddings.Embedding("mine", "trajectory", function)
    with pytest.raises(UserError, match="Embedding 'mine' must give finite vectors of one length"):
        embed_trajectories(split(batch_of(LENGTHS)), embedding, 3)


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch):
    """A user's module."""
    made = types.ModuleType("users_own")
    monkeypatch.setitem(sys.modules, "users_own", made)
    monkeypatch.setattr(embeddings, "EMBEDDINGS", embeddings.EMBEDDINGS.copy())
    return made


def test_names_of_the_project():
    of_actions = {"actions", "actions_value", "state_actions"}
    of_trajectories = {"trajectory_actions", "final_state", "mean_state", "reward_to_go"}
    assert of_actions | of_trajectories <= set(embeddings.names())
    assert {find(name).kind for name in of_actions} == {"action"}
    assert {find(name).kind for name in of_trajectories} == {"trajectory"}


@pytest.mark.parametrize("marks", [{"uses_value": True}, {"beside_state": True}])
def test_marks_of_action_embeddings_are_refused_for_trajectories(marks):
    with pytest.raises(ValueError, match="for embeddings of actions"):
        embeddings.register("whole", **marks)


def test_a_function_of_ones_own_is_a_trajectory_embedding(module):
    module.longest = lambda trajectory, length: [len(trajectory.rewards)]
    found = find("users_own:longest")
    assert (found.kind, found.uses_value) == ("trajectory", False)
    values = embed_trajectories(split(batch_of(LENGTHS)), found, 3).values
    np.testing.assert_array_equal(values[:, 0], np.repeat([3, 4, 1, 8, 1, 1, 6], [3, 4, 1, 8, 1, 1, 6]))


def test_a_registered_function_keeps_its_kind(module):
    @embeddings.register("my_actions", kind="action", uses_value=True)
    def my_actions(drawn, values):
        return drawn[:, 0]

    module.my_actions = my_actions
    assert find("my_actions") is find("users_own:my_actions")
    assert (find("my_actions").kind, find("my_actions").uses_value) == ("action", True)
    with pytest.raises(ValueError, match="kind must be one of action, trajectory, not 'state'"):
        embeddings.register("other", kind="state")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "final",
            "Unknown embedding 'final': choose one of actions, .*or name your own as package.module:function",
        ),
        ("users_own:missing", "Embedding 'users_own:missing' cannot be imported"),
        ("no_such_module:f", "Embedding 'no_such_module:f' cannot be imported"),
        (":f", "Embedding ':f' cannot be imported"),
        ("numpy:pi", "Embedding 'numpy:pi' is not a function"),
    ],
)
def test_names_that_lead_nowhere_are_one_sentence(module, name, sentence):
    with pytest.raises(UserError, match=sentence):
        find(name)
