"""The examples run, and learn."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from short_runs import uncompiled

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # so that what it defines has a name
    spec.loader.exec_module(module)
    return module


def test_sampler_learns_the_ring():
    assert load("sampler").train(natural=True) < 0.1  # an untrained generator: about 1.5


def test_policy_learns_from_the_state():
    assert load("policy").train() > -0.5  # a policy that ignores the state: -1 or less


def test_what_is_loaded_acts(tmp_path):
    example = load("load_and_act")
    with uncompiled():
        example.train(tmp_path / "policy.npz", 1024)
    assert all(5.0 < example.play(tmp_path / "policy.npz", seed) <= 500.0 for seed in range(3))


def test_a_run_goes_on_for_longer(tmp_path):
    example = load("resume_longer")
    with uncompiled():
        first, longer = example.train(tmp_path / "run", 512), example.train(tmp_path / "run", 1024, resume=True)
    assert (first["total_timesteps"], longer["total_timesteps"]) == (512, 1024)
    assert longer["episodes"] > first["episodes"]


def test_tuning_finds_flags_that_a_run_takes(tmp_path):
    pytest.importorskip("optuna")
    flags = load("tuning").main(tmp_path, trials=1, steps=512).splitlines()
    assert "--env=CartPole-v1" in flags and any(flag.startswith("--lr=") for flag in flags)
    assert (tmp_path / "again" / "summary.json").exists()


def test_own_network_trains(capsys):
    load("own_network").main()
    told = capsys.readouterr().out
    assert "acts through the compiled Keras model" in told and "2048 steps: mean return" in told
    assert len((EXAMPLES / "own_network.py").read_text().splitlines()) < 40


def test_an_own_environment_is_learnt(tmp_path):
    example = load("own_environment")
    from wng_tf import learn

    settings = {"alg": "ppo", "nsteps": 128, "nminibatches": 4, "lr": 1e-2, "num_hidden": 8, "total_timesteps": 2048}
    options = {"env_kwargs": {"length": 4}, "env_wrapper": example.Tenths}
    with uncompiled():
        learn(env=example.Corridor, log_path=tmp_path, progress=False, **options, **settings)
    assert json.loads((tmp_path / "summary.json").read_text())["eprewmean"] > -0.7  # the shortest way: -0.4
    assert "--env_wrapper=example_own_environment:Tenths" in (tmp_path / "flags.txt").read_text()


def test_a_callback_stops_early(tmp_path):
    with uncompiled():
        load("callback").train(tmp_path, steps=2048, patience=0)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["stopped_by"], summary["total_timesteps"]) == ("stopped", "callback", 512)
