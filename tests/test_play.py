"""Policies on a screen, and one sentence where there is none."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from short_runs import TINY, as_flags, uncompiled

import wng_tf
from wng_tf import playing, run
from wng_tf.envs import screen
from wng_tf.envs.goal_behind_wall import GoalEnv
from wng_tf.errors import UserError
from wng_tf.policy_gradient.learn import learn

SHOWN = []
"""What windows showed: an observation for each reset and step."""


class Window(gymnasium.Env):
    """An environment whose window needs no screen."""

    metadata = {"render_modes": ["human"], "render_fps": 30}

    def __init__(self, render_mode=None):
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode

    def _seen(self):
        observation = self.np_random.uniform(-1.0, 1.0, 2)
        if self.render_mode == "human":
            SHOWN.append(observation)
        return observation

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action):
        return self._seen(), float(action), False, False, {}

    def render(self):
        SHOWN.append("drawn")


class Broken(Window):
    def reset(self, *, seed=None, options=None):
        if self.render_mode == "human":
            raise RuntimeError("cannot open the window")
        return super().reset(seed=seed)


class Blind(Window):
    metadata = {"render_modes": []}


for made in (Window, Broken, Blind):
    gymnasium.register(f"play/{made.__name__}-v0", entry_point=made, max_episode_steps=5)

TRAIN = {"alg": "ppo", **TINY}


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    SHOWN.clear()
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("played") / "run"
    with uncompiled():
        learn(env="play/Window-v0", total_timesteps=64, log_path=path, progress=False, **TRAIN)
    return path


def test_a_policy_is_played_without_training(folder, call, tmp_path, monkeypatch):
    """As Baselines does: the environment is the one it was trained in."""
    kept = wng_tf.load(folder).save(tmp_path / "policy")
    monkeypatch.chdir(tmp_path)
    for source in (folder, kept):
        SHOWN.clear()
        outcome = call(run.app, "--play", f"--load_path={source}", "--num_timesteps=0", "--play_episodes=2", "--seed=3")
        assert outcome.code == 0 and outcome.stderr == ""
        assert [line.split(":")[0] for line in outcome.stdout.splitlines()] == ["Episode 1", "Episode 2"]
        assert "length 5" in outcome.stdout and len(SHOWN) == 2 * 6
    assert not (tmp_path / "runs").exists()


def test_a_policy_is_played_after_training(call, tmp_path):
    flags = as_flags(**TRAIN, env="play/Window-v0", num_timesteps=64)
    with uncompiled():
        outcome = call(run.app, *flags, f"--log_path={tmp_path / 'run'}", "--play", "--play_episodes=1")
    assert outcome.code == 0 and outcome.stdout.splitlines()[-1].startswith("Episode 1: return")
    assert len(SHOWN) == 6 and "--play" not in (tmp_path / "run" / "flags.txt").read_text()


def test_it_plays_until_ctrl_c(folder, capsys, monkeypatch):
    policy = wng_tf.load(folder)
    played = []

    def play(policy, world, episodes, seed, *, deterministic):
        played.append(seed)
        if len(played) == 3:
            raise KeyboardInterrupt
        return play_one(policy, world, episodes, seed, deterministic=deterministic)

    play_one = playing.play
    monkeypatch.setattr(playing, "play", play)
    playing.show(policy, "play/Window-v0", seed=7)
    assert played == [7, 8, 9] and capsys.readouterr().out.count("Episode") == 2


@pytest.mark.parametrize("env", ["Hopper-v5", "Hopper", "CartPole-v1"])
def test_without_a_display_it_is_one_sentence_before_training(env, call, tmp_path):
    outcome = call(run.app, "--alg=ppo", f"--env={env}", f"--log_path={tmp_path / 'run'}", "--play")
    assert outcome.code == 2 and "there is no display" in outcome.stderr and "evaluate" in outcome.stderr
    assert "Loading TensorFlow" not in outcome.stdout and not (tmp_path / "run").exists()


def test_where_there_is_a_display(monkeypatch):
    for name, env in (("DISPLAY", "Hopper-v5"), ("WAYLAND_DISPLAY", "Hopper"), ("SDL_VIDEODRIVER", "CartPole-v1")):
        with pytest.raises(UserError, match="no display"):
            screen.check(env)
        monkeypatch.setenv(name, ":0")
        screen.check(env)
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.platform", "darwin")
    screen.check("Hopper-v5")


def test_windows_that_do_not_draw_by_themselves(folder, monkeypatch):
    """PyBullet's; whatever its kind, an environment is drawn as often."""
    monkeypatch.setattr(screen, "_DRAWN_BY_HAND", {"other"})
    playing.show(wng_tf.load(folder), "play/Window-v0", episodes=2)
    assert [isinstance(shown, str) for shown in SHOWN] == [False, True] * (2 * 6)


@pytest.mark.parametrize("name", ["Point", "Quadruped"])
def test_our_own_worlds_have_windows(name, monkeypatch):
    frames = []

    class Renderer:
        viewer = None

        def render(self, mode):
            frames.append(mode)

        def close(self):
            frames.append("closed")

    monkeypatch.setattr(GoalEnv, "_make_renderer", lambda self: Renderer())
    monkeypatch.setenv("DISPLAY", ":0")
    with screen.showing(name) as world:
        world.reset(seed=0)
        for _ in range(3):
            world.step(world.action_space.sample())
    assert frames == ["human"] * 4 + ["closed"]


def test_windows_that_cannot_be(folder, call):
    policy = wng_tf.load(folder)
    with pytest.raises(UserError, match="no render mode 'human'"):
        playing.show(policy, "play/Blind-v0", episodes=1)
    flags = ("--play", f"--load_path={folder}", "--num_timesteps=0", "--play_episodes=1")
    outcome = call(run.app, "--env=play/Broken-v0", *flags)
    assert outcome.code == 1 and "cannot open the window" in outcome.stderr
    assert call(run.app, "--play", "--num_timesteps=0", "--env=play/Window-v0").code == 2
    assert call(run.app, *flags[:-1], "--play_episodes=-1").code == 2
    assert call(run.app, f"--load_path={folder}", "--num_timesteps=0").code == 2  # nothing to train, nothing to show
