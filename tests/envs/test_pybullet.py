"""The faster PyBullet tasks against the packaged environments: every bit of every step."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from baselines_compat.vec_env.slot import EnvSlot
from wng_tf.envs import tasks
from wng_tf.envs.pybullet_locomotion import _describe
from wng_tf.envs.pybullet_quiet import pybullet, quiet

PACKAGED = {
    "Hopper": "HopperBulletEnv-v0",
    "Walker2d": "Walker2DBulletEnv-v0",
    "HalfCheetah": "HalfCheetahBulletEnv-v0",
    "Ant": "AntBulletEnv-v0",
    "Humanoid": "HumanoidBulletEnv-v0",
    "Reacher": "ReacherBulletEnv-v0",
    "InvertedDoublePendulum": "InvertedDoublePendulumBulletEnv-v0",
}


def packaged_id(name):
    """The id of the packaged environment; skips the test where the package is not installed, as from Python 3.12 on."""
    with quiet():
        pytest.importorskip("pybullet_envs_gymnasium")
    return PACKAGED[name]


ENDLESS = ("HalfCheetah", "Reacher")
LOCOMOTION = ("Hopper", "Walker2d", "HalfCheetah", "Ant", "Humanoid")


@pytest.fixture
def make():
    """Makes environments and closes them after the test."""
    made = []

    def _make(env_id, **kwargs):
        made.append(gym.make(env_id, disable_env_checker=True, **kwargs))
        return made[-1]

    yield _make
    for env in made:
        env.close()


def pair(make, name, **kwargs):
    """The fast and the packaged environment, reset with the same seed."""
    fast, packaged = make(f"wng_tf/{name}Bullet-v0", **kwargs), make(packaged_id(name), **kwargs)
    with quiet():
        ours, theirs = fast.reset(seed=3), packaged.reset(seed=3)
    same_reset(ours, theirs)
    return fast, packaged


def same_reset(ours, theirs):
    assert ours[0].dtype == theirs[0].dtype == np.float32
    assert ours[0].tobytes() == theirs[0].tobytes()
    assert ours[1] == theirs[1] == {}


def same_step(ours, theirs):
    assert ours[0].dtype == theirs[0].dtype == np.float32
    assert ours[0].tobytes() == theirs[0].tobytes()
    assert [type(value) for value in ours[1:]] == [float, bool, bool, dict]
    assert ours[1:] == theirs[1:]


def run_both(fast, packaged, steps, seed):
    """The same random actions in both, with resets at ends; returns terminations, truncations, steps at limits."""
    rng = np.random.default_rng(seed)
    ends, limits = np.zeros(2, int), 0
    for step in range(steps):
        # Gentle, full, and beyond the bounds, where motors clip; mostly in the spaces' float32.
        scale = (0.2, 1.0, 3.0)[step // 50 % 3]
        dtype = np.float64 if step % 5 == 0 else np.float32
        action = (scale * rng.uniform(-1, 1, fast.action_space.shape)).astype(dtype)
        ours, theirs = fast.step(action), packaged.step(action)
        same_step(ours, theirs)
        limits += fast.unwrapped.rewards[-2] < 0
        if ours[2] or ours[3]:
            ends += ours[2:4]
            # Without a seed the streams go on.
            given = int(rng.integers(1000)) if ends.sum() % 2 else None
            same_reset(fast.reset(seed=given), packaged.reset(seed=given))
            robots = [env.unwrapped.robot for env in (fast, packaged)]
            heights = [getattr(robot, "initial_z", None) for robot in robots]
            assert heights[0] == heights[1]
            assert type(heights[0]) is type(heights[1])  # it decides in which precision the alive bonus compares
    return *ends, limits


@pytest.mark.parametrize("name", PACKAGED)
def test_equal_to_the_packaged_environment(name, make):
    fast, packaged = pair(make, name, max_episode_steps=80)
    assert fast.observation_space == packaged.observation_space
    assert fast.action_space == packaged.action_space
    terminated, truncated, limits = run_both(fast, packaged, 1000 if name == "Humanoid" else 2000, seed=0)
    assert terminated == 0 if name in ENDLESS else terminated > 3
    assert truncated > 0 or name not in ENDLESS
    assert limits > 10 or name not in LOCOMOTION


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_equal_over_many_steps(name, make):
    run_both(*pair(make, name), 20_000, seed=1)


@pytest.mark.parametrize("name", PACKAGED)
def test_time_limits_are_the_packaged_ones(name):
    ours, theirs = gym.spec(f"wng_tf/{name}Bullet-v0"), gym.spec(packaged_id(name))
    assert ours.max_episode_steps == theirs.max_episode_steps


@pytest.mark.parametrize("name", LOCOMOTION)
def test_fast_joints_are_bounded_as_packaged(name, make):
    fast, packaged = pair(make, name)
    action = np.zeros(fast.action_space.shape, np.float32)
    for env in (fast, packaged):
        for joint in env.unwrapped.robot.ordered_joints:
            joint.set_state(joint.upperLimit, 200.0)
    ours, theirs = fast.step(action), packaged.step(action)
    same_step(ours, theirs)
    assert np.abs(ours[0]).max() == 5.0
    assert fast.unwrapped.rewards == packaged.unwrapped.rewards


@pytest.mark.parametrize("name", LOCOMOTION)
def test_a_diverged_world_ends_the_episode(name, make, capfd):
    fast, packaged = pair(make, name)
    action = np.zeros(fast.action_space.shape, np.float32)
    for env in (fast, packaged):
        env.unwrapped.robot.ordered_joints[0].set_state(np.nan, 0.0)
    ours, theirs = fast.step(action), packaged.step(action)
    assert ours[0].tobytes() == theirs[0].tobytes()
    assert np.isnan(ours[0]).any()
    assert ours[2] is theirs[2] is True


@pytest.mark.parametrize("name", PACKAGED)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused_and_moves_nothing(name, bad, make):
    fast, packaged = pair(make, name)
    action = np.full(fast.action_space.shape, 0.3, np.float32)
    poisoned = action.copy()
    poisoned[-1] = bad
    with pytest.raises(ValueError, match="not finite"):
        fast.step(poisoned)
    same_step(fast.step(action), packaged.step(action))


def episode(env, seed, steps=60):
    """Observations [steps + 1, ...] and rewards [steps] of a random linear policy's episode, or less if it ends."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.5, env.action_space.shape + env.observation_space.shape)
    observations, rewards = [env.reset(seed=seed)[0]], []
    for _ in range(steps):
        observation, reward, terminated, _, _ = env.step(np.tanh(weights @ observations[-1]).astype(np.float32))
        observations.append(observation)
        rewards.append(reward)
        if terminated:
            break
    return np.array(observations), np.array(rewards)


@pytest.mark.parametrize("name", PACKAGED)
def test_later_episodes_do_not_depend_on_what_happened_before(name, make):
    old, rng = make(f"wng_tf/{name}Bullet-v0"), np.random.default_rng(0)
    old.reset(seed=0)
    for seed in range(3):
        for _ in range(20):
            if old.step(rng.uniform(-1, 1, old.action_space.shape))[2]:
                break
        fresh = make(f"wng_tf/{name}Bullet-v0")
        fresh.reset(seed=100 + seed)
        for one, other in zip(episode(old, seed), episode(fresh, seed), strict=True):
            assert one.tobytes() == other.tobytes()


def test_the_first_episode_differs_in_its_first_reward(make):
    env = make("wng_tf/HopperBullet-v0")
    first, second = episode(env, 5), episode(env, 5)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1][1:].tobytes() == second[1][1:].tobytes()
    assert 0 < abs(first[1][0] - second[1][0]) < 0.5


@pytest.mark.parametrize("name", ["Hopper", "Walker2d", "HalfCheetah", "Ant", "Reacher", "DoublePendulum"])
@pytest.mark.parametrize("episodes", [0, 2])
def test_rollouts_resume_bit_for_bit(name, episodes):
    """A slot that is restored in the first episode, or in a later one, goes on as the one that was not interrupted."""
    slots = [EnvSlot(lambda: tasks.make(name), index=0, seed=1) for _ in range(2)]
    straight, resumed = slots
    rng = np.random.default_rng(0)
    size = straight.env.action_space.shape

    def draw():
        return (0.3 * rng.uniform(-1, 1, size)).astype(np.float32)

    straight.reset()
    for _ in range(episodes):
        straight.step(draw())
        straight.reset()
    for _ in range(5):
        straight.step(draw())
    resumed.restore(straight.state())
    for _ in range(30):
        action = draw()
        one, other = straight.step(action), resumed.step(action)
        assert one[0].tobytes() == other[0].tobytes()
        assert one[1:] == other[1:]
    assert straight.reset().tobytes() == resumed.reset().tobytes()
    for slot in slots:
        slot.close()


def test_resets_add_nothing_to_the_world(make):
    env = make("wng_tf/HopperBullet-v0")
    env.reset(seed=0)
    client = env.unwrapped.physicsClientId
    bodies, parts = pybullet.getNumBodies(client), len(env.unwrapped.robot.parts)
    for _ in range(50):
        env.reset()
    assert pybullet.getNumBodies(client) == bodies
    assert len(env.unwrapped.robot.parts) == parts


def test_worlds_in_one_process_do_not_touch(make):
    alone, twin, other = (make("wng_tf/HopperBullet-v0") for _ in range(3))
    for env, seed in ((alone, 1), (twin, 1), (other, 2)):
        env.reset(seed=seed)
    rng = np.random.default_rng(0)
    for _ in range(10):
        action = rng.uniform(-1, 1, 3).astype(np.float32)
        other.step(-action)
        same_step(twin.step(action), alone.step(action))


@pytest.mark.parametrize("name", ["Hopper", "Reacher", "InvertedDoublePendulum"])
def test_renders_without_a_display(name, make):
    env = make(f"wng_tf/{name}Bullet-v0", render_mode="rgb_array")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    image = env.render()
    assert image.shape == (240, 320, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


def test_closes_twice():
    env = gym.make("wng_tf/ReacherBullet-v0")
    env.reset(seed=0)
    client = env.unwrapped.physicsClientId
    env.close()
    env.close()
    assert not pybullet.isConnected(client)


@pytest.mark.parametrize("name", ["Hopper", "Reacher", "InvertedDoublePendulum"])
def test_a_closed_world_is_loaded_anew(name, make):
    closed, fresh = (make(f"wng_tf/{name}Bullet-v0") for _ in range(2))
    episode(closed, 3)
    closed.close()
    for one, other in zip(episode(closed, 5), episode(fresh, 5), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", PACKAGED)
def test_worlds_are_as_gymnasium_wants_them(name, make):
    check_env(make(f"wng_tf/{name}Bullet-v0").unwrapped, skip_render_check=True)


def test_an_unknown_layout_is_refused(make):
    env = make("wng_tf/HopperBullet-v0")
    env.reset(seed=0)
    parts = env.unwrapped.robot.parts
    parts["torso"] = parts.pop("torso")  # now behind the floor
    with pytest.raises(RuntimeError, match="pybullet_envs_gymnasium"):
        _describe(env.unwrapped)


def test_prints_nothing():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import gymnasium, wng_tf.envs\n"
        "for name in ('Hopper', 'Reacher', 'InvertedDoublePendulum'):\n"
        "    env = gymnasium.make(f'wng_tf/{name}Bullet-v0'); env.reset(seed=0)\n"
        "    env.step(env.action_space.sample()); env.reset(); env.close()\n"
        "print('mine')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "mine\n", "")


def test_quiet_gives_the_streams_back(capfd):
    print("before", flush=True)
    with pytest.raises(KeyError), quiet():
        subprocess.run(["sh", "-c", "echo lost; echo lost >&2"], check=True)
        raise KeyError
    subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
    assert capfd.readouterr() == ("before\nout\n", "err\n")
