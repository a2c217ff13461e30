"""`learn` from end to end, in toy environments, with updates that are not compiled."""

from __future__ import annotations

import numpy as np
import pytest

from baselines_compat import models
from baselines_compat.vec_env import NonFiniteError
from wng_tf.errors import UserError
from wng_tf.policy_gradient.learn import explained_variance, learn
from wng_tf.policy_gradient.learner import Learner

AIM, DRIFTING = "toy_envs:toy/Aim-v0", "toy_envs:toy/Drifting-v0"
TINY = {
    "nsteps": 32,
    "nminibatches": 2,
    "noptepochs": 1,
    "num_layers": 1,
    "num_hidden": 4,
    "num_actions": 2,
    "num_features": 8,
    "inner_steps": 2,
    "num_basis": 2,
}


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """The same steps one by one: test_learner.py shows that the compiled ones are equal."""
    monkeypatch.setattr(Learner, "_fused", Learner._run)


def run(alg: str, env: str = AIM, updates: int = 2, **given):
    """The trained policy, and what the callback was told after each update."""
    told = []

    def note(local) -> None:
        rate = float(local["learner"].optimizer.learning_rate)
        kept = {name: local[name] for name in ("steps", "number", "report", "batch")}
        told.append({**kept, "lr": rate, "theta": local["learner"].theta.numpy()})

    settings = {**TINY, **given}
    steps = updates * settings["nsteps"] * settings.get("num_env", 1)
    return learn(env=env, total_timesteps=steps, alg=alg, progress=False, callback=note, **settings), told


def test_the_policy_returned_is_the_one_trained():
    policy, told = run("pg", updates=3)
    assert [local["steps"] for local in told] == [32, 64, 96]
    assert [local["number"] for local in told] == [1, 2, 3]
    np.testing.assert_array_equal(policy.get_flat(), told[-1]["theta"])
    assert not np.array_equal(told[0]["theta"], told[1]["theta"])


@pytest.mark.parametrize("alg", ["ppo", "trpo"])
def test_a_callback_acts_with_the_weights_of_the_last_update(alg):
    seen = []

    def note(local) -> None:
        seen.append((local["learner"].policy.get_flat(), local["learner"].theta.numpy()))

    policy = learn(env=AIM, total_timesteps=64, alg=alg, progress=False, callback=note, **TINY, vf_iters=1, cg_iters=2)
    assert len(seen) == 2 and not np.array_equal(seen[0][0], seen[1][0])
    for acting, theta in [*seen, (policy.get_flat(), seen[-1][1])]:
        np.testing.assert_array_equal(acting, theta)


def test_the_policy_begins_with_the_standard_deviation_asked_for():
    _, told = run("pg", updates=1, init_logstd=-2.0, lr="1e-12")
    batch = told[0]["batch"]
    mean, logstd = np.split(batch.pd_flat, 2, axis=1)
    np.testing.assert_array_equal(logstd, np.float32(-2.0))
    deviations = (batch.actions - mean) / np.exp(-2.0)
    assert 0.5 < deviations.std() < 1.5


def test_steps_are_rounded_up_to_whole_updates():
    _, told = run("pg", nsteps=32, updates=1)
    assert len(told) == 1
    settings = {**TINY, "num_env": 2}
    steps = []
    learn(
        env=AIM,
        total_timesteps=65,
        alg="pg",
        progress=False,
        callback=lambda local: steps.append(local["steps"]),
        **settings,
    )
    assert steps == [64, 128]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    thetas = [run("ppo", DRIFTING, seed=seed)[0].get_flat() for seed in (3, 3, 4)]
    np.testing.assert_array_equal(thetas[0], thetas[1])
    assert not np.array_equal(thetas[0], thetas[2])


def test_the_number_of_workers_changes_no_bit():
    results = [run("pg", DRIFTING, num_env=3, num_workers=workers, updates=2) for workers in (1, 2)]
    np.testing.assert_array_equal(results[0][0].get_flat(), results[1][0].get_flat())
    for one, other in zip(results[0][1], results[1][1], strict=True):
        for a, b in zip(one["batch"], other["batch"], strict=True):
            np.testing.assert_array_equal(a, b)
        assert one["report"] == other["report"]


def test_learning_rates_follow_their_schedule():
    _, told = run("pg", updates=4, lr="linear:1e-2")
    np.testing.assert_allclose([local["lr"] for local in told], [1e-2, 7.5e-3, 5e-3, 2.5e-3], rtol=1e-5)
    _, told = run("pg", updates=2, lr=1e-2)
    np.testing.assert_allclose([local["lr"] for local in told], 1e-2, rtol=1e-6)


def test_the_score_trains_discrete_actions():
    policy, told = run("wnpg", "CartPole-v1", nsteps=64)
    assert policy.discrete
    assert told[-1]["report"]["wng/effective_rank"] == 2.0
    assert not np.array_equal(told[0]["theta"], told[1]["theta"])


@pytest.mark.parametrize("embedding", ["actions_value", "trajectory_actions", "final_state", "reward_to_go", "mean_state"])
def test_every_embedding_trains(embedding):
    _, told = run("wnpg", DRIFTING, embedding=embedding, embedding_length=4, updates=1)
    assert told[0]["report"]["wng/effective_rank"] > 0.0
    assert np.isfinite(told[0]["theta"]).all()


def test_an_embedding_of_ones_own_trains():
    _, told = run("wnpg", DRIFTING, embedding="toy_envs:episode_length", updates=1)
    assert told[0]["report"]["wng/effective_rank"] > 0.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"alg": "wnpgg"}, "Unknown algorithm 'wnpgg'"),
        ({"alg": "wnes"}, "--alg=wnes is an evolution strategy"),
        ({"total_timesteps": 0}, "--num_timesteps must be at least 1, not 0"),
        ({"total_timesteps": 1.5}, "--num_timesteps must be a whole number, not 1.5"),
        ({"total_timesteps": "1e6"}, "--num_timesteps must be a whole number, not '1e6'"),
        ({"alg": None}, "Unknown algorithm 'None'"),
        ({"load_path": 3}, "A file or folder is named by its path, not by 3"),
        ({"log_path": 3}, "A file or folder is named by its path, not by 3"),
        ({"seed": 0.5}, "--seed must be a whole number, not 0.5"),
        ({"seed": None}, "--seed must be a whole number, not None"),
        ({"nsteps": 64.5}, "--nsteps must be a whole number, not 64.5"),
        ({"seed": -1}, "--seed must be at least 0, not -1"),
        ({"network": "transformer"}, "Unknown network 'transformer'"),
        ({"lr": "fast"}, "--lr: 'fast' is not a schedule"),
        ({"lr": "-1"}, "--lr: '-1' is not a schedule"),
        ({"embedding": "soul"}, "Unknown embedding 'soul'"),
        ({"nsteps": 33}, "--nminibatches=2 does not divide the batch of 33"),
        ({"env": "Hoper-v5"}, "Hopper-v5"),
        (
            {"env": "CartPole-v1", "alg": "wnpg", "jacobian": "reparameterised"},
            "because the action space is discrete",
        ),
        ({"env": "CartPole-v1", "alg": "bg_wnpg"}, "The Wasserstein penalty draws reparameterised actions"),
        ({"env": "CartPole-v1", "alg": "ppo", "init_logstd": -1.0}, "--init_logstd=-1: discrete actions have no"),
        ({"resume": True}, "--resume needs --log_path"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(given, sentence, tmp_path):
    folder = tmp_path / "run"
    arguments = {
        "env": AIM,
        "total_timesteps": 64,
        "alg": "pg",
        "progress": False,
        "log_path": str(folder),
        **TINY,
        **given,
    }
    if given.get("resume"):
        arguments["log_path"] = None
    with pytest.raises(UserError) as caught:
        learn(**arguments)
    assert sentence in str(caught.value)
    assert not folder.exists()


def test_networks_that_rollouts_cannot_run_are_one_sentence(monkeypatch):
    import keras

    @models.register("normed")
    def normed():
        def network_fn(shape):
            inputs = keras.Input(shape)
            return keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs)))

        return network_fn

    try:
        with pytest.raises(UserError, match="keeps a state besides its trainable weights"):
            run("pg", network="normed")
    finally:
        del models.mapping["normed"]


@pytest.mark.parametrize("what", ["observation", "reward"])
def test_a_fault_of_the_environment_stops_the_run_and_keeps_the_last_good_checkpoint(what, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=f"Environment 0 met a non-finite {what} at step"):
        run("pg", f"toy_envs:toy/Faulty-{what}-v0", updates=4, log_path=str(folder), save_interval=1)
    from wng_tf.training import checkpoint

    step, state = checkpoint.load(folder / "checkpoints")
    assert step == 64
    assert np.isfinite(state["learner"]["learner"]["theta"]).all()
    assert not (folder / "summary.json").exists()


def test_a_fault_of_the_update_stops_the_run(monkeypatch, tmp_path):
    from wng_tf.policy_gradient import objectives

    calls = []

    def broken(values, returns, old_values, cliprange):
        calls.append(1)
        return (values[0] - returns[0]) ** 2 * (float("nan") if len(calls) > 4 else 1.0)

    monkeypatch.setattr(objectives, "value_loss", broken)
    with pytest.raises(NonFiniteError, match="Update 3 met a non-finite loss/value_loss"):
        run("pg", updates=4, log_path=str(tmp_path / "run"), save_interval=1)
    from wng_tf.training import checkpoint

    assert checkpoint.latest_step(tmp_path / "run" / "checkpoints") == 64


def test_rows_of_the_log(tmp_path):
    _, told = run("ppo_kl", DRIFTING, updates=3, log_path=str(tmp_path / "run"))
    header, *rows = (tmp_path / "run" / "progress.csv").read_text().splitlines()
    row = dict(zip(header.split(","), rows[-1].split(","), strict=True))
    assert len(rows) == 3
    usual = "eprewmean eplenmean fps loss/policy_loss loss/value_loss loss/policy_entropy loss/approxkl loss/clipfrac"
    usual += " misc/total_timesteps misc/nupdates misc/explained_variance misc/time_elapsed"
    usual += " loss/kl loss/kl_coef loss/kl_moved"
    assert set(usual.split()) <= set(row)
    assert (float(row["misc/total_timesteps"]), float(row["misc/nupdates"])) == (96, 3)
    assert float(row["eplenmean"]) == 7.0
    batch = told[-1]["batch"]
    expected = 1.0 - np.var(batch.returns - batch.values) / np.var(batch.returns)
    assert float(row["misc/explained_variance"]) == pytest.approx(expected, rel=1e-4)
    assert float(row["loss/value_loss"]) == pytest.approx(told[-1]["report"]["loss/value_loss"], rel=1e-4)


def test_explained_variance():
    targets = np.array([1.0, 2.0, 3.0])
    assert explained_variance(targets, targets) == 1.0
    assert explained_variance(np.full(3, 2.0), targets) == 0.0
    assert explained_variance(-targets, targets) == pytest.approx(-3.0)
    assert np.isnan(explained_variance(targets, np.ones(3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [0.1, 100.1, 0.5, -3e37])
@pytest.mark.parametrize("count", [1, 7, 2048])
def test_explained_variance_of_constant_targets_is_nan_whatever_the_rounding_of_their_mean(count, constant, dtype):
    values = np.random.default_rng(0).normal(size=count).astype(dtype)
    assert np.isnan(explained_variance(values, np.full(count, constant, dtype)))


def test_explained_variance_of_targets_that_hardly_differ_is_that_of_exact_arithmetic():
    targets = np.full(2048, 100.1, np.float32)
    targets[::2] = np.nextafter(targets[0], np.float32(200))
    assert explained_variance(targets, targets) == 1.0
    assert explained_variance(np.full(2048, targets[0]), targets) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("shape", [(8, 1), (1,), ()])
def test_explained_variance_of_predictions_that_do_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="do not fit targets of shape"):
        explained_variance(np.zeros(shape), np.arange(8.0))
