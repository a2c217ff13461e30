"""Single and vector form of both tasks: the same numbers, Gymnasium's contract."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import wng_tf.envs  # noqa: F401

POINT, QUADRUPED = "wng_tf/Point-v0", "wng_tf/Quadruped-v0"
BOTH = pytest.mark.parametrize("env_id", [POINT, QUADRUPED])


def rollout(env, steps, seed, action_seed=0):
    """Observations [steps + 1, n, obs], rewards, truncations of a vector environment under random actions."""
    rng = np.random.default_rng(action_seed)
    observations, rewards, truncations = [env.reset(seed=seed)[0]], [], []
    for _ in range(steps):
        actions = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(actions)
        assert not terminated.any()
        observations.append(observation)
        rewards.append(reward)
        truncations.append(truncated)
    env.close()
    return np.array(observations), np.array(rewards), np.array(truncations)


@BOTH
def test_gymnasiums_checker_passes(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*Box observation space (minimum|maximum) value is -?infinity.*")
        check_env(gym.make(env_id).unwrapped, skip_render_check=True)


@BOTH
@pytest.mark.parametrize("threads", [1, 2])
def test_vector_form_equals_single_form(env_id, threads):
    steps = 60 if env_id == POINT else 25
    vector = gym.make_vec(env_id, num_envs=3, num_threads=threads)
    observations, rewards, truncations = rollout(vector, steps, seed=11)
    # Built from single environments, Gymnasium's own vector form is the reference, automatic resets included.
    expected = rollout(gym.make_vec(env_id, num_envs=3, vectorization_mode="sync"), steps, seed=11)
    np.testing.assert_array_equal(observations, expected[0])
    np.testing.assert_array_equal(rewards, expected[1])
    np.testing.assert_array_equal(truncations, expected[2])
    if env_id == POINT:
        assert truncations[49].all()
        assert (rewards[50] == 0).all()


@BOTH
def test_a_world_does_not_depend_on_its_neighbours(env_id):
    many = gym.make_vec(env_id, num_envs=4)
    one = gym.make_vec(env_id, num_envs=1)
    many.reset(seed=[5, 6, 7, 8])
    one.reset(seed=[7])
    rng = np.random.default_rng(0)
    for _ in range(10):
        actions = rng.uniform(-1, 1, many.action_space.shape).astype(np.float32)
        together = many.step(actions)
        alone = one.step(actions[2:3])
        np.testing.assert_array_equal(together[0][2], alone[0][0])
        assert together[1][2] == alone[1][0]
        assert together[4]["x_position"][2] == alone[0][0][0]


def test_observation_shapes():
    assert gym.make(POINT).observation_space.shape == (6,)
    env = gym.make(QUADRUPED)
    assert env.observation_space.shape == (113,)
    observation, _ = env.reset(seed=0)
    assert (observation[29:] == 0).all()


def test_disabled_autoreset_wants_a_reset_and_a_mask_resets_some():
    env = gym.make_vec(POINT, num_envs=3, max_episode_steps=2, autoreset_mode="Disabled")
    env.reset(seed=0)
    actions = np.zeros((3, 2), np.float32)
    env.step(actions)
    before, _, _, truncated, _ = env.step(actions)
    assert truncated.all()
    with pytest.raises(ValueError, match="reset it"):
        env.step(actions)
    after, _ = env.reset(seed=[9, 9, 9], options={"reset_mask": np.array([True, False, True])})
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(after[0], after[2])
    assert (after[0] != before[0]).any()


def test_without_a_seed_the_generators_go_on():
    env = gym.make_vec(POINT, num_envs=2)
    first, _ = env.reset(seed=4)
    second, _ = env.reset()
    single = gym.make(POINT)
    np.testing.assert_array_equal(first[0], single.reset(seed=4)[0])
    np.testing.assert_array_equal(second[0], single.reset()[0])


@pytest.mark.parametrize(
    "kwargs",
    [{"num_threads": 0}, {"autoreset_mode": "SameStep"}, {"render_mode": "rgb_array"}, {"autoreset_mode": "sometimes"}],
)
def test_bad_arguments_of_the_vector_form(kwargs):
    with pytest.raises(ValueError):
        gym.make_vec(POINT, num_envs=2, **kwargs)


def test_bad_calls_of_the_vector_form():
    env = gym.make_vec(POINT, num_envs=2)
    with pytest.raises(ValueError, match="seeds"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(seed=1, options={"reset_mask": np.ones(3, bool)})
    env.reset(seed=1)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="shape"):
        gym.make(POINT).unwrapped.step(np.zeros(3, np.float32))


RENDER = """
import gymnasium as gym, numpy as np
import wng_tf.envs
for name in ("Point", "Quadruped"):
    env = gym.make(f"wng_tf/{name}-v0", render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (120, 160, 3) and frame.dtype == np.uint8, frame.shape
    assert frame.std() > 5, "nothing to be seen"
    env.reset(seed=0)
    for _ in range(20):
        env.step(env.action_space.high)
    assert (env.render() != frame).any(), "nothing moved"
    env.close()
print("rendered")
"""


def test_renders_without_a_screen():
    hidden = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")}
    done = subprocess.run([sys.executable, "-c", RENDER], env=hidden, capture_output=True, text=True)
    if "libEGL" in done.stderr or "EGL" in done.stderr.splitlines()[-1:]:
        pytest.skip("this machine has no EGL")
    assert done.stdout.strip() == "rendered", done.stderr


def test_render_without_a_mode_says_so():
    env = gym.make(POINT).unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_no_tensorflow_is_imported():
    make = "import gymnasium, wng_tf.envs; gymnasium.make_vec('wng_tf/Point-v0', num_envs=2)"
    subprocess.run([sys.executable, "-c", f"{make}; import sys; assert 'tensorflow' not in sys.modules"], check=True)
