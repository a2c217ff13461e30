"""What is exported acts by itself: raw observation in, the environment's action out, with TensorFlow and nothing else."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from scipy import stats
from short_runs import contents

from baselines_compat.actor import ACTIVATIONS
from baselines_compat.vec_env.normalizer import NormalizerSettings
from wng_tf import evaluate, export, saved_policy
from wng_tf.export import export_run
from wng_tf.policies import heads, tensors
from wng_tf.policies.exported import ExportedPolicy
from wng_tf.policies.network import Network
from wng_tf.policies.normalizers import RunningNormalizer
from wng_tf.policies.saved import SavedPolicy
from wng_tf.policies.spec import PolicySpec

NAMES = ["ppo on CartPole", "ppo on Hopper", "bg_wnpg on pendulum", "wnes on Point"]
SIGNATURES = {"serving_default", "sample", "value"}


def observations(size: int, count: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(count, size)) * rng.choice([0.1, 1.0, 100.0], size=(count, 1))).astype(np.float32)


def handmade(activation: str = "tanh", discrete: bool = False, **changes) -> SavedPolicy:
    """A policy nobody trained, with weights large enough to reach the bounds of its actions."""
    rng = np.random.default_rng(1)
    layers = ((3, 5, activation), (5, 2, "linear"))
    box = spaces.Box(np.array([-0.5, -2.0]), np.array([0.5, 1.0]), dtype=np.float64)
    space = spaces.Discrete(2) if discrete else box
    spec = PolicySpec(Network.of_dense(layers), heads.stochastic(space))
    size = spec.num_parameters
    theta = rng.normal(size=size + 3 * 5 + 5 + 5 + 1).astype(np.float32)
    if not discrete:
        theta[size - 2 : size] = -1.0
    made = SavedPolicy(
        spec=spec,
        value_network=Network.of_dense(((3, 5, activation), (5, 1, "linear"))),
        theta=theta,
        normalizer=RunningNormalizer(np.array([1e4, 0.0, -3.0]), np.array([1e-2, 1.0, 9.0])),
        observation_space=spaces.Box(-np.inf, np.inf, (3,), np.float64),
        action_space=space,
    )
    return dataclasses.replace(made, **changes)


def seen_by(policy: SavedPolicy, count: int = 200) -> np.ndarray:
    """Observations about the normalizer's mean, in float32."""
    noise = np.random.default_rng(2).normal(size=(count, policy.spec.observations)) * 2.0
    return (policy.normalizer.mean + noise * np.sqrt(policy.normalizer.var)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_acts_as_the_saved_policy(name, trained, tmp_path):
    policy = saved_policy.load(trained(name))
    folder = export_run(trained(name), output=tmp_path / "model")
    signatures = tf.saved_model.load(str(folder)).signatures
    assert SIGNATURES - {"value"} <= set(signatures)
    seen = observations(policy.observation_space.shape[0])
    action = signatures["serving_default"](observation=tf.constant(seen))["action"].numpy()
    np.testing.assert_allclose(action, policy.act(seen), atol=1e-5)
    assert action.dtype == policy.act(seen).dtype and action.shape == policy.act(seen).shape
    assert all(policy.action_space.contains(one) for one in action)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_the_one_of_the_rollouts(activation):
    policy = handmade(activation)
    action = ExportedPolicy(policy).signatures()["serving_default"](tf.constant(seen_by(policy)))["action"].numpy()
    np.testing.assert_allclose(action, policy.act(seen_by(policy)), atol=1e-5)
    assert set(tensors.ACTIVATIONS) == set(ACTIVATIONS)


def test_actions_are_clipped_to_the_bounds_in_the_dtype_of_the_space():
    policy = handmade()
    signatures = ExportedPolicy(policy).signatures()
    for name, arguments in (("serving_default", ()), ("sample", (tf.constant(3, tf.int64),))):
        action = signatures[name](tf.constant(seen_by(policy)), *arguments)["action"].numpy()
        assert action.dtype == np.float64
        assert all(policy.action_space.contains(one) for one in action)
        assert (action == policy.action_space.low).any() and (action == policy.action_space.high).any()


def test_without_normalized_observations_they_pass_as_they_are():
    seeing = dataclasses.replace(handmade().normalizer, settings=NormalizerSettings(ob=False))
    policy = handmade(normalizer=seeing)
    seen = np.random.default_rng(3).normal(size=(50, 3)).astype(np.float32)
    action = ExportedPolicy(policy).signatures()["serving_default"](tf.constant(seen))["action"].numpy()
    np.testing.assert_allclose(action, policy.act(seen), atol=1e-5)
    assert not np.allclose(policy.act(seen), handmade().act(seen))


def test_a_large_mean_costs_no_digits():
    """(x - mean) in float32 keeps two digits of an observation of 10 000 ± 0.1."""
    policy = handmade()
    exact = dataclasses.replace(policy, theta=policy.theta.astype(np.float64))
    action = ExportedPolicy(policy).signatures()["serving_default"](tf.constant(seen_by(policy)))["action"].numpy()
    np.testing.assert_allclose(action, exact.act(seen_by(policy).astype(np.float64)), atol=1e-5)


def test_samples_repeat_with_their_seed_and_have_the_policys_distribution():
    policy = handmade(action_space=spaces.Box(-np.inf, np.inf, (2,), np.float32))
    sample = ExportedPolicy(policy).signatures()["sample"]
    seen = tf.constant(np.repeat(seen_by(policy, 1), 20_000, axis=0))
    first, again, other = (sample(seen, tf.constant(s, tf.int64))["action"].numpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    centred = (first - policy.act(seen.numpy()[:1])) / np.exp(-1.0)
    for column in centred.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(centred.T)[0, 1]) < 0.03


def test_discrete_samples_have_the_policys_frequencies():
    policy = handmade(discrete=True)
    one = seen_by(policy, 1)
    drawn = policy.act(np.repeat(one, 20_000, axis=0), np.random.default_rng(0), deterministic=False)
    sample = ExportedPolicy(policy).signatures()["sample"]
    ours = sample(tf.constant(np.repeat(one, 20_000, axis=0)), tf.constant(0, tf.int64))["action"].numpy()
    assert ours.dtype == np.int64 and ours.shape == (20_000,)
    share = drawn.mean()
    assert 0.02 < share < 0.98
    assert stats.binomtest(int(ours.sum()), ours.size, share).pvalue > 1e-4


def test_values_are_those_of_the_keras_critic(trained):
    from baselines_compat.policies import build_policy

    policy = saved_policy.load(trained("bg_wnpg on pendulum"))
    network = build_policy(policy.observation_space, policy.action_space, "mlp", num_hidden=8)
    network.set_flat(policy.theta)
    seen = observations(policy.observation_space.shape[0])
    scaled = np.clip((seen - policy.normalizer.mean) / np.sqrt(policy.normalizer.var + 1e-8), -10.0, 10.0).astype(np.float32)
    value = ExportedPolicy(policy).signatures()["value"](tf.constant(seen))["value"].numpy()
    np.testing.assert_allclose(value, network.critic(scaled).numpy()[:, 0], rtol=1e-5, atol=1e-5)


ALONE = """
import importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"wng_tf", "baselines_compat", "tensorflow_probability", "gymnasium", "tf_keras", "mujoco"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuse())
import numpy as np
import tensorflow as tf

for model, data in zip(sys.argv[1::2], sys.argv[2::2]):
    policy = tf.saved_model.load(model)
    data = np.load(data)
    seen = tf.constant(data["seen"])
    action = policy.signatures["serving_default"](observation=seen)["action"].numpy()
    print(json.dumps(float(np.abs(action - data["action"]).max())), flush=True)
"""


def test_loads_and_acts_where_there_is_only_tensorflow(trained, tmp_path):
    arguments = []
    for i, name in enumerate(NAMES):
        policy = saved_policy.load(trained(name))
        seen = observations(policy.observation_space.shape[0])
        np.savez(tmp_path / f"{i}.npz", seen=seen, action=policy.act(seen))
        arguments += [str(export_run(trained(name), output=tmp_path / f"{i}")), str(tmp_path / f"{i}.npz")]
    command = [sys.executable, "-I", "-c", ALONE, *arguments]
    outcome = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert outcome.returncode == 0, outcome.stderr
    differences = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert len(differences) == len(NAMES) and max(differences) < 1e-5


def test_the_command_exports_into_the_run_and_replaces_what_it_exported_before(call, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    first = saved_policy.load(folder, 64)
    seen = observations(4)
    for which, policy in ((64, first), ("latest", saved_policy.load(folder))):
        outcome = call(export.app, f"--run={folder}", f"--which={which}")
        assert (outcome.code, outcome.stdout) == (0, f"Exported to {folder / 'export'}\n")
        value = tf.saved_model.load(str(folder / "export")).signatures["value"](tf.constant(seen))["value"]
        expected = ExportedPolicy(policy).signatures()["value"](tf.constant(seen))["value"]
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    before, after = contents(trained("ppo on CartPole")), contents(folder)
    assert {name: data for name, data in after.items() if not name.startswith("export/")} == before


def test_an_export_that_fails_leaves_the_one_before(trained, tmp_path, monkeypatch):
    model = export_run(trained("ppo on CartPole"), output=tmp_path / "model")
    before = contents(model)

    def half(self, path):
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(SavedPolicy, "export", half)
    with pytest.raises(KeyboardInterrupt):
        export_run(trained("ppo on CartPole"), output=model)
    assert contents(model) == before and list(tmp_path.iterdir()) == [model]


def test_a_folder_that_cannot_be_written_to(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(evaluate.UserError, match="Cannot write to .*another --output"):
        export_run(trained("ppo on CartPole"), output=tmp_path / "file" / "model")
