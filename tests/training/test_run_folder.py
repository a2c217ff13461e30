from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from wng_tf.errors import UserError
from wng_tf.training import run_folder

FLAGS = "--alg=ppo\n--env=Hopper-v5\n--lr=3e-4\n--num_timesteps=1000\n"


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# create.


def test_a_new_run_has_its_flags(tmp_path):
    folder = run_folder.create(tmp_path / "runs" / "ppo", FLAGS, resume=False)
    assert folder == tmp_path / "runs" / "ppo"
    assert (folder / "flags.txt").read_text() == FLAGS
    assert run_folder.read_flags(folder) == FLAGS.split()


def test_an_empty_folder_is_taken(tmp_path):
    run_folder.create(tmp_path, "--alg=ppo", resume=False)
    assert (tmp_path / "flags.txt").read_text() == "--alg=ppo\n"


def test_the_flags_file_is_an_absl_flagfile(tmp_path):
    from absl import flags

    run_folder.create(tmp_path, FLAGS, resume=False)
    values = flags.FlagValues()
    flags.DEFINE_string("alg", None, "", flag_values=values)
    flags.DEFINE_string("env", None, "", flag_values=values)
    flags.DEFINE_float("lr", None, "", flag_values=values)
    flags.DEFINE_integer("num_timesteps", None, "", flag_values=values)
    values(["program", f"--flagfile={tmp_path / 'flags.txt'}"])
    assert (values.alg, values.env, values.lr, values.num_timesteps) == ("ppo", "Hopper-v5", 3e-4, 1000)


@pytest.mark.parametrize("name", ["flags.txt", "notes.md"])
def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="is not empty: continue its run with --resume, or give another --log_path"):
        run_folder.create(tmp_path, FLAGS, resume=False)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="Cannot write to .*file.* give another --log_path"):
        run_folder.create(tmp_path / "file", FLAGS, resume=False)
    assert (tmp_path / "file").read_text() == "mine"


# Resuming.


def test_resuming_keeps_everything_but_the_summary(tmp_path):
    run_folder.create(tmp_path, FLAGS, resume=False)
    (tmp_path / "progress.csv").write_text("a\n1\n")
    run_folder.write_summary(tmp_path, {"status": "finished"})
    run_folder.create(tmp_path, FLAGS, resume=True)
    assert contents(tmp_path) == {"flags.txt": FLAGS.encode(), "progress.csv": b"a\n1\n"}


def test_resuming_may_train_for_longer(tmp_path):
    run_folder.create(tmp_path, FLAGS, resume=False)
    longer = FLAGS.replace("1000", "2000")
    run_folder.create(tmp_path, longer, resume=True)
    assert (tmp_path / "flags.txt").read_text() == longer


@pytest.mark.parametrize(
    "flags, complaint",
    [
        (FLAGS.replace("3e-4", "1e-3"), "has --lr=3e-4, not --lr=1e-3"),
        (FLAGS + "--gamma=0.9\n", "has no --gamma, not --gamma=0.9"),
        (FLAGS.replace("--lr=3e-4\n", ""), "has --lr=3e-4, not no --lr"),
        (FLAGS.replace("--env=Hopper-v5\n", "--noenv\n"), "has --env=Hopper-v5, not --env=False"),
    ],
)
def test_resuming_with_other_flags_is_refused_and_changes_nothing(tmp_path, flags, complaint):
    run_folder.create(tmp_path, FLAGS, resume=False)
    run_folder.write_summary(tmp_path, {"status": "finished"})
    before = contents(tmp_path)
    with pytest.raises(UserError, match=complaint):
        run_folder.create(tmp_path, flags, resume=True)
    assert contents(tmp_path) == before


def test_which_flags_may_change_can_be_said(tmp_path):
    run_folder.create(tmp_path, "--a=1\n--b\n", resume=False)
    run_folder.create(tmp_path, "--a=2\n--b=True\n", resume=True, may_change={"a"})
    assert run_folder.read_flags(tmp_path) == ["--a=2", "--b=True"]


def test_a_run_of_an_older_version_has_the_defaults_of_newer_flags(tmp_path):
    run_folder.create(tmp_path, FLAGS, resume=False)
    defaults = {"lr": "1e-3", "lam": "0.95"}
    with pytest.raises(UserError, match="has no --lam, not --lam=0.9"):
        run_folder.create(tmp_path, FLAGS + "--lam=0.9\n", resume=True, defaults=defaults)
    run_folder.create(tmp_path, FLAGS + "--lam=0.95\n", resume=True, defaults=defaults)
    assert run_folder.read_flags(tmp_path)[-1] == "--lam=0.95"


def test_there_is_nothing_to_resume(tmp_path):
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "saved_model.pb").touch()
    (tmp_path / "policy.npz").touch()
    for name, what in (("exported", "an exported model"), ("policy.npz", "a file")):
        with pytest.raises(UserError, match=f"'.*{name}' is {what} and not the folder of a run.* by --load_path"):
            run_folder.read_flags(tmp_path / name)
    with pytest.raises(UserError, match="There is no run in '.*absent': it has no flags.txt"):
        run_folder.create(tmp_path / "absent", FLAGS, resume=True)
    assert not (tmp_path / "absent").exists()


def test_comments_and_blank_lines_in_flags(tmp_path):
    (tmp_path / "flags.txt").write_text("# a comment\n\n  --alg=ppo  \n// another\n--lr=1\n")
    assert run_folder.read_flags(tmp_path) == ["--alg=ppo", "--lr=1"]


# Summary.


def test_the_summary_marks_a_finished_run(tmp_path):
    assert run_folder.read_summary(tmp_path) is None
    run_folder.write_summary(tmp_path, {"status": "finished", "eprewmean": np.float32(1.5), "episodes": np.int64(3)})
    assert run_folder.read_summary(tmp_path) == {"status": "finished", "eprewmean": 1.5, "episodes": 3}


def test_the_summary_is_strict_json(tmp_path):
    run_folder.write_summary(tmp_path, {"eprewmean": math.nan, "best": np.float64(-math.inf)})
    assert json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail) == {
        "eprewmean": None,
        "best": None,
    }


def test_a_summary_that_cannot_be_written_marks_nothing(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run_folder.write_summary(tmp_path, {"status": "finished"})
    assert run_folder.read_summary(tmp_path) is None


def test_a_damaged_summary(tmp_path):
    (tmp_path / "summary.json").write_text('{"status": "fin')
    with pytest.raises(UserError, match="summary.json' is damaged .*: delete it, and continue with --resume"):
        run_folder.read_summary(tmp_path)


# Versions.


def test_versions_of_everything_that_computes(tmp_path):
    run_folder.write_versions(tmp_path)
    record = json.loads((tmp_path / "versions.json").read_text())
    assert record["python"] == platform.python_version()
    assert record["numpy"] == np.__version__
    assert record["tensorflow"] == importlib.metadata.version("tensorflow")
    assert record["tfp"] == importlib.metadata.version("tensorflow-probability")
    packages = {"tensorflow", "keras", "tfp", "gymnasium", "mujoco", "pybullet", "numpy", "wng_tf"}
    assert set(record) == {"time", "command", "git_commit", "python", "platform"} | packages


def test_a_package_that_is_not_installed(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert run_folder.versions()["mujoco"] is None


def test_a_resumed_run_keeps_the_versions_it_started_with(tmp_path):
    for command in (["python", "first"], ["python", "second"], ["python", "third"]):
        run_folder.write_versions(tmp_path, command)
    record = json.loads((tmp_path / "versions.json").read_text())
    assert record["command"] == "python first"
    assert [resumed["command"] for resumed in record["resumed"]] == ["python second", "python third"]


@pytest.mark.parametrize(
    "argv, command",
    [
        (["/home/me/venv/bin/python", "-m", "wng_tf.run", "--alg=ppo"], "python -m wng_tf.run --alg=ppo"),
        ([".venv/bin/python", "-m", "wng_tf.run", "--alg=ppo"], "python -m wng_tf.run --alg=ppo"),
        (["../my envs/bin/python3.11", "-m", "wng_tf.run"], "python3.11 -m wng_tf.run"),
        (["{cwd}/.venv/bin/wng-run", "--alg=ppo"], "wng-run --alg=ppo"),
        ([], ""),
        (["python", "--log_path=/data/me/runs/ppo/", "--env=Hopper"], "python --log_path=ppo --env=Hopper"),
        (["python", "--log_path", "{cwd}/runs/ppo"], "python --log_path runs/ppo"),
        (["python", "--run={cwd}/a,/data/me/b"], "python --run=a,b"),
        (["python", "--embedding=/data/me/mine.py:phi", "--env=wng_tf/Point-v0"],
         "python --embedding=mine.py:phi --env=wng_tf/Point-v0"),
        (["python", "--note=two words"], "python '--note=two words'"),
    ],
)  # fmt: skip
def test_the_command_tells_no_path_of_the_machine(argv, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_folder.versions([part.format(cwd=tmp_path) for part in argv])["command"] == command


def test_the_command_is_that_of_this_process():
    assert run_folder.versions()["command"].split()[0] == os.path.basename(sys.orig_argv[0])


def test_the_command_is_the_same_however_python_is_started(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    code = "from wng_tf.training import run_folder; print(run_folder.versions()['command'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    below = tmp_path / "bin"
    for started, folder in (("bin/python", tmp_path), ("../bin/python", below), (below / "python", tmp_path)):
        command = [started, "-c", code]
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
        assert said.startswith("python -c "), said


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_of_the_checkout(tmp_path, monkeypatch):
    module = tmp_path / "wng_tf" / "training" / "run_folder.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(run_folder, "__file__", str(module))
    assert run_folder.versions()["git_commit"] is None
    git(tmp_path, "init")
    assert run_folder.versions()["git_commit"] is None  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = run_folder.versions()["git_commit"]
    assert len(commit) == 40
    module.write_text("changed")
    assert run_folder.versions()["git_commit"] == f"{commit}+changes"


def test_no_tensorflow_is_imported(tmp_path):
    code = f"""
import sys
from wng_tf.training import checkpoint, run_folder
run_folder.write_versions(run_folder.create({str(tmp_path / "run")!r}, "--alg=ppo", resume=False))
checkpoint.save({str(tmp_path)!r}, 1, None)
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
