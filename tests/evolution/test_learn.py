"""Runs from end to end: every algorithm, the run folder, resuming, saved policies and their exports, bad input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from baselines_compat.monitor import load_results
from wng_tf.algorithms import EVOLUTION_STRATEGIES
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn
from wng_tf.policies import saved
from wng_tf.policies.saved import SavedPolicy, load_policy
from wng_tf.training import checkpoint

SMALL = {"population": 4, "num_hidden": 6, "horizon": 20, "progress": False}
STEPS = 9 * 20


def rows(folder):
    with open(folder / "progress.csv", newline="") as file:
        return list(csv.DictReader(file))


def without_time(row):
    return {key: value for key, value in row.items() if key not in ("fps", "misc/time_elapsed", "es/cpu_seconds")}


@pytest.mark.parametrize("alg", sorted(EVOLUTION_STRATEGIES))
def test_every_algorithm_runs_on_point(alg, tmp_path):
    seen = []
    policy = learn(
        env="Point",
        alg=alg,
        total_timesteps=3 * STEPS,
        log_path=tmp_path / "run",
        callback=lambda *a: seen.append(a),
        **SMALL,
    )
    folder = tmp_path / "run"
    assert len(seen) == len(rows(folder)) == 3
    last = rows(folder)[-1]
    assert int(last["misc/total_timesteps"]) == 3 * STEPS
    assert float(last["eprewmean"]) == pytest.approx(seen[-1][0].policy_return)
    natural = EVOLUTION_STRATEGIES[alg].metric == "wasserstein_kernel"
    repelled = EVOLUTION_STRATEGIES[alg].repulsion != "none"
    assert ("wng/cosine" in last) == natural
    assert ("es/distance_mean" in last) == repelled
    if natural:
        assert -1 <= float(last["wng/cosine"]) <= 1
    if repelled:
        assert float(last["es/distance_std"]) > 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["episodes"] == len(load_results(folder)["r"]) == 27
    assert summary["eprewmean"] == pytest.approx(float(last["eprewmean"]), rel=1e-5)
    for name in ("flags.txt", "versions.json", "log.txt", "progress.json", "tb", "checkpoints"):
        assert (folder / name).exists()
    assert "--network=toeplitz" in (folder / "flags.txt").read_text()
    assert (policy.theta != seen[0][0].policy.theta).any()


def test_the_returned_policy_is_the_one_whose_return_was_logged(tmp_path):
    learn(env="Point", alg="wnes", total_timesteps=2 * STEPS, log_path=tmp_path / "run", **SMALL)
    policy = load_policy(tmp_path / "run")
    from wng_tf.evolution import population

    env = tasks.make("Point")
    observation, _ = env.reset(seed=population.start_seeds(0, 1, 4, 1, "pair")[-1])
    total = 0.0
    for _ in range(20):
        observation, reward, *_ = env.step(policy.act(observation))
        total += reward
    assert total == pytest.approx(float(rows(tmp_path / "run")[-1]["eprewmean"]), rel=1e-4)


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("env", "alg", "settings"),
    [
        ("Point", "bg_wnes", {"damping": "adaptive", "lr": "linear:0.1"}),
        ("Point", "nsr_es", {"num_env": 4, "optimizer": "momentum"}),
        ("Hopper-v5", "wnes", {"damping": "adaptive"}),
    ],
)
def test_an_interruption_changes_nothing(env, alg, settings, tmp_path):
    given = {**SMALL, **settings, "env": env, "alg": alg, "seed": 3, "save_interval": 2}
    whole = []
    total = 7 * STEPS if env == "Point" else 700
    learn(log_path=tmp_path / "whole", callback=lambda p, _: whole.append(p), total_timesteps=total, **given)
    assert len(whole) >= 5

    def stop(progress, _):
        if progress.state.generation == 3:
            raise Stop

    with pytest.raises(Stop):
        learn(log_path=tmp_path / "parts", callback=stop, total_timesteps=total, **given)
    assert checkpoint.latest_step(tmp_path / "parts" / "checkpoints") == whole[1].steps
    parts = []
    again = {**given, "resume": True, "log_path": tmp_path / "parts", "total_timesteps": total}
    learn(callback=lambda p, _: parts.append(p), **again)
    assert len(parts) == len(whole) - 2
    np.testing.assert_array_equal(whole[-1].state.theta, parts[-1].state.theta)
    assert whole[-1].steps == parts[-1].steps
    one, two = rows(tmp_path / "whole"), rows(tmp_path / "parts")
    assert [without_time(row) for row in one] == [without_time(row) for row in two]
    np.testing.assert_array_equal(load_results(tmp_path / "whole")["r"], load_results(tmp_path / "parts")["r"])
    # Resuming a finished run finishes it again, as it was.
    policy = learn(**again)
    np.testing.assert_array_equal(policy.theta, parts[-1].policy.theta)


def test_chunks_and_workers_do_not_change_a_run(tmp_path):
    final = []
    for settings in ({}, {"num_env": 4}, {"num_env": 3, "num_workers": 2}):
        learn(
            env="Hopper-v5",
            alg="wnes",
            total_timesteps=300,
            callback=lambda p, _: final.append(p.state.theta),
            **{**SMALL, **settings},
        )
    thirds = np.array_split(np.array(final), 3)
    np.testing.assert_array_equal(thirds[0], thirds[1])
    np.testing.assert_array_equal(thirds[0], thirds[2])


def test_the_normalizer_learns_and_is_part_of_the_policy(tmp_path):
    """Its statistics are those of every observation acted on, up to the generation before."""
    reports = []
    learn(
        env="Hopper-v5",
        alg="es",
        total_timesteps=400,
        log_path=tmp_path / "run",
        embedding="trajectory_actions",  # records every observation
        callback=lambda p, r: reports.append((p, r)),
        **SMALL,
    )
    seen = [
        trajectories.observations[i, :steps]
        for _, report in reports[:-1]
        for trajectories in [report.rollouts.trajectories]
        for i, steps in enumerate(trajectories.lengths)
    ]
    seen = np.concatenate(seen).astype(np.float64)
    normalizer = load_policy(tmp_path / "run").normalizer
    np.testing.assert_allclose(normalizer.shift, seen.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(normalizer.scale, 1 / np.sqrt(seen.var(axis=0) + 1e-8), rtol=1e-3)
    first = reports[0][0].policy.normalizer
    assert (first.shift == 0).all()
    assert (first.scale == 1).all()


EXPORTED = """
import sys, numpy as np, tensorflow as tf
for folder in sys.argv[1:]:
    model = tf.saved_model.load(folder + "/export")
    observation = tf.constant(np.load(folder + "/observation.npy"), tf.float32)
    for name in ("serving_default", "sample"):
        np.save(f"{folder}/{name}.npy", model.signatures[name](observation=observation)["action"].numpy())
assert "wng_tf" not in sys.modules
"""


def test_export_acts_as_the_policy_where_only_tensorflow_is(tmp_path):
    policies = {}
    for env in ("Point", "Hopper-v5", "CartPole-v1"):
        folder = tmp_path / env
        learn(env=env, alg="es", total_timesteps=500, log_path=folder, action_noise=0.1, **SMALL)
        policies[env] = policy = load_policy(folder)
        space = tasks.make(env)
        assert policy.observation_space == space.observation_space
        assert policy.action_space == space.action_space
        np.save(folder / "observation.npy", np.random.default_rng(0).standard_normal((50, policy.spec.observations)) * 8)
        assert (policy.normalizer is None) == (env == "Point")
        assert policy.export(folder / "export") == folder / "export"
    folders = [str(tmp_path / env) for env in policies]
    subprocess.run([sys.executable, "-c", EXPORTED, *folders], check=True, cwd=tmp_path)
    for env, policy in policies.items():
        observation = np.load(tmp_path / env / "observation.npy")
        got, sample = (np.load(tmp_path / env / f"{name}.npy") for name in ("serving_default", "sample"))
        expected = policy.act(observation)
        np.testing.assert_allclose(got, expected, atol=1e-5)
        for row in range(3):
            np.testing.assert_allclose(policy.act(observation[row]), expected[row], atol=1e-6)
        assert policy.action_space.contains(policy.act(observation[0]))
        if env == "CartPole-v1":
            np.testing.assert_array_equal(sample, expected)
            continue
        drawn = policy.act(observation, np.random.default_rng(1), deterministic=False)
        for noisy in (drawn, sample):
            assert 0 < np.abs(noisy - expected).max() < 0.6
            assert (np.abs(noisy) <= 1).all()


def test_cartpole_learns():
    returns = []
    learn(
        env="CartPole-v1",
        alg="wnes",
        total_timesteps=100_000,
        callback=lambda p, _: returns.append(p.policy_return),
        population=20,
        progress=False,
        lr="0.03",
        evaluation_episodes=3,
        horizon=200,
    )
    assert np.mean(returns[:2]) < 100
    assert np.mean(returns[-5:]) > 160


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alg": "ppo"}, "policy_gradient"),
        ({"alg": "wness"}, "Did you mean wnes"),
        ({"env": "Poinr"}, "Point"),
        ({"network": "cnn"}, "toeplitz, mlp"),
        ({"total_timesteps": 0}, "num_timesteps"),
        ({"seed": -1}, "seed"),
        ({"lr": "fast"}, "--lr"),
        ({"delta": 1.5}, "--delta"),
        ({"sigma": 0.0}, "--sigma"),
        ({"embedding": "actions"}, "choose one of"),
        ({"sigmoid": 1}, "Unknown setting"),
        ({"env": "toy_worlds:Endless-v0"}, "--horizon"),
    ],
)
def test_bad_input_is_one_sentence_and_touches_nothing(given, message, tmp_path):
    import toy_worlds  # noqa: F401

    horizon = {} if "Endless" in given.get("env", "") else {"horizon": 5}
    settings = {"env": "Point", "alg": "es", "total_timesteps": 100, "population": 2, **horizon, **given}
    with pytest.raises(UserError, match=message):
        learn(log_path=tmp_path / "run", progress=False, **settings)
    assert not (tmp_path / "run").exists()


def test_best_and_missing_checkpoints(tmp_path):
    learn(env="Point", alg="es", total_timesteps=2 * STEPS, log_path=tmp_path / "run", save_interval=1, **SMALL)
    assert isinstance(load_policy(tmp_path / "run", "best"), SavedPolicy)
    with pytest.raises(UserError, match="no checkpoint"):
        load_policy(tmp_path / "elsewhere")


def test_settings_come_from_task_then_user():
    from wng_tf.evolution.config import resolve

    point, hopper = (tasks.resolve(name) for name in ("Point", "Hopper-v5"))
    for row in EVOLUTION_STRATEGIES.values():
        assert resolve(row, point, {}).embedding == "final_state"
        assert resolve(row, tasks.resolve("Quadruped"), {}).embedding == "reward_to_go"
        assert resolve(row, hopper, {}).normalize_observations
        assert resolve(row, point, {"sigma": 0.7, "lr": None}).sigma == 0.7
        assert resolve(row, point, {}).repulsion == row.repulsion
    assert resolve(EVOLUTION_STRATEGIES["es"], point, {"repulsion": "novelty"}).repulsion == "novelty"


def test_what_workers_and_flags_import_has_no_tensorflow():
    modules = "wng_tf.evolution.config, wng_tf.evolution.frozen_vector_env, wng_tf.policies.saved"
    code = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_policy_of_an_older_version_is_refused(tmp_path):
    """It saw observations otherwise than it would now."""
    tree = saved.to_tree(learn(env="Point", alg="es", total_timesteps=STEPS, log_path=tmp_path / "run", **SMALL))
    saved.from_tree(tree)
    del tree["normaliser"]
    with pytest.raises(UserError, match="start it anew"):
        saved.from_tree(tree)
