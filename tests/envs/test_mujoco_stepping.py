"""The faster MuJoCo tasks against Gymnasium's own: every bit of every step."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from wng_tf.envs import tasks

ENDLESS = ("HalfCheetah-v5", "Swimmer-v5", "Reacher-v5", "Pusher-v5", "HumanoidStandup-v5")
NAMES = ("Hopper-v5", "Walker2d-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Ant-v5", "Humanoid-v5", *ENDLESS)


@pytest.fixture
def pair():
    """Makes the faster and the packaged environment, and closes them after the test."""
    made = []

    def make(name, **kwargs):
        made.extend((tasks.make(name, **kwargs), gym.make(name, disable_env_checker=True, **kwargs)))
        return made[-2:]

    yield make
    for env in made:
        env.close()


def same_info(ours, theirs):
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert np.asarray(value, np.float64).tobytes() == np.asarray(theirs[name], np.float64).tobytes(), name


def same_reset(ours, theirs):
    assert ours[0].tobytes() == theirs[0].tobytes()
    same_info(ours[1], theirs[1])


def run_both(fast, packaged, steps):
    """The same random actions in both, with resets at ends; returns how many episodes terminated and were cut."""
    rng = np.random.default_rng(0)
    ends = np.zeros(2, int)
    same_reset(fast.reset(seed=3), packaged.reset(seed=3))
    for step in range(steps):
        # Gentle, full, and beyond the bounds, where the engine clips; mostly in the spaces' float32.
        scale, dtype = (0.2, 1.0, 3.0)[step // 50 % 3], np.float64 if step % 5 == 0 else np.float32
        action = (scale * rng.uniform(-1, 1, fast.action_space.shape)).astype(dtype)
        ours, theirs = fast.step(action), packaged.step(action)
        assert ours[0].dtype == theirs[0].dtype == np.float64
        assert ours[0].tobytes() == theirs[0].tobytes()
        assert ours[1:4] == theirs[1:4]
        same_info(ours[4], theirs[4])
        assert [type(x) for x in ours[1:4]] == [float, bool, bool]
        if ours[2] or ours[3]:
            ends += ours[2:4]
            seed = int(rng.integers(1000)) if ends.sum() % 2 else None  # without a seed the streams go on
            same_reset(fast.reset(seed=seed), packaged.reset(seed=seed))
    return ends


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_packaged_environment(name, pair):
    fast, packaged = pair(name, max_episode_steps=70)
    assert type(fast.unwrapped) is not type(packaged.unwrapped)
    assert isinstance(fast.unwrapped, type(packaged.unwrapped))
    assert fast.spec.id == name
    assert (fast.observation_space, fast.action_space) == (packaged.observation_space, packaged.action_space)
    terminated, truncated = run_both(fast, packaged, 1500)
    assert terminated == 0 if name in ENDLESS else terminated > 3
    assert truncated > 3 or name not in ENDLESS


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "Hopper-v5",
            {
                "terminate_when_unhealthy": False,
                "exclude_current_positions_from_observation": False,
                "healthy_state_range": (-2.0, 2.0),
                "healthy_reward": 0.3,
                "frame_skip": 3,
            },
        ),
        ("Walker2d-v5", {"healthy_z_range": (1.1, 1.3), "forward_reward_weight": 2.0, "ctrl_cost_weight": 0.5}),
        ("HalfCheetah-v5", {"exclude_current_positions_from_observation": False, "reset_noise_scale": 0.0}),
        ("InvertedDoublePendulum-v5", {"healthy_reward": 3.0}),
        ("InvertedPendulum-v5", {"reset_noise_scale": 0.1, "frame_skip": 1}),
        ("Swimmer-v5", {"exclude_current_positions_from_observation": False, "forward_reward_weight": 2.0}),
        ("Reacher-v5", {"reward_dist_weight": 0.5, "reward_control_weight": 0.3}),
        ("Pusher-v5", {"reward_near_weight": 0.1, "reward_dist_weight": 3, "reward_control_weight": 1}),
        (
            "Ant-v5",
            {
                "include_cfrc_ext_in_observation": False,
                "exclude_current_positions_from_observation": False,
                "contact_force_range": (0.0, 0.5),
                "contact_cost_weight": 0.1,
                "main_body": "front_left_leg",
                "healthy_z_range": (0.4, 0.8),
            },
        ),
        ("Ant-v5", {"terminate_when_unhealthy": False, "healthy_reward": 0, "reset_noise_scale": 0.5}),
        (
            "Humanoid-v5",
            {
                "include_cinert_in_observation": False,
                "include_qfrc_actuator_in_observation": False,
                "contact_cost_range": (1e-3, 2e-3),
                "contact_cost_weight": 1e-4,
                "terminate_when_unhealthy": False,
            },
        ),
        ("HumanoidStandup-v5", {"impact_cost_range": (-1.0, 1e-3), "include_cfrc_ext_in_observation": False}),
    ],
)
def test_settings_of_the_packaged_environment_count(name, settings, pair):
    run_both(*pair(name, max_episode_steps=70, **settings), 400)


@pytest.mark.parametrize("name", NAMES)
def test_states_that_are_not_numbers_are_seen(name, pair):
    fast, packaged = pair(name)
    for env in (fast, packaged):
        env.reset(seed=0)
        env.unwrapped.data.qvel[:] = np.nan
    action = np.zeros(fast.action_space.shape, np.float32)
    ours, theirs = fast.step(action), packaged.step(action)
    assert np.array_equal(ours[0], theirs[0], equal_nan=True)
    assert ours[2] == theirs[2]


@pytest.mark.parametrize("name", NAMES)
def test_an_action_of_the_wrong_shape_is_refused(name, pair):
    fast, _ = pair(name)
    fast.reset(seed=0)
    with pytest.raises(ValueError, match="Action dimension mismatch"):
        fast.step(np.zeros(9, np.float32))


def test_bodies_are_where_the_packaged_environment_has_them(pair):
    fast, packaged = pair("Hopper-v5")
    action = np.full(3, 0.5, np.float32)
    for env in (fast, packaged):
        env.reset(seed=0)
        env.step(action)
    assert np.array_equal(fast.unwrapped.data.xpos, packaged.unwrapped.data.xpos)
