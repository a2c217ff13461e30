"""Paths as users write them: the same folder everywhere, or one sentence."""

from __future__ import annotations

import os

import gymnasium
import pytest

from baselines_compat import monitor, plot_util
from wng_tf import evaluate, saved_policy
from wng_tf.cli import flagfile
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as learn_evolution
from wng_tf.plots.runs import load_runs
from wng_tf.policy_gradient.learn import learn as learn_policy
from wng_tf.runtime import paths


@pytest.fixture
def home(monkeypatch, tmp_path):
    folder, work = tmp_path / "home", tmp_path / "work"
    folder.mkdir(), work.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(work)
    return folder


LEARN = {
    "policy gradients": lambda path: learn_policy(
        env="Pendulum-v1", alg="ppo", total_timesteps=64, nsteps=64, nminibatches=2, noptepochs=1, num_hidden=4, log_path=path
    ),
    "evolution strategies": lambda path: learn_evolution(
        env="Point", alg="es", total_timesteps=1, population=1, network="mlp", horizon=5, log_path=path
    ),
}


@pytest.mark.parametrize("family", LEARN)
def test_a_run_below_the_home_folder_is_one_folder(home, family):
    LEARN[family]("~/deep/run")
    written = set(os.listdir(home / "deep" / "run"))
    assert not os.listdir() and {"flags.txt", "progress.csv", "checkpoints", "summary.json"} <= written
    saved_policy.load("~/deep/run")
    assert [run.folder for run in load_runs(["~/deep"])[0]] == [home / "deep" / "run"]
    assert len(plot_util.load_results("~/deep")) == 1
    assert evaluate.evaluate_run("~/deep/run", episodes=1)["episodes"] == 1


def test_a_monitor_below_the_home_folder(home):
    env = monitor.Monitor(gymnasium.make("Pendulum-v1", max_episode_steps=2), "~/0", allow_early_resets=True)
    env.reset(seed=0)
    for _ in range(2):
        env.step(env.action_space.sample())
    env.close()
    assert os.listdir(home) == ["0.monitor.csv"] and len(monitor.load_results("~")) == 1


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("a\0b", "null byte"),
        ("a\nb", "end of a line"),
        ("a\udcffb", "not UTF-8"),
        (b"a\xffb", "not UTF-8"),
        ("~nobody-of-that-name/x", "home folder"),
        ("x" * 300, "too long"),
        ("/".join(["x" * 200] * 30), "too long"),
        ("loop/x", "links"),
    ],
)
@pytest.mark.parametrize("family", LEARN)
def test_a_path_that_cannot_be_is_one_sentence(home, path, sentence, family):
    os.symlink("loop", "loop")
    with pytest.raises(UserError, match=sentence) as error:
        LEARN[family](os.fsdecode(path))
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert os.listdir() == ["loop"] and not os.listdir(home)
    for read in (saved_policy.load, lambda bad: load_runs([bad])):
        with pytest.raises(UserError, match=sentence):
            read(path)


def test_ordinary_paths_stay_as_they_are(home):
    for path in ("a/b", "a/b/", "ünï cödé", "/tmp/x", "a~b"):
        assert str(paths.expanded(path)) == path.rstrip("/")


def test_flagfiles_name_each_other_from_where_they_are(home, tmp_path):
    inner = tmp_path / "some" / "inner"
    inner.parent.mkdir()
    inner.write_text("--a=beside\n")
    (inner.parent / "outer").write_text("--flagfile=inner\n")
    assert flagfile.expand([f"--flagfile={inner.parent}/outer"]) == ["--a=beside"]
    (inner.parent / "other").write_text("--flagfile=here\n")
    (home.parent / "work" / "here").write_text("--a=working folder\n")
    assert flagfile.expand([f"--flagfile={inner.parent}/other"]) == ["--a=working folder"]
    (home / "mine").write_text("--flagfile=~/theirs\n")
    (home / "theirs").write_text("--a=home\n")
    assert flagfile.expand(["--flagfile=~/mine"]) == ["--a=home"]


def test_the_flags_of_a_run_mean_its_own_folder_from_anywhere(home, monkeypatch):
    LEARN["policy gradients"]("out/run")
    flags = os.path.abspath("out/run/flags.txt")
    assert "--log_path=out/run" in flagfile.expand(["--flagfile=out/run/flags.txt"])
    monkeypatch.chdir(home)
    assert f"--log_path={os.path.dirname(flags)}" in flagfile.expand([f"--flagfile={flags}"])
    monkeypatch.chdir(os.path.dirname(flags))
    assert "--log_path=." in flagfile.expand(["--flagfile=flags.txt"])
