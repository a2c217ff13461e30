"""Environments in actors give the numbers of those in this process, to the last bit, whatever is lost on the way."""

from __future__ import annotations

import functools
import random

import gymnasium as gym
import numpy as np
import pytest
from toy_envs import Broken, Drifting

from baselines_compat.actor import ActorSpec
from baselines_compat.vec_env import DummyVecEnv, EnvironmentFailure, VecNormalize, WorkerError
from tests.cluster.fake_engine import FakeEngine, losing
from wng_tf.cluster.vec_env import ClusterVecEnv
from wng_tf.envs import tasks
from wng_tf.errors import UserError

PARTS = [functools.partial(tasks.make, "Hopper-v5")] * 3


def actor(seed=0) -> tuple[ActorSpec, np.ndarray]:
    spec = ActorSpec(((11, 4, "tanh"), (4, 3, "linear")), discrete=False)
    return spec, np.random.default_rng(seed).normal(scale=0.3, size=spec.size).astype(np.float32)


def remote(loses=None, workers=2, env_fns=PARTS, **settings):
    engine = FakeEngine(loses or losing())
    return engine, ClusterVecEnv(engine, env_fns, seed=2, num_workers=workers, **settings)


def life(venv):
    """Everything that a vector environment does, and all that comes of it."""
    seen = []
    with VecNormalize(venv, gamma=0.9) as normalized:
        for nsteps in (10, 25, 40):
            arrays, episodes = normalized.collect(*actor(nsteps), nsteps)
            seen += [np.array(value) for value in vars(arrays).values()]
            seen += [[(e.r, e.l) for e in one] for one in episodes]
            seen.append(normalized.get_state())
        actions = np.random.default_rng(0).normal(size=(30, 3, 3))
        seen.append(normalized.reset())
        for action in actions:
            seen.append(normalized.step(action))
        seen.append(normalized.get_state())
        seen.append(normalized.set_state(seen[-1]))
        seen += [np.array(value) for value in vars(normalized.collect(*actor(), 5)[0]).values()]
    return seen


@pytest.fixture(scope="module")
def at_home():
    return life(DummyVecEnv(PARTS, seed=2))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    "losses",
    [
        (),
        (("collect", 0, "before"), ("collect", 3, "after"), ("collect", 5, "before")),
        (("step", 0, "after"), ("step", 20, "before"), ("reset", 0, "after"), ("collect", 1, "after")),
        (("get_state", 1, "before"), ("set_state", 0, "after"), ("spaces", 0, "before"), ("set_state", 1, "before")),
    ],
)
def test_numbers_do_not_depend_on_actors_and_losses(workers, losses, at_home):
    engine, venv = remote(losing(*losses), workers)
    seen = life(venv)
    np.testing.assert_equal(seen, at_home)
    assert len(engine.started) == workers + sum((method, call) in made(engine) for method, call, _ in losses)
    assert engine.closed


def made(engine):
    """The calls that came to pass, by method and number."""
    counts = {method: sum(m == method for _, m in engine.called) for method in ("collect", "step", "reset", "get_state")}
    counts |= {method: sum(m == method for _, m in engine.called) for method in ("set_state", "spaces")}
    return {(method, i) for method, count in counts.items() for i in range(count)}


def test_a_loss_is_remarked_on():
    _, venv = remote(losing(("collect", 1, "after")))
    with VecNormalize(venv) as normalized:
        normalized.collect(*actor(), 5)
        (line,) = normalized.remarks()
        assert "was lost (actor" in line and "another has taken them over" in line
        assert normalized.remarks() == []


class Fickle(Drifting):
    """Is random by itself."""

    def step(self, action):
        self.state += random.SystemRandom().random()
        return super().step(action)


def test_what_cannot_be_repeated_is_remarked_on():
    _, venv = remote(losing(("collect", 1, "before")), 1, [Fickle] * 2)
    spec = ActorSpec(((3, 3, "linear"),), discrete=False)
    with VecNormalize(venv) as normalized:
        for _ in range(2):
            normalized.collect(spec, np.zeros(spec.size, np.float32), 3)
        lost, *lines = normalized.remarks()
    assert "another has taken them over" in lost
    assert len(lines) == 2 and all("did not repeat its open episode, of 3 steps" in line for line in lines)


def test_a_long_journal_is_cut_short(monkeypatch):
    monkeypatch.setattr("wng_tf.cluster.vec_env._LONGEST_JOURNAL", 7)
    engine, venv = remote(losing(("step", 50, "after")), 2)
    here = DummyVecEnv(PARTS, seed=2)
    with venv, here:
        np.testing.assert_array_equal(venv.reset(), here.reset())
        for action in np.random.default_rng(0).normal(size=(40, 3, 3)):
            np.testing.assert_equal(venv.step(action), here.step(action))
            assert len(venv._places[0].journal) < 7
    assert [method for _, method in engine.called].count("step") < 2 * 40 + 10


def test_without_a_free_processor_a_lost_actor_comes_back_beside_others(monkeypatch):
    monkeypatch.setattr("wng_tf.cluster.vec_env._SETTLE_SECONDS", 0.0)
    engine, venv = remote(losing(("collect", 0, "before"), ("collect", 3, "before")))
    with venv:
        normalized = VecNormalize(venv)
        engine.cpus = 0.0
        normalized.collect(*actor(), 5)
        engine.cpus = 1.0
        normalized.collect(*actor(), 5)
    assert engine.started == [1, 1, 0, 1]


def test_environments_that_end_every_actor_are_given_up():
    engine, venv = remote(lambda actor, method, call: "before" if method == "collect" else None)
    with VecNormalize(venv) as normalized:
        with pytest.raises(WorkerError, match=r"5 Ray actors in turn that had environments .* actor \d+ died; .*--resume"):
            normalized.collect(*actor(), 5)
        with pytest.raises(WorkerError, match="5 Ray actors in turn"):
            normalized.get_state()
    assert engine.closed


def test_actors_that_do_not_start():
    with pytest.raises(UserError, match="Ray actors do not start: 5 Ray actors in turn"):
        remote(lambda actor, method, call: "before")
    with pytest.raises(UserError, match="has not started within 0 s: the cluster has 1 CPUs.*--num_workers"):
        remote(lambda actor, method, call: "never", patience=0.0)


def test_an_actor_that_does_not_come_back():
    engine, venv = remote(lambda actor, method, call: "before" if method == "collect" else "never" if actor > 1 else None)
    venv._patience = 0.0
    with VecNormalize(venv) as normalized, pytest.raises(WorkerError, match="has not started within 0 s.*--resume"):
        normalized.collect(*actor(), 5)


class Stuck(Drifting):
    def close(self):
        raise OSError("stuck")


def refuse():
    raise ValueError("no such world")


def test_faults_of_environments_come_through():
    spec = ActorSpec(((1, 1, "linear"),), discrete=False)
    with (
        VecNormalize(remote(env_fns=[Broken])[1]) as venv,
        pytest.raises(EnvironmentFailure, match="Environment 0 .* in Ray actor 0 failed in step: .*a wheel fell off"),
    ):
        venv.collect(spec, np.zeros(spec.size, np.float32), 3)
    with pytest.raises(EnvironmentFailure, match="stuck"):
        remote(env_fns=[Stuck])[1].close()
    with pytest.raises(ValueError, match="no such world"):
        remote(env_fns=[refuse])
    with pytest.raises(EnvironmentFailure):
        remote(env_fns=[functools.partial(gym.make, "Nothing-v9")])
