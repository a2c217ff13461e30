"""Whole runs of policy gradients whose environments live in actors, some of which are lost."""

from __future__ import annotations

import pytest
from short_runs import train

from tests.cluster.fake_engine import FakeEngine, losing
from tests.training.test_resume import assert_same_run, kill_after
from wng_tf.policy_gradient import learn as learning
from wng_tf.training import checkpoint


@pytest.fixture
def engines(monkeypatch):
    """Takes the place of Ray, with losses; the engines that were made."""
    made = []

    def make(address, actors):
        made.append(FakeEngine(losing(("collect", 1, "after"), ("collect", 4, "before"), ("get_state", 2, "before"))))
        made[-1].about = address, actors
        return made[-1]

    monkeypatch.setattr(learning, "RayActors", make)
    return made


def test_a_run_on_actors_is_the_local_one(trained, engines, tmp_path):
    whole, folder = trained("ppo on Hopper"), tmp_path / "run"
    train("ppo on Hopper", folder, engine="ray", num_workers=2, ray_address="auto")
    assert_same_run(whole, folder)
    (engine,) = engines
    assert engine.about == ("auto", 2) and engine.closed and len(engine.started) == 5
    log = (folder / "log.txt").read_text()
    assert log.count("another has taken them over") == len(engine.started) - 2


@pytest.mark.parametrize("first", ["local", "ray"])
def test_a_run_goes_from_one_engine_to_the_other(first, trained, engines, tmp_path):
    whole, begun, folder = trained("ppo on Hopper"), tmp_path / "begun", tmp_path / "run"
    train("ppo on Hopper", begun, engine=first)
    kill_after(begun, checkpoint.steps(begun / "checkpoints")[2], folder)
    train("ppo on Hopper", folder, resume=True, engine="ray" if first == "local" else "local")
    assert_same_run(whole, folder)
    assert len(engines) == 1
