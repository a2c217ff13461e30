"""Small things of Baselines' `common`, against formulas written out."""

from __future__ import annotations

import argparse
import pickle
import random

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from baselines_compat import common
from baselines_compat.common import atari_wrappers, retro_wrappers, tf_util
from baselines_compat.common.cmd_util import make_vec_env
from baselines_compat.errors import UserError


def test_explained_variance():
    y = np.array([1.0, 2.0, 4.0, 7.0])
    assert common.explained_variance(y, y) == 1.0
    assert common.explained_variance(np.full(4, 3.0), y) == 0.0
    assert common.explained_variance(-y, y) == pytest.approx(1 - 4)
    assert np.isnan(common.explained_variance(y, np.ones(4)))
    with pytest.raises(ValueError, match="one shape"):
        common.explained_variance(y[:3], y)
    columns = np.stack([y, np.ones(4)], axis=1)
    np.testing.assert_allclose(common.explained_variance_2d(columns, columns), [1.0, 0.0])


def test_discounted_sums():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(common.discount(x, 0.9), [1 + 0.9 * (2 + 0.9 * (3 + 0.9 * 4)), 2 + 0.9 * (3 + 3.6), 6.6, 4])
    new = np.array([1.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(common.discount_with_boundaries(x, new, 0.9), [1 + 0.9 * (2 + 2.7), 4.7, 3, 4])
    both = common.discount_with_boundaries(np.stack([x, x], 1), np.stack([new, 0 * new], 1), 0.9)
    np.testing.assert_allclose(both[:, 1], common.discount(x, 0.9))
    assert x.tolist() == [1, 2, 3, 4]


def test_arrays_as_one_vector():
    arrays = [np.arange(6.0).reshape(2, 3), np.array(7.0), np.arange(2.0)]
    flat = common.flatten_arrays(arrays)
    assert flat.tolist() == [0, 1, 2, 3, 4, 5, 7, 0, 1]
    for one, other in zip(common.unflatten_vector(flat, [a.shape for a in arrays]), arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_seeds_of_all_global_generators():
    def draws():
        common.set_global_seeds(11)
        return random.random(), np.random.random(), float(tf.random.uniform([]))

    assert draws() == draws()
    common.set_global_seeds(None)
    assert random.random() != draws()[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59, "less than a minute"),
        (60, "1 minute"),
        (9420, "2 hours and 37 minutes"),
        (7200, "2 hours"),
        (172800, "2 days"),
        (90000, "1 day and 1 hour"),
    ],
)
def test_times_in_words(seconds, text):
    assert common.pretty_eta(seconds) == text


def test_helpers():
    assert list(common.zipsame([1, 2], "ab")) == [(1, "a"), (2, "b")]
    with pytest.raises(ValueError, match="different lengths"):
        common.zipsame([1], [])
    average = common.RunningAvg(0.5)
    average.update(4.0)
    average.update(2.0)
    assert float(average) == 3.0
    parser = argparse.ArgumentParser()
    common.boolean_flag(parser, "draw-it", default=True)
    assert [parser.parse_args(line).draw_it for line in ([], ["--no-draw-it"], ["--draw-it"])] == [True, False, True]
    env = gym.make("CartPole-v1")
    assert isinstance(common.get_wrapper_by_name(env, "TimeLimit"), gym.wrappers.TimeLimit)
    with pytest.raises(ValueError, match="Missing"):
        common.get_wrapper_by_name(env, "Missing")


class Dog(common.EzPickle):
    def __init__(self, colour):
        super().__init__(colour)
        self.bark = lambda: colour  # no pickle of its own


def test_objects_are_made_anew_from_their_arguments():
    assert pickle.loads(pickle.dumps(Dog("red"))).bark() == "red"


def test_rewards_times_a_scale():
    env = retro_wrappers.RewardScaler(gym.make("CartPole-v1"), 0.5)
    env.reset(seed=0)
    assert env.step(0)[1] == 0.5


@pytest.mark.parametrize("name", sorted(atari_wrappers.INSTEAD))
def test_wrappers_of_games_say_what_to_use(name):
    with pytest.raises(AttributeError, match="gymnasium"):
        getattr(atari_wrappers, name)
    with pytest.raises(AttributeError, match="stable-retro"):
        retro_wrappers.make_retro  # noqa: B018


def test_reductions_and_losses():
    x = np.array([[-2.0, 0.5], [3.0, -0.25]])
    for name in ("sum", "mean", "var", "std", "max", "min"):
        for axis in (None, 0, 1):
            np.testing.assert_allclose(getattr(tf_util, name)(x, axis=axis), getattr(np, name)(x, axis=axis))
    assert tf_util.sum(x, axis=1, keepdims=True).shape == (2, 1)
    np.testing.assert_allclose(tf_util.huber_loss(x, 1.0), [[1.5, 0.125], [2.5, 0.03125]])
    np.testing.assert_allclose(tf_util.lrelu(x, 0.1), [[-0.2, 0.5], [3.0, -0.025]])
    assert tf_util.argmax(x, axis=1).numpy().tolist() == [1, 0]
    assert tf_util.concatenate([x, x], axis=1).shape == (2, 4)
    assert float(tf_util.switch(True, tf.constant(1.0), tf.constant(2.0))) == 1.0
    weights = tf_util.normc_initializer(0.5, seed=1)((7, 3))
    np.testing.assert_allclose(np.linalg.norm(weights, axis=0), 0.5, rtol=1e-6)


def test_weights_as_one_vector():
    variables = [tf.Variable(np.ones((2, 3), np.float32)), tf.Variable(2.0)]
    assert [tf_util.numel(variable) for variable in variables] == [6, 1]
    read, write = tf_util.GetFlat(variables), tf_util.SetFromFlat(variables)
    assert read().tolist() == [1] * 6 + [2]
    write(np.arange(7.0))
    assert read().tolist() == list(range(7)) and variables[0].shape == (2, 3)
    with pytest.raises(ValueError, match="8 elements for variables that have 7"):
        write(np.arange(8.0))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, float("nan"), float("inf")])
def test_how_many_environments_is_a_whole_number(wrong):
    for given in ((wrong,), ("classic_control", wrong, 0)):
        with pytest.raises(UserError, match="num_env must be a whole number from 1 on, not"):
            make_vec_env("CartPole-v1", *given)
    for given in ((2.0,), ("classic_control", 2.0, 0, None, None, 0, 1.0, True, None, None, True)):
        venv = make_vec_env("CartPole-v1", *given)
        assert venv.num_envs == 2
        venv.close()
