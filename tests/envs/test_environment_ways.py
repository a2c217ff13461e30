"""Whole runs in environments with ways of their own: generators, monitors, no time limit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from short_runs import episodes, train
from test_cli import assert_sentence
from unruly_envs import Walk

from baselines_compat.monitor import Monitor
from wng_tf import evaluate
from wng_tf.errors import UserError
from wng_tf.evaluate import evaluate_run
from wng_tf.policies import episodes as playing


class Old(Walk):
    """dm_control's way: a RandomState where Gymnasium has a Generator."""

    def reset(self, *, seed: int | None = None, options: Any = None):
        if seed is not None:
            self.np_random = np.random.RandomState(seed)
        self.t = 0
        return self.observe(), {}


class Own(Walk):
    """Draws from a generator of its own, also how long an episode lasts."""

    def observe(self) -> np.ndarray:
        return self.rng.normal(size=2).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.t, self.length = 0, int(self.rng.integers(3, 30))
        return self.observe(), {}


class Global(Walk):
    def observe(self) -> np.ndarray:
        return np.random.normal(size=2).astype(np.float32)


class Endless(Walk):
    def step(self, action: np.ndarray):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info


def registered(**kinds: Any) -> None:
    for name, entry_point in kinds.items():
        gym.register(f"ways/{name}-v0", entry_point=entry_point)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    before = dict(gym.registry)
    registered(
        Old=Old,
        Own=Own,
        Global=Global,
        Endless=Endless,
        Moving=Moving,
        Watched=lambda **k: Monitor(Walk(), None),
        WatchedEndless=lambda **k: Monitor(Endless(), None),
    )
    gym.register("ways/Cut-v0", entry_point=lambda **k: Monitor(Walk(), None), max_episode_steps=5)
    yield
    for name in set(gym.registry) - set(before):
        del gym.registry[name]


@pytest.mark.parametrize("env", ["Old", "Own", "Watched", "Cut"])
def test_an_interruption_changes_nothing(env, tmp_path):
    settings = {"env": f"ways/{env}-v0", "total_timesteps": 192}
    train("ppo on CartPole", tmp_path / "whole", **settings)
    train("ppo on CartPole", tmp_path / "run", **{**settings, "total_timesteps": 128})
    train("ppo on CartPole", tmp_path / "run", **settings, resume=True)
    assert episodes(tmp_path / "run") == episodes(tmp_path / "whole")
    assert "did not repeat" not in (tmp_path / "run" / "log.txt").read_text()


def test_what_cannot_be_repeated_is_told_once_and_on_resumption(tmp_path, capfd):
    settings = {"env": "ways/Global-v0", "total_timesteps": 256}
    train("ppo on CartPole", tmp_path / "run", **{**settings, "total_timesteps": 192})
    assert capfd.readouterr().out.count("draws from the generators that all modules share") == 1
    train("ppo on CartPole", tmp_path / "run", **settings, resume=True)
    assert "draws from the generators that all modules share" in capfd.readouterr().out


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("endless") / "run"
    train("ppo on CartPole", folder, env="ways/Endless-v0", total_timesteps=64)
    return folder


def test_an_evaluation_without_an_end_is_refused(endless, monkeypatch, call):
    monkeypatch.setattr(playing, "ENDLESS", 300)
    with pytest.raises(UserError, match="no time limit, and an episode did not end within 300 steps: say with --max_"):
        evaluate_run(endless, episodes=1)
    outcome = call(evaluate.app, f"--run={endless}", "--episodes=1")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "--max_episode_steps")


@pytest.mark.parametrize("env", ["Endless", "WatchedEndless"])
def test_an_evaluation_is_cut_and_says_so(env, endless, call):
    text = (endless / "flags.txt").read_text()
    (endless / "flags.txt").write_text(text.replace("ways/Endless-v0", f"ways/{env}-v0"))
    try:
        outcome = call(evaluate.app, f"--run={endless}", "--episodes=3", "--max_episode_steps=20")
    finally:
        (endless / "flags.txt").write_text(text)
    assert outcome.code == 0, outcome.stderr
    assert "cut after 20 steps" in outcome.stdout
    result = json.loads((endless / "evaluation.json").read_text())
    assert result["max_episode_steps"] == 20
    assert result["deterministic"]["lengths"] == [20] * 3


@pytest.mark.parametrize("env", ["WatchedEndless", "Cut"])
def test_evolution_strategies_reset_in_mid_episode(env, tmp_path):
    train("wnes on Point", tmp_path / "run", env=f"ways/{env}-v0", horizon=4, total_timesteps=80, network="mlp")
    assert {length for _, length in episodes(tmp_path / "run")["0.monitor.csv"]} == {"4"}


class Moving(Walk):
    """Changes the working folder of its process, as simulators that look for their files do."""

    def __init__(self) -> None:
        super().__init__()
        os.chdir(os.environ["ELSEWHERE"])


@pytest.mark.parametrize("name", ["ppo on CartPole", "wnes on Point"])
def test_a_run_in_a_relative_folder_stays_there_when_the_environment_changes_the_working_folder(name, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    more = {"network": "mlp", "horizon": 4} if name == "wnes on Point" else {}
    for resume in (False, True):
        os.chdir(tmp_path)
        steps = 256 if resume else 128
        train(name, "run", env="ways/Moving-v0", total_timesteps=steps, save_interval=1, resume=resume, **more)
    os.chdir(tmp_path)
    assert evaluate_run("run", episodes=1, max_episode_steps=5)["deterministic"]["lengths"] == [5]
    assert os.listdir(tmp_path / "elsewhere") == []
    assert (tmp_path / "run" / "summary.json").exists()
