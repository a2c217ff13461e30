"""Environments as people hold them, as far as they are only named, made and refused. Nothing is trained."""

from __future__ import annotations

import functools
import pickle

import gymnasium as gym
import held_envs
import numpy as np
import pytest

from baselines_compat.vec_env import EnvironmentFailure, make_vec_env
from wng_tf.envs import named, sources, tasks, traits
from wng_tf.errors import UserError


def made(task: tasks.Task) -> gym.Env:
    return tasks.make(task)


@pytest.mark.parametrize(
    ("env", "name", "kwargs", "kind"),
    [
        ("CartPole-v1", "CartPole-v1", {}, "classic"),
        ("held_envs:make_drift", "held_envs:make_drift", {}, "other"),
        ("held_envs:Drift", "held_envs:Drift", {}, "other"),
        (held_envs.make_drift, "held_envs:make_drift", {}, "other"),
        (held_envs.Pole, "held_envs:Pole", {}, "other"),
        (functools.partial(held_envs.Drift, limit=3), "held_envs:Drift", {"limit": 3}, "other"),
        (functools.partial(held_envs.Drift, 3), "object(partial)", {}, "other"),
        (lambda: gym.make("CartPole-v1"), "object(<lambda>)", {}, "classic"),
        (lambda: gym.make("Hopper-v5"), "object(<lambda>)", {}, "mujoco"),
        (gym.spec("CartPole-v1"), "CartPole-v1", {}, "classic"),
        (gym.make("CartPole-v1"), "CartPole-v1", {}, "classic"),
        (gym.make("CartPole-v1", max_episode_steps=9), "CartPole-v1", {"max_episode_steps": 9}, "classic"),
        (gym.make("Hopper-v5", forward_reward_weight=2.0), "Hopper-v5", {"forward_reward_weight": 2.0}, "mujoco"),
        (gym.wrappers.TimeLimit(gym.make("CartPole-v1"), 5), "CartPole-v1", {"max_episode_steps": 5}, "classic"),
        (held_envs.Scaled(gym.make("CartPole-v1")), "object(CartPoleEnv)", {}, "classic"),
        (gym.wrappers.ClipReward(gym.make("CartPole-v1"), 0, 1), "object(CartPoleEnv)", {}, "classic"),
        (gym.make("held/Drift-v0"), "object(Drift)", {}, "other"),
        (held_envs.Drift(), "object(Drift)", {}, "other"),
        (gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"), "object(SyncVectorEnv)", {}, "classic"),
        (make_vec_env("CartPole-v1", 2), "object(DummyVecEnv)", {}, "classic"),
    ],
)
def test_what_an_environment_is_recorded_as(env, name, kwargs, kind):
    task = sources.task_of(env)
    assert (task.name, task.kwargs, task.kind) == (name, kwargs, kind)
    assert sources.task_of(task) is task


@pytest.mark.parametrize("env", [None, 3, ["CartPole-v1"], np.zeros(2)])
def test_what_is_no_environment_is_refused(env):
    with pytest.raises(UserError, match="env must be an id"):
        sources.task_of(env)


def test_an_object_is_used_itself_once_and_stays_open():
    own = held_envs.Drift(5)
    closed = []
    own.close = lambda: closed.append(1)
    task = sources.task_of(own)
    env = made(task)
    assert env.unwrapped is own
    env.close()
    assert not closed
    with pytest.raises(UserError, match="Drift is an object, and a second one"):
        made(task)
    with pytest.raises(UserError, match="eval_env"):
        sources.fresh(task)


def test_an_object_that_was_made_with_arguments_is_used_itself():
    env = gym.make("Pendulum-v1", g=5.0)
    task = sources.task_of(env)
    assert task.kwargs == {"g": 5.0}
    assert made(task).unwrapped is env.unwrapped


def test_an_object_that_its_id_says_all_of_is_made_anew_for_others():
    task = sources.fresh(sources.task_of(gym.make("Hopper-v5", ctrl_cost_weight=0.5)))
    assert made(task).unwrapped._ctrl_cost_weight == 0.5


def test_a_task_with_everything_goes_to_another_process():
    task = sources.with_options(sources.task_of(held_envs.make_drift), '{"scale": 3}', "held_envs:Scaled,held_envs:Shifted")
    env = made(pickle.loads(pickle.dumps(task)))
    env.reset(seed=0)
    plain = held_envs.Drift()
    plain.reset(seed=0)
    action = np.zeros(3, np.float32)
    assert env.step(action.copy())[1] == 2.0 * 3.0 * plain.step(action.copy())[1] + 1.0
    assert type(env) is held_envs.Shifted


def test_wrappers_are_applied_in_their_order():
    one, two = ("held_envs:Scaled", "held_envs:Shifted")
    rewards = []
    for order in (f"{one},{two}", f"{two},{one}"):
        env = made(sources.with_options(tasks.resolve("CartPole-v1"), None, order))
        env.reset(seed=0)
        rewards.append(env.step(0)[1])
    assert rewards == [3.0, 4.0]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, None),
        ("", None),
        ("a:B, c:D", "a:B,c:D"),
        (held_envs.Scaled, "held_envs:Scaled"),
        ([held_envs.Scaled, "held_envs:Shifted"], "held_envs:Scaled,held_envs:Shifted"),
        (gym.wrappers.ClipAction, "gymnasium.wrappers.transform_action:ClipAction"),
    ],
)
def test_wrappers_as_text(given, text):
    assert sources.canonical_wrappers(given) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, None),
        ("{}", None),
        ('{"b":1,  "a": [1,2]}', '{"a": [1, 2], "b": 1}'),
        ({"b": np.float64(0.5), "a": np.arange(2), "c": (1, 2)}, '{"a": [0, 1], "b": 0.5, "c": [1, 2]}'),
    ],
)
def test_arguments_as_text(given, text):
    assert sources.canonical_keywords(given) == text


@pytest.mark.parametrize(
    ("kwargs", "wrapper", "message"),
    [
        ("{limit: 3}", None, "is no JSON"),
        ("[1]", None, "must be a JSON object"),
        ("3", None, "must be a JSON object"),
        ({"f": print}, None, "is no JSON"),
        (None, "Scaled", "package.module:name"),
        (None, "held_envs:Skaled", "no Skaled that can be called"),
        (None, "no_such_module:Scaled", "cannot be imported"),
        (None, [lambda env: env], "top level of a module"),
    ],
)
def test_arguments_and_wrappers_that_are_refused(kwargs, wrapper, message):
    with pytest.raises(UserError, match=message):
        sources.with_options(tasks.resolve("CartPole-v1"), kwargs, wrapper)


@pytest.mark.parametrize(
    ("env", "kwargs", "message"),
    [
        ("Hopper-v5", '{"forward_reward_wait": 2}', "Hopper-v5 cannot be made with {'forward_reward_wait': 2}"),
        ("Hopper", '{"forward_reward_weight": 2}', "cannot be made with"),
        ("Point", '{"walls": 2}', "cannot be made with"),
        ("held_envs:make_drift", '{"size": 2}', "cannot be made with"),
        ("held_envs:make_nothing", None, "made int, which is no Gymnasium environment"),
        ("held_envs:make_something", None, "There is no environment"),
    ],
)
def test_what_the_constructor_does_not_take_is_refused(env, kwargs, message):
    with pytest.raises(UserError, match=message):
        made(sources.with_options(tasks.resolve(env), kwargs, None))


def test_what_a_wrapper_has_to_make():
    with pytest.raises(UserError, match="the wrapper make_three made int"):
        made(sources.with_options(tasks.resolve("CartPole-v1"), None, "held_envs:make_three"))


@pytest.mark.parametrize(
    ("wrapper", "error", "message"),
    [
        ("held_envs:Repeated", UserError, "The wrapper Repeated of CartPole-v1 cannot be made of the environment .*'times'"),
        ("held_envs:takes_nothing", UserError, "The wrapper takes_nothing of CartPole-v1 cannot be made of"),
        ("held_envs:falls_over", EnvironmentFailure, "CartPole-v1 failed in the wrapper falls_over: TypeError: no len"),
    ],
)
def test_a_wrapper_that_cannot_be_made_is_named(wrapper, error, message):
    for wrappers in (wrapper, f"held_envs:Scaled,{wrapper}"):
        with pytest.raises(error, match=message):
            made(sources.with_options(tasks.resolve("CartPole-v1"), None, wrappers))


@pytest.mark.parametrize(
    ("env", "given", "message"),
    [
        (lambda: held_envs.Drift(), {"num_env": 2}, "--num_env=2: the environment is an object"),
        (lambda: held_envs.Drift(), {"num_workers": 2}, "--num_workers=2: the environment is an object"),
        (lambda: make_vec_env("CartPole-v1", 2), {"num_env": 3}, "object\\(DummyVecEnv\\) of 2"),
        (lambda: make_vec_env("CartPole-v1", 2), {"num_workers": 2}, "stays in the process"),
        (lambda: lambda: held_envs.Drift(), {"num_workers": 2}, "cannot be sent to another process"),
    ],
)
def test_more_than_an_object_can_be_is_refused(env, given, message):
    with pytest.raises(UserError, match=message):
        sources.given_with(sources.task_of(env()), given)


@pytest.mark.parametrize(
    ("env", "kwargs", "wrapper", "message"),
    [
        (lambda: held_envs.Drift(), '{"limit": 3}', None, "which is made"),
        (lambda: make_vec_env("CartPole-v1", 2), None, "held_envs:Scaled", "several that step together"),
    ],
)
def test_options_of_what_is_made_already_are_refused(env, kwargs, wrapper, message):
    with pytest.raises(UserError, match=message):
        sources.with_options(sources.task_of(env()), kwargs, wrapper)


@pytest.mark.parametrize(
    ("env", "kwargs", "wrapper", "limit"),
    [
        ("CartPole-v1", None, None, 500),
        ("CartPole-v1", '{"max_episode_steps": 11}', None, 11),
        ("CartPole-v1", None, "held_envs:Scaled", 500),
        (held_envs.Pole, '{"limit": 4}', None, 4),
        (held_envs.Drift, None, None, None),
        (gym.wrappers.TimeLimit(held_envs.Drift(), 6), None, None, 6),
    ],
)
def test_time_limits(env, kwargs, wrapper, limit):
    assert traits.time_limit(sources.with_options(sources.task_of(env), kwargs, wrapper)) == limit


def test_names_of_functions_and_classes():
    assert named.name_of(held_envs.Scaled) == "held_envs:Scaled"
    assert named.find("held_envs:Scaled", "env_wrapper") is held_envs.Scaled
    for nameless in (lambda: None, functools.partial(print), held_envs.Scaled.reward, 3):
        assert named.name_of(nameless) is None


KEYWORDS = {
    "Hopper-v5": {
        "forward_reward_weight": 2.0,
        "ctrl_cost_weight": 0.1,
        "healthy_reward": 0.5,
        "healthy_z_range": [0.9, 1.3],
    },
    "Walker2d-v5": {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False, "frame_skip": 2},
    "HalfCheetah-v5": {"forward_reward_weight": 3, "reset_noise_scale": 0.3},
    "InvertedDoublePendulum-v5": {"healthy_reward": 3.0, "reset_noise_scale": 0.3, "max_episode_steps": 12},
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_faster_stepping_heeds_the_arguments_to_the_last_bit(name):
    kwargs = KEYWORDS[name]
    ours = made(sources.with_options(tasks.resolve(name), sources.canonical_keywords(kwargs), None))
    theirs = gym.make(name, **kwargs)
    assert type(ours.unwrapped) is not type(theirs.unwrapped)
    rng = np.random.default_rng(0)
    for episode in range(2):
        one, two = ours.reset(seed=episode)[0], theirs.reset(seed=episode)[0]
        for _ in range(40):
            np.testing.assert_array_equal(one, two)
            action = rng.uniform(-1, 1, ours.action_space.shape).astype(np.float32)
            (one, *mine, _), (two, *packaged, _) = ours.step(action), theirs.step(action)
            assert mine == packaged
            if mine[1] or mine[2]:
                break
