"""Observations of every kind, through the public interface of both families."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from short_runs import TINY, uncompiled
from space_envs import OBSERVATIONS

from baselines_compat.flattening import divisors, flat_space, flattened, image_columns
from wng_tf import evaluate, saved_policy
from wng_tf.envs import tasks
from wng_tf.evolution.learn import learn as evolve
from wng_tf.export import export_run
from wng_tf.policy_gradient.learn import learn


def train(family: str, env: str, folder, *, workers: int = 1, steps: int = 64, **given):
    if family == "es":
        settings = {"population": 3, "num_env": 4, "num_workers": workers, "alg": "es"}
        return evolve(env=env, total_timesteps=steps, log_path=folder, progress=False, **{**settings, **given})
    settings = {**TINY, "alg": "ppo", "num_env": 2, "num_workers": workers, "nsteps": 16, "save_interval": 1}
    with uncompiled():
        return learn(env=env, total_timesteps=steps, log_path=folder, progress=False, **{**settings, **given})


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_the_flat_form_is_gymnasiums_with_pixels_as_fractions(name):
    space = OBSERVATIONS[name]
    space.seed(0)
    member = space.sample()
    flat, made = flattened(member, space), flat_space(space)
    assert made.original == space and made.shape == flat.shape and made.contains(flat)
    expected = spaces.flatten(space, member).astype(np.float64) / divisors(space)
    np.testing.assert_allclose(flat, expected, rtol=1e-6)
    pixels = {"image": ((0, 1440),), "gray": ((0, 400),), "camera": ((0, 36),)}
    assert image_columns(space) == pixels.get(name, ()) == image_columns(made)
    if name in ("image", "gray"):
        np.testing.assert_array_equal(np.rint(255 * flat).astype(np.uint8), np.ravel(member))


@pytest.mark.parametrize("bounds", [(0, 254), (1, 255)])
def test_bytes_that_use_another_range_are_numbers(bounds):
    assert image_columns(spaces.Box(*bounds, (4, 4, 3), np.uint8)) == ()
    assert image_columns(spaces.Box(0, 255, (4,), np.uint8)) == ()
    assert image_columns(spaces.Box(0, 255, (4, 4), np.int16)) == ()


@pytest.mark.parametrize("family", ["es", "ppo"])
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_training_evaluation_and_export(family, name, tmp_path):
    folder, env = tmp_path / "run", f"space_envs:space/Showing-{name}-v0"
    train(family, env, folder)
    evaluate.evaluate_run(folder, episodes=1)
    policy, space = saved_policy.load(folder), OBSERVATIONS[name]
    assert getattr(policy.observation_space, "original", policy.observation_space) == space
    space.seed(1)
    members = [space.sample() for _ in range(5)]
    flat = np.array([flattened(member, space) for member in members])
    own = policy.act(flat)
    for member, action in zip(members, own, strict=True):
        np.testing.assert_allclose(policy.predict(member, deterministic=True)[0], action, rtol=1e-5, atol=1e-6)
    model = tf.saved_model.load(str(export_run(folder, output=tmp_path / "model"))).signatures["serving_default"]
    raw = np.array([spaces.flatten(space, member) for member in members], np.float32)
    shapes = [raw.shape]
    if isinstance(space, spaces.Box):
        shapes.append((5, *space.shape))
    for shape in shapes:
        np.testing.assert_allclose(model(observation=tf.constant(raw.reshape(shape)))["action"], own, rtol=1e-4, atol=1e-5)
    if name in ("image", "gray"):  # they are fractions already, and seen as they are
        x = np.float32(flat)
        seen = x if policy.normalizer is None else policy.normalizer(x)
        np.testing.assert_array_equal(seen, x)
    if name == "camera":
        seen = policy.normalizer(flat)
        np.testing.assert_array_equal(seen[:, :36], np.float32(flat[:, :36]))
        assert np.abs(seen[:, 36:]).max() < 10.0 < np.abs(flat[:, 36:]).max()


@pytest.mark.parametrize("family", ["es", "ppo"])
@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("gray", "cnn_small"),
        pytest.param("image", "cnn_small", marks=pytest.mark.slow),
        ("camera", "own_networks:of_parts"),
        pytest.param("camera", "mlp", marks=pytest.mark.slow),
    ],
)
def test_images_through_convolutions_keep_their_bits(family, name, network, tmp_path):
    """With several workers, and after an interruption."""
    env = f"space_envs:space/Showing-{name}-v0"
    train(family, env, tmp_path / "whole", steps=128, network=network)
    train(family, env, tmp_path / "two", steps=128, workers=2, network=network)
    train(family, env, tmp_path / "cut", steps=64, network=network)
    train(family, env, tmp_path / "cut", steps=128, network=network, resume=True)
    whole = saved_policy.load(tmp_path / "whole")
    for other in ("two", "cut"):
        np.testing.assert_array_equal(saved_policy.load(tmp_path / other).theta, whole.theta)
    space = OBSERVATIONS[name]
    space.seed(1)
    members = [space.sample() for _ in range(3)]
    own = whole.act(np.array([flattened(member, space) for member in members]))
    model = tf.saved_model.load(str(export_run(tmp_path / "whole", output=tmp_path / "model"))).signatures["serving_default"]
    raw = np.array([spaces.flatten(space, member) for member in members], np.float32)
    np.testing.assert_allclose(model(observation=tf.constant(raw))["action"], own, rtol=1e-4, atol=1e-5)


def test_convolutions_learn_to_see():
    told = []
    settings = {"nsteps": 128, "nminibatches": 4, "noptepochs": 4, "lr": "3e-3", "gamma": 0.0, "value_network": "shared"}
    learn(env="space_envs:space/Seeing-v0", alg="ppo", network="cnn_small", total_timesteps=768, progress=False, **settings,
          callback=lambda local: told.append(local["batch"].raw_rewards.mean()))  # fmt: skip
    assert told[0] < 0.7 and told[-1] > 0.9


def test_cnn_is_baselines():
    from baselines_compat.models import get_network_builder

    model = get_network_builder("cnn")()((84, 84, 4))
    assert [tuple(w.shape) for w in model.trainable_variables] == [
        *[(8, 8, 4, 32), (32,), (4, 4, 32, 64), (64,), (3, 3, 64, 64), (64,), (3136, 512), (512,)]
    ]
    in_front = get_network_builder("cnn")()((4, 84, 84))
    assert in_front.count_params() == model.count_params()
    with pytest.raises(ValueError, match="takes larger images than"):
        get_network_builder("cnn")()((16, 16, 3))


@pytest.mark.parametrize(
    ("observation", "action"),
    [
        (spaces.Text(5), spaces.Discrete(2)),
        (spaces.Dict(a=spaces.Sequence(spaces.Discrete(2))), spaces.Discrete(2)),
        (spaces.Graph(spaces.Discrete(2), None), spaces.Discrete(2)),
        (spaces.Box(0, 1, (0,)), spaces.Discrete(2)),
        (spaces.Box(0, 1, (1,)), spaces.Dict(a=spaces.Discrete(2))),
        (spaces.Box(0, 1, (1,)), spaces.Discrete(10**9)),
        (spaces.Box(0, 1, (1,)), spaces.Box(0, 1, (2, 0))),
    ],
    ids=str,
)
def test_spaces_that_are_not_handled_are_one_sentence(observation, action):
    class Odd(gym.Env):
        observation_space, action_space = observation, action

    gym.register("space/Odd-v0", entry_point=Odd)
    try:
        with pytest.raises(ValueError, match=r"space/Odd-v0 has the (action|observation) space .* register the wrapped one"):
            tasks.check_spaces(tasks.resolve("space/Odd-v0"))
    finally:
        del gym.registry["space/Odd-v0"]


def test_they_are_refused_before_tensorflow_loads(tmp_path):
    for alg in ("ppo", "es"):
        command = [sys.executable, "-m", "wng_tf.run", f"--alg={alg}", "--env=space_envs:space/Typing-v0", "--trust"]
        done = subprocess.run(
            [*command, f"--log_path={tmp_path / alg}"], capture_output=True, text=True, timeout=120, cwd="tests"
        )
        assert done.returncode == 2 and "Loading TensorFlow" not in done.stdout
        assert "has the action space" in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / alg).exists()
