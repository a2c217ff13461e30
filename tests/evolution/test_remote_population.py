"""A population in actors gives the numbers of one in this process, to the last bit, whatever is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError
from tests.cluster.fake_engine import FakeEngine, losing
from wng_tf import algorithms
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.evolution import learn as learning
from wng_tf.evolution import population
from wng_tf.evolution.config import resolve
from wng_tf.evolution.embeddings import PopulationEmbedding
from wng_tf.evolution.evaluation import Plan
from wng_tf.evolution.learn import learn
from wng_tf.policies import heads, networks
from wng_tf.policies.spec import PolicySpec

SMALL = {"population": 3, "num_hidden": 5, "horizon": 12, "progress": False, "log_interval": 1}


@pytest.fixture
def engines(monkeypatch):
    """Takes the place of Ray; the test sets what is lost, and finds the engines that were made."""
    made = []

    def make(address, actors):
        made.append(FakeEngine(make.loses, seed=len(made)))
        made[-1].about = address, actors
        return made[-1]

    make.loses, make.made = losing(), made
    monkeypatch.setattr(learning, "RayActors", make)
    return make


def train(folder=None, **settings):
    """θ, returns and diagnostics of every generation."""
    seen = []
    learn(
        callback=lambda progress, report: seen.append((progress.state, report)),
        log_path=folder,
        **{"total_timesteps": 120, "seed": 5, **SMALL, **settings},
    )
    return seen


def assert_same(one, other):
    assert len(one) == len(other) >= 2
    for (state, report), (its_state, its_report) in zip(one, other, strict=True):
        for name in ("theta", "past"):
            assert getattr(state, name).tobytes() == getattr(its_state, name).tobytes(), name
        assert state.moments.mean.tobytes() == its_state.moments.mean.tobytes()
        assert report.returns.tobytes() == its_report.returns.tobytes()
        assert report.lengths.tobytes() == its_report.lengths.tobytes()
        np.testing.assert_equal(report.diagnostics, its_report.diagnostics)


RUNS = [
    {"env": "Point", "alg": "bg_wnes", "action_noise": 0.1},
    {"env": "Point", "alg": "nsr_es", "perturbation": "unit", "evaluation_episodes": 2, "start_states": "none"},
    {"env": "Hopper-v5", "alg": "wnes", "action_noise": 0.05},
    {"env": "CartPole-v1", "alg": "es", "embedding": "toy_worlds:last_action", "start_states": "run"},
    {"env": "toy_worlds:Countdown-v0", "alg": "bges", "embedding": "mean_state"},
]


@pytest.mark.parametrize("settings", RUNS, ids=lambda settings: f"{settings['alg']} on {settings['env']}")
def test_the_numbers_are_those_of_the_local_run(settings, engines):
    local = train(**settings)
    engines.loses = losing(("evaluate", 1, "before"), ("evaluate", 4, "after"), ("ready", 2, "before"))
    for workers in (1, 3, 50):
        remote = train(**settings, engine="ray", num_workers=workers, ray_address="auto")
        assert_same(local, remote)
        assert engines.made[-1].about == ("auto", min(workers, len(local[0][1].returns)))
        assert len(engines.made[-1].started) > min(workers, 7)
        assert engines.made[-1].closed
        assert remote[0][1].rollouts is None


def test_a_run_goes_from_here_to_a_cluster_and_back(tmp_path, engines):
    settings = {"env": "Point", "alg": "wnes", "save_interval": 1}
    whole = train(tmp_path / "whole", **settings, total_timesteps=6 * 84)
    engines.loses = losing(("evaluate", 2, "after"))
    parts = train(tmp_path / "parts", **settings, total_timesteps=2 * 84)
    for updates, where in ((4, {"engine": "ray", "num_workers": 2}), (6, {"engine": "local"})):
        parts += train(tmp_path / "parts", **settings, **where, total_timesteps=updates * 84, resume=True)
    assert_same(whole, parts)
    assert "A Ray actor was lost (actor" in (tmp_path / "parts" / "log.txt").read_text()
    assert len(engines.made) == 1


def test_only_what_must_travels(engines, monkeypatch):
    sent = []
    call = FakeEngine.call

    def noting(self, actor, method, *args):
        sent.append((method, args))
        return call(self, actor, method, *args)

    monkeypatch.setattr(FakeEngine, "call", noting)
    (state, _), *_ = train(env="Point", alg="es", engine="ray", num_workers=2)
    number, (theta, normalizer), members = next(args for method, args in sent if method == "evaluate")
    assert number == 0 and normalizer is None
    assert theta.shape == state.theta.shape
    np.testing.assert_array_equal(members, [0, 2, 4, 6])


@pytest.mark.parametrize(
    ("env", "kind", "words"),
    [
        ("toy_worlds:BrokenReward-v0", NonFiniteError, "reward at step 3"),
        ("toy_worlds:Raising-v0", EnvironmentFailure, "the cable is out"),
    ],
)
def test_faults_of_environments_come_through(env, kind, words, engines):
    with pytest.raises(kind, match=words):
        train(env=env, alg="es", engine="ray", num_workers=2)
    assert engines.made[-1].closed


def test_faults_of_actors(engines):
    with pytest.raises(UserError, match="must give finite vectors of one length"):
        train(env="toy_worlds:Countdown-v0", alg="es", embedding="toy_worlds:ragged", engine="ray", num_workers=7)
    engines.loses = lambda actor, method, call: "before" if method == "evaluate" else None
    with pytest.raises(WorkerError, match="5 times in turn"):
        train(env="Point", alg="es", engine="ray", num_workers=2)
    with pytest.raises(UserError, match="no environment"):
        train(env="Nothing-v9", alg="es", engine="ray")
    assert all(engine.closed for engine in engines.made)


@pytest.mark.parametrize("unit_norm", [False, True])
def test_some_perturbations_are_those_of_all(unit_norm):
    whole = population.perturbations(3, 7, (9, 50), unit_norm=unit_norm)
    for rows in ([0], [8], [2, 3, 7], range(9), []):
        rows = np.array(rows, np.int64)
        some = population.perturbations(3, 7, (9, 50), unit_norm=unit_norm, rows=rows)
        assert some.tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("perturbation", ["gaussian", "unit"])
def test_some_members_are_those_of_all(perturbation):
    task = tasks.resolve("Point")
    config = resolve(algorithms.find("es"), task, {"population": 4, "evaluation_episodes": 2, "perturbation": perturbation})
    env = tasks.make("Point")
    head = heads.deterministic(env.action_space, 0.1)
    spec = PolicySpec(networks.mlp(6, (3,), head.num_outputs), head)
    plan = Plan(spec, PopulationEmbedding("final_state", 5), config, 5, seed=1)
    theta = np.random.default_rng(0).standard_normal(spec.num_parameters)
    sigma = 0.05 if perturbation == "gaussian" else 1 / np.sqrt(spec.num_parameters)
    whole = np.concatenate([population.mirrored(theta, plan.xi(2), sigma), [theta, theta]])
    for members in ([0], [4, 9], [3, 7], range(10)):
        members = np.array(members)
        assert plan.parameters(2, theta, members).tobytes() == whole[members].tobytes()
        assert plan.noise(2, members).tobytes() == plan.noise(2)[:, members].tobytes()
