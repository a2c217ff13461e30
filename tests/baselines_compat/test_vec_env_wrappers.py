"""Wrappers of all environments at once, and `make_vec_env` in Baselines' form."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest
from toy_envs import Scripted

from baselines_compat import logger
from baselines_compat.bench import load_results
from baselines_compat.cmd_util import make_vec_env
from baselines_compat.common.cmd_util import make_env, parse_unknown_args
from baselines_compat.errors import UserError
from baselines_compat.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvObservationWrapper,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

SCRIPT = ((3, "terminated"), (2, "truncated"))


def venv(count=2):
    return DummyVecEnv([functools.partial(Scripted, SCRIPT)] * count)


def lock_step(env, steps=7):
    """What an environment answers to the same action: observations, rewards, dones, infos."""
    answers = [(env.reset(), None, None, None)]
    action = env.action_space.sample()
    return answers + [env.step([action] * env.num_envs) for _ in range(steps)]


class Negative(VecEnvObservationWrapper):
    def process(self, obs):
        return -obs


class Doubled(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, 2 * rewards, dones, infos


def test_a_wrapper_hands_on_what_it_does_not_change():
    plain, doubled = venv(), Doubled(venv())
    assert (doubled.num_envs, doubled.observation_space, doubled.action_space) == (
        2,
        plain.observation_space,
        plain.action_space,
    )
    assert doubled.slots is doubled.venv.slots and Doubled(doubled).unwrapped is doubled.venv
    with pytest.raises(AttributeError, match="_hidden"):
        doubled._hidden  # noqa: B018
    doubled.action_space.seed(0), plain.action_space.seed(0)
    for ours, theirs in zip(lock_step(doubled)[1:], lock_step(plain)[1:], strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], 2 * theirs[1])
        np.testing.assert_array_equal(ours[2], theirs[2])
    with doubled:
        pass
    plain.close()


def test_observations_are_changed_at_the_end_of_an_episode_too():
    plain, negative = venv(), Negative(venv())
    for ours, theirs in zip(lock_step(negative), lock_step(plain), strict=True):
        np.testing.assert_array_equal(ours[0], -theirs[0])
        for one, other in zip(ours[3] or [], theirs[3] or [], strict=True):
            assert ("terminal_observation" in one) == ("terminal_observation" in other)
            if "terminal_observation" in one:
                np.testing.assert_array_equal(one["terminal_observation"], -other["terminal_observation"])


def test_frames_are_stacked_within_an_episode():
    plain, stacked = venv(), VecFrameStack(venv(), 3)
    size = plain.observation_space.shape[0]
    assert stacked.observation_space.shape == (3 * size,)
    expected = np.zeros((2, 3 * size))
    for step, (ours, theirs) in enumerate(zip(lock_step(stacked, 8), lock_step(plain, 8), strict=True)):
        expected = np.concatenate([expected[:, size:], theirs[0]], axis=1)
        for i in range(2):
            if step and theirs[2][i]:
                last = np.concatenate([expected[i, :-size], theirs[3][i]["terminal_observation"]])
                np.testing.assert_array_equal(ours[3][i]["terminal_observation"], last)
                expected[i, :-size] = 0.0
        np.testing.assert_array_equal(ours[0], expected)
        assert all(stacked.observation_space.contains(row.astype(stacked.observation_space.dtype)) for row in ours[0])


@pytest.mark.parametrize("count", [0, -1])
def test_no_frames_are_refused(count):
    with pytest.raises(ValueError, match="nstack"):
        VecFrameStack(venv(), count)


def test_episodes_are_recorded(tmp_path):
    monitored = VecMonitor(venv(), tmp_path / "all", keep_buf=3)
    episodes = [info["episode"] for answer in lock_step(monitored, 5)[1:] for info in answer[3] if "episode" in info]
    monitored.close()
    assert [episode["l"] for episode in episodes] == [3, 3, 2, 2] and monitored.epcount == 4
    assert list(monitored.eplen_buf) == [3, 2, 2]
    table = load_results(tmp_path)
    assert table["l"].tolist() == [3, 3, 2, 2]
    np.testing.assert_allclose(table["r"], [episode["r"] for episode in episodes])
    assert set(episodes[0]) == {"r", "l", "t"}


def test_wrappers_are_worn_one_over_another():
    with VecNormalize(VecFrameStack(VecMonitor(venv()), 2)) as env:
        observations = env.reset()
        assert observations.shape == (2, env.observation_space.shape[0])
        assert env.ob_rms.mean.shape == env.observation_space.shape


@pytest.mark.parametrize("num_env", [1, 2])
def test_environments_in_baselines_form(num_env, tmp_path):
    with logger.scoped_configure(tmp_path, ["csv"]), make_vec_env("CartPole-v1", "classic_control", num_env, 0) as env:
        assert isinstance(env, SubprocVecEnv if num_env > 1 else DummyVecEnv) and env.num_envs == num_env
        env.reset()
        ended = 0
        while ended < 2:
            ended += env.step([0] * num_env)[2].sum()
    assert sorted(path.name for path in tmp_path.glob("*.monitor.csv")) == [f"0.{i}.monitor.csv" for i in range(num_env)]
    assert len(load_results(tmp_path)) >= 2


def test_rewards_are_recorded_before_they_are_scaled(tmp_path):
    env = make_env("CartPole-v1", "classic_control", subrank=3, seed=1, reward_scale=0.1, logger_dir=str(tmp_path))
    env.reset()
    ended, total = False, 0.0
    while not ended:
        _, reward, terminated, truncated, _ = env.step(0)
        total, ended = total + reward, terminated or truncated
    env.close()
    assert load_results(tmp_path)["r"][0] == pytest.approx(10 * total)
    assert (tmp_path / "0.3.monitor.csv").exists()


def test_the_first_observation_follows_from_seed_and_number():
    first = [make_env("CartPole-v1", "mujoco", subrank=1, seed=seed).unwrapped.state for seed in (4, 4, 5)]
    np.testing.assert_array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])
    expected, _ = gym.make("CartPole-v1").reset(seed=5)
    np.testing.assert_allclose(first[0], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["atari", "retro"])
def test_games_are_refused(kind):
    with pytest.raises(UserError, match=f"type {kind} are not wrapped here"):
        make_vec_env("CartPole-v1", kind, 1, 0)
    with pytest.raises(UserError, match="wrapper_kwargs"):
        make_env("CartPole-v1", "classic_control", wrapper_kwargs={"frame_stack": True})


def test_arguments_that_no_parser_knows():
    found = parse_unknown_args(["stray", "--lr=1e-3", "--nsteps", "128", "more", "--text=a=b"])
    assert found == {"lr": "1e-3", "nsteps": "128", "text": "a=b"}
