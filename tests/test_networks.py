"""Any Keras network in both families: what acts, what is saved and exported, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from short_runs import progress, uncompiled

from baselines_compat import policies
from baselines_compat.policies import KerasActor, build_policy
from wng_tf import evaluate, saved_policy
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as evolve
from wng_tf.export import export_run
from wng_tf.policies import keras_layers
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.network import Network
from wng_tf.policy_gradient.learn import learn

AIM = "toy_envs:toy/Aim-v0"
TINY = {"nsteps": 16, "num_env": 2, "nminibatches": 2, "noptepochs": 1, "vf_iters": 1, "cg_iters": 3, "num_actions": 3}
SMALL = {"population": 3, "horizon": 5, "alg": "es"}


def train(folder, alg="ppo", network="own_networks:residual", *, env=AIM, updates=2, **given):
    reports = []
    settings = {**TINY, "save_interval": 1, "progress": False, **given}
    steps = updates * settings["nsteps"] * settings["num_env"]
    with uncompiled():
        learn(
            env=env, alg=alg, network=network, total_timesteps=steps, log_path=folder, **settings,
            callback=lambda local: reports.append((local["report"], local["learner"].policy)),
        )  # fmt: skip
    return reports


def grow(folder, network="own_networks:residual", *, env=AIM, steps=21, **given):
    return evolve(env=env, network=network, total_timesteps=steps, log_path=folder, progress=False, **{**SMALL, **given})


def check_kept(folder, size=3, value=True):
    """The saved policy and the exported one act alike, on raw observations."""
    policy = saved_policy.load(folder)
    seen = np.random.default_rng(0).normal(size=(7, size)).astype(np.float32)
    model = tf.saved_model.load(str(export_run(folder, output=folder / "model"))).signatures
    np.testing.assert_allclose(
        model["serving_default"](observation=tf.constant(seen))["action"], policy.act(seen), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(policy.act(seen[0]), policy.act(seen)[0], rtol=1e-4, atol=1e-5)
    assert ("value" in model) == value
    evaluate.evaluate_run(folder, episodes=2)
    return policy, model, seen


@pytest.mark.parametrize("value_network", ["copy", "shared"])
@pytest.mark.parametrize("alg", ["ppo", "npg", "wnpg", "wtrpo", "bg_wnpg"])
def test_every_metric_and_step_rule_trains_any_network(alg, value_network, tmp_path):
    extra = {"metric": "fisher_empirical"} if alg == "npg" else {}
    reports = train(tmp_path / "run", alg, value_network=value_network, **extra)
    assert all(np.isfinite(list(report.values())).all() for report, _ in reports)
    trained = reports[-1][1]
    assert not trained.in_numpy and (trained.num_shared > 0) == (value_network == "shared")
    policy, model, seen = check_kept(tmp_path / "run")
    assert isinstance(policy.spec.network, KerasNetwork) and isinstance(policy.value_network, KerasNetwork)
    normalized = policy.normalizer(seen)
    weights = [tf.convert_to_tensor(v) for v in trained.parameters]
    np.testing.assert_allclose(
        model["value"](observation=tf.constant(seen))["value"], trained.value(weights, tf.constant(normalized)), rtol=1e-4
    )


@pytest.mark.parametrize("alg", ["ppo", "wtrpo", "wnpg"])
def test_a_shared_chain_of_dense_layers_acts_in_numpy(alg, tmp_path):
    reports = train(tmp_path / "run", alg, "mlp", value_network="shared", num_hidden=6, num_layers=1)
    trained = reports[-1][1]
    assert trained.in_numpy and trained.num_shared == 3 * 6 + 6
    assert trained.size == (3 * 6 + 6) + (6 * 2 + 2) + 2 + (6 + 1)
    policy, _, _ = check_kept(tmp_path / "run")
    assert isinstance(policy.value_network, Network)
    train(tmp_path / "run", alg, "mlp", value_network="shared", num_hidden=6, num_layers=1, updates=3, resume=True)
    train(tmp_path / "whole", alg, "mlp", value_network="shared", num_hidden=6, num_layers=1, updates=3)
    np.testing.assert_array_equal(saved_policy.load(tmp_path / "run").theta, saved_policy.load(tmp_path / "whole").theta)


@pytest.mark.parametrize("value_network", ["copy", "shared"])
def test_the_value_fit_of_a_trust_region_leaves_the_policy(value_network, tmp_path):
    """As in Baselines' TRPO: of a shared network it fits the value's own layer alone."""
    reports = train(None, "trpo", value_network=value_network, updates=1, trust_radius=1e-12, vf_iters=3, lr="1e-1")
    trained = reports[-1][1]
    untrained = build_policy(
        trained.observation_space, trained.action_space, lambda **_: _residual(), seed=0, value_network=value_network
    )
    moved = np.abs(trained.get_flat() - untrained.get_flat())
    assert moved[: trained.policy_size].max() < 1e-4 < 1e-2 < moved[trained.policy_size :].max()


def _residual():
    from own_networks import residual

    return residual


@pytest.mark.parametrize("network", ["own_networks:residual", pytest.param("own_networks:sized", marks=pytest.mark.slow)])
def test_neither_workers_nor_an_interruption_change_the_numbers(network, tmp_path):
    train(tmp_path / "whole", network=network, updates=3)
    train(tmp_path / "two", network=network, updates=3, num_workers=2)
    train(tmp_path / "cut", network=network, updates=2)
    train(tmp_path / "cut", network=network, updates=3, resume=True)
    theta = saved_policy.load(tmp_path / "whole").theta
    for other in ("two", "cut"):
        np.testing.assert_array_equal(saved_policy.load(tmp_path / other).theta, theta)
        assert progress(tmp_path / other) == progress(tmp_path / "whole")


def test_chains_of_dense_layers_act_in_numpy_and_others_say_what_they_cost(tmp_path, capfd):
    plain = train(tmp_path / "plain", network="own_networks:plain")[-1][1]
    assert plain.in_numpy and plain.actor_spec().layers == ((3, 6, "tanh"), (6, 5, "relu"), (5, 2, "linear"))
    assert "compiled Keras model" not in capfd.readouterr().out
    train(tmp_path / "residual")
    told = capfd.readouterr().out
    assert "acts through the compiled Keras model, once a step for all 2 worlds" in told
    assert "compiled Keras model" in (tmp_path / "residual" / "log.txt").read_text()


def test_the_model_acts_as_numpy_does():
    from gymnasium import spaces

    policy = build_policy(spaces.Box(-1, 1, (3,)), spaces.MultiDiscrete([2, 3]), num_hidden=8)
    seen = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    actor = KerasActor(policy)
    theta = policy.get_flat() + 0.1
    actor.load(theta)
    from baselines_compat.actor import Actor

    np.testing.assert_allclose(actor.outputs(seen), Actor(policy.actor_spec(), theta).params(seen), rtol=1e-5, atol=1e-6)


def test_scores_of_any_network_are_those_of_its_layers(monkeypatch):
    """The empirical Fisher matrix by reverse passes and by layers, of a network that both know."""
    from gymnasium import spaces

    from wng_tf.policy_gradient.metrics.base import Point
    from wng_tf.policy_gradient.metrics.fisher import FisherEmpirical

    policy = build_policy(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), num_hidden=4)
    metric = FisherEmpirical.__new__(FisherEmpirical)
    metric.policy = policy
    rng = np.random.default_rng(0)
    data = {"observations": tf.constant(rng.normal(size=(6, 3)), tf.float32)}
    data["actions"] = tf.constant(rng.normal(size=(6, 2)), tf.float32)
    weights = [tf.convert_to_tensor(w) for w in policy.unflatten(policy.get_flat() + np.float32(0.1))]
    point = Point(weights, data, tf.zeros([0], tf.int32), tf.zeros([0]))
    rows = []
    for spec in (None, policy.actor_spec()):
        metric._spec = spec
        rows.append(metric.operator(point, ())[0].rows.dense().numpy())
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alg", ["es", "bg_wnes"])
def test_evolution_strategies_take_any_network(alg, tmp_path):
    policy = grow(tmp_path / "run", alg=alg, steps=35, env=AIM)
    assert isinstance(policy.spec.network, KerasNetwork) and np.isfinite(policy.theta).all()
    check_kept(tmp_path / "run", value=False)
    grow(tmp_path / "two", alg=alg, steps=35, num_workers=2, num_env=4)
    np.testing.assert_array_equal(saved_policy.load(tmp_path / "two").theta, saved_policy.load(tmp_path / "run").theta)
    grow(tmp_path / "cut", alg=alg, steps=14)
    grow(tmp_path / "cut", alg=alg, steps=35, resume=True)
    np.testing.assert_array_equal(saved_policy.load(tmp_path / "cut").theta, saved_policy.load(tmp_path / "run").theta)


def test_layers_that_are_connected_in_another_way_than_listed_are_no_chain():
    space = gymnasium.spaces.Box(-1.0, 1.0, (3,))
    found = [keras_layers.whole_network(f"own_networks:{name}", space, 2) for name in ("plain", "repeated")]
    assert [type(network) for network in found] == [Network, KerasNetwork]
    reports = train(None, "trpo", "own_networks:repeated", updates=1)
    assert not reports[-1][1].in_numpy


@pytest.mark.parametrize("workers", [1, 2])
def test_strategies_of_dense_chains_act_without_keras_from_the_same_start(workers, tmp_path, monkeypatch, capfd):
    given = {"network": "own_networks:plain", "num_workers": workers, "num_env": 4}
    chain = grow(tmp_path / "chain", steps=35, **given)
    assert isinstance(chain.spec.network, Network) and not chain.acts_through_tensorflow
    layers = [(layer.units, layer.activation) for layer in chain.spec.network.layers]
    assert layers == [(6, "tanh"), (5, "relu"), (2, "linear")]
    assert "compiled Keras model" not in capfd.readouterr().out
    acting = f"import sys, wng_tf; wng_tf.load({str(tmp_path / 'chain')!r}).predict([0.0] * 3)"
    subprocess.run([sys.executable, "-c", f"{acting}; assert 'keras' not in sys.modules"], check=True)
    monkeypatch.setattr(policies, "_computes", lambda *_: False)
    model = grow(tmp_path / "model", steps=35, **given)
    assert isinstance(model.spec.network, KerasNetwork)
    assert "compiled Keras model" in capfd.readouterr().out
    np.testing.assert_allclose(chain.theta, model.theta, rtol=1e-4, atol=1e-5)
    seen = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(*(one.predict(seen, deterministic=True)[0] for one in (chain, model)), atol=1e-4)
    # A run that an earlier version began through the model goes on.
    grow(tmp_path / "earlier", steps=14, **given)
    monkeypatch.undo()
    resumed = grow(tmp_path / "earlier", steps=35, resume=True, **given)
    assert isinstance(resumed.spec.network, Network)
    np.testing.assert_allclose(resumed.theta, chain.theta, rtol=1e-4, atol=1e-5)
    begun = grow(tmp_path / "begun", steps=1, load_path=tmp_path / "model", lr="1e-30", **given)
    np.testing.assert_allclose(begun.theta, model.theta, rtol=1e-6)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("normalized_by_batch", r"\(BatchNormalization\) keeps a state"),
        ("dropping", r"\(Dropout\) keeps a state .* or draws random numbers"),
        ("recurrent", r"\(LSTM\) keeps a state"),
        ("frozen", r"\(Dense\) keeps a state besides its trainable weights"),
        ("no_model", "must make a keras.Model, not a list"),
        ("failing", "Network 'own_networks:failing' failed: RuntimeError: broken"),
        ("of_two", "requires 2 arguments"),
        ("unregistered", "'Doubling', which is not registered"),
        ("missing", "cannot be imported"),
    ],
)
def test_what_is_refused_is_one_sentence(network, sentence):
    for trained in (train, grow):
        with pytest.raises(UserError, match=sentence) as told:
            trained(None, network=f"own_networks:{network}")
        assert "\n" not in str(told.value)


def test_layers_of_ones_own_are_read_where_they_are_registered(tmp_path):
    train(tmp_path / "run", network="own_networks:registered")
    check_kept(tmp_path / "run")
    code = f"from wng_tf import saved_policy; saved_policy.load({str(tmp_path / 'run')!r}).act([0.0, 0.0, 0.0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "which is not registered here" in done.stderr


def test_a_network_of_convolutions_sees_matrices_and_refuses_vectors():
    with pytest.raises(UserError, match=r"The network 'cnn' takes images .*, not observations \(3,\)"):
        train(None, network="cnn")
    with pytest.raises(UserError, match=r"The network 'cnn' takes images"):
        grow(None, network="cnn")


@pytest.mark.parametrize("network", ["mlp", "own_networks:plain", "own_networks:residual"])
def test_the_global_policy_of_keras_changes_no_number(network, tmp_path):
    def thetas(name: str) -> list[np.ndarray]:
        train(tmp_path / f"{name} pg", network=network)
        grow(tmp_path / f"{name} es", network=network)
        policies = [saved_policy.load(tmp_path / f"{name} {family}") for family in ("pg", "es")]
        return [*(policy.theta for policy in policies), *(policy.act(np.zeros((1, 3))) for policy in policies)]

    expected = thetas("plain")
    try:
        keras.mixed_precision.set_global_policy("mixed_float16")
        half = thetas("half")
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        double = thetas("double")
        assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float64", "float64"), "as it was"
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    for found in (half, double):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
