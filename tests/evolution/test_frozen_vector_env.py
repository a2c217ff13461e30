"""Worlds that stop at the end of their episode."""

from __future__ import annotations

import os
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from baselines_compat.vec_env import WorkerError
from wng_tf.errors import UserError
from wng_tf.evolution.frozen_vector_env import FrozenVectorEnv

TOY = "toy_worlds:Countdown-v0"


@pytest.mark.parametrize("own_process", [False, True])
def test_an_ended_world_is_frozen(own_process):
    env = FrozenVectorEnv(TOY, 6, own_process=own_process)
    start, _ = env.reset(seed=100)
    left = start[:, 0].astype(int)
    assert len(set(left)) > 2
    for t in range(1, 10):
        actions = np.tile(np.float32([0.25, 0]), (6, 1))
        observation, reward, terminated, truncated, _ = env.step(actions)
        lasted = np.minimum(np.minimum(left, 7), t)  # time limit 7
        np.testing.assert_array_equal(observation[:, 1], lasted)
        np.testing.assert_array_equal(reward, np.where((t <= left) & (t <= 7), 0.25, 0.0))
        np.testing.assert_array_equal(terminated, (left <= t) & (left <= 7))
        np.testing.assert_array_equal(truncated, (t >= 7) & (left >= 7))
    again, _ = env.reset(seed=100)
    np.testing.assert_array_equal(start, again)
    env.close()


def test_a_mask_resets_some_and_freezes_the_rest():
    env = FrozenVectorEnv(TOY, 3)
    env.reset(seed=[1, 2, 3])
    env.reset(seed=[4, 5, 6], options={"reset_mask": np.array([True, False, True])})
    _, reward, terminated, _, _ = env.step(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(reward, [1, 0, 1])
    assert terminated[1]
    env.close()


def test_discrete_actions_reach_the_worlds_as_ints():
    env = FrozenVectorEnv("CartPole-v1", 2)
    env.reset(seed=[3, 3])
    observation, *_ = env.step(np.array([0, 1]))
    assert observation[0, 1] < 0 < observation[1, 1]
    env.close()


def test_a_bullet_world_does_not_remember_how_long_it_has_lived():
    env = FrozenVectorEnv("Hopper", 1)
    actions = np.random.default_rng(0).uniform(-1, 1, (40, 1, 3)).astype(np.float32)

    def episode() -> np.ndarray:
        first, _ = env.reset(seed=5)
        steps = [env.step(action)[:2] for action in actions]
        return np.concatenate([first[0], *[np.append(observation[0], reward) for observation, reward in steps]])

    np.testing.assert_array_equal(episode(), episode())
    env.close()


@pytest.mark.parametrize("own_process", [False, True])
def test_faults_of_a_world_come_through(own_process):
    env = FrozenVectorEnv("toy_worlds:Raising-v0", 2, own_process=own_process)
    env.reset(seed=[1, 2])
    with pytest.raises((WorkerError, RuntimeError), match="the cable is out"):
        for _ in range(3):
            env.step(np.zeros((2, 2), np.float32))
    env.close()


@pytest.mark.parametrize("when", ["before the first call", "between two steps"])
def test_a_killed_process_is_noticed_and_cleaned_up(when):
    env = FrozenVectorEnv(TOY, 2, own_process=True)
    process = env._worlds.process
    if when == "between two steps":
        env.reset(seed=1)
    process.kill()
    process.join()
    with pytest.raises(WorkerError, match="ended unexpectedly"):
        env.reset(seed=1)
    memory = env._worlds.memory.name
    env.close()
    assert not process.is_alive()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name=memory)


def test_a_process_that_cannot_make_its_worlds_says_so_at_the_first_call():
    env = FrozenVectorEnv("toy_worlds:OnlyHere-v0", 2, own_process=True, owner=os.getpid())
    with pytest.raises(WorkerError, match="only where it was made"):
        env.reset(seed=1)
    env.close()


def test_a_process_imports_no_tensorflow():
    env = FrozenVectorEnv("toy_worlds:Spy-v0", 2, own_process=True)
    observation, _ = env.reset(seed=1)
    np.testing.assert_array_equal(observation, 0)
    env.close()


def test_bad_calls():
    with pytest.raises(UserError, match="no environment"):
        FrozenVectorEnv("Nothing-v9", 2)
    env = FrozenVectorEnv(TOY, 2)
    with pytest.raises(ValueError, match="needs seeds"):
        env.reset()
    with pytest.raises(ValueError, match="3 seeds"):
        env.reset(seed=[1, 2, 3])
    env.close()
