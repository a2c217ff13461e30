"""Compiled programs on disk: where, when not, and that they are found and give the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wng_tf.runtime import compile_cache
from wng_tf.training import checkpoint, run_folder

DIRECTORY = "--tf_xla_persistent_cache_directory="


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for name in ("TF_XLA_FLAGS", "WNG_TF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        monkeypatch.delenv(name)


def test_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compile_cache.enable(1)
    assert folder.parent == tmp_path / "wng_tf" and folder.is_dir()
    assert os.environ["TF_XLA_FLAGS"] == f"{DIRECTORY}{folder}"


def test_a_chosen_folder_beside_other_flags(monkeypatch, tmp_path):
    monkeypatch.setenv("WNG_TF_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug=false")
    folder = compile_cache.enable(1)
    assert folder.parent == tmp_path / "mine"
    assert os.environ["TF_XLA_FLAGS"] == f"--tf_xla_clustering_debug=false {DIRECTORY}{folder}"


def test_programs_of_other_thread_counts_are_kept_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("WNG_TF_CACHE", str(tmp_path))
    folders = set()
    for threads in (1, 2):
        monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
        folders.add(compile_cache.enable(threads))
    assert len(folders) == 2


@pytest.mark.parametrize("chosen", ["off", "OFF", "/proc/nowhere", "with space"])
def test_off_or_not_possible(monkeypatch, tmp_path, chosen):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WNG_TF_CACHE", chosen)
    assert compile_cache.enable(1) is None
    assert "TF_XLA_FLAGS" not in os.environ


def test_off_says_nothing(monkeypatch, capsys):
    monkeypatch.setenv("WNG_TF_CACHE", "off")
    assert compile_cache.enable(1) is None
    assert capsys.readouterr() == ("", "")


def test_a_home_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WNG_TF_CACHE", "~/kept")
    assert compile_cache.enable(1).parent == tmp_path / "kept"


def foreign_file(cache):
    cache.write_text("something else")


def foreign_file_inside(cache):
    folder = compile_cache.enable(1)
    os.environ["TF_XLA_FLAGS"] = ""
    folder.rmdir()
    folder.write_text("something else")


def folder_named_as_a_program(cache):
    folder = compile_cache.enable(1)
    os.environ["TF_XLA_FLAGS"] = ""
    (folder / "program.pb").mkdir()


def loop_of_links(cache):
    cache.symlink_to(cache)


@pytest.mark.parametrize("spoil", [foreign_file, foreign_file_inside, folder_named_as_a_program, loop_of_links])
def test_what_cannot_be_a_cache_is_one_line(monkeypatch, tmp_path, capsys, spoil):
    cache = tmp_path / "cache"
    monkeypatch.setenv("WNG_TF_CACHE", str(cache))
    spoil(cache)
    assert compile_cache.enable(1) is None
    out = capsys.readouterr().out
    assert out.startswith(f"Compiled programs are not kept in '{cache}") and out.count("\n") == 1
    assert not os.environ.get("TF_XLA_FLAGS")


LIMITED = """
import resource, signal, sys
from wng_tf.runtime import compile_cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
print(compile_cache.enable(1))
"""


def test_without_room_for_a_program_none_is_kept(tmp_path):
    """A limit on the size of files stands for a full disk: both are met at the first byte too many."""
    environment = {**os.environ, "WNG_TF_CACHE": str(tmp_path)}
    outcome = subprocess.run([sys.executable, "-c", LIMITED], env=environment, check=True, capture_output=True, text=True)
    line, result = outcome.stdout.splitlines()
    assert line.startswith("Compiled programs are not kept in") and "too large" in line and result == "None"
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize("damage", [b"", b"half", b"\0" * 9, None])
def test_programs_that_are_not_what_was_kept_are_removed(monkeypatch, tmp_path, damage):
    monkeypatch.setenv("WNG_TF_CACHE", str(tmp_path))
    folder = compile_cache.enable(1)
    for name in ("good.pb", "bad.pb"):
        (folder / name).write_bytes(b"a program")
    compile_cache.seal(folder)
    if damage is None:
        (folder / "bad.pb.sha256").unlink()
    else:
        (folder / "bad.pb").write_bytes(damage)
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    assert compile_cache.enable(1) == folder
    assert sorted(file.name for file in folder.iterdir()) == ["good.pb", "good.pb.sha256"]


def test_the_users_own_flag_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("WNG_TF_CACHE", str(tmp_path))
    monkeypatch.setenv("TF_XLA_FLAGS", f"{DIRECTORY}/theirs")
    assert compile_cache.enable(1) is None
    assert os.environ["TF_XLA_FLAGS"] == f"{DIRECTORY}/theirs"
    assert not any(tmp_path.iterdir())


def test_a_program_from_disk_gives_the_same_numbers(tmp_path):
    def train(name: str, cache: str) -> dict[str, np.ndarray]:
        command = [sys.executable, "-m", "wng_tf.run", "--alg=bg_wnpg", "--env=InvertedDoublePendulum-v5", "--nsteps=64"]
        command += ["--num_timesteps=128", "--nminibatches=2", "--noptepochs=2", f"--log_path={tmp_path / name}"]
        environment = {**os.environ, "WNG_TF_CACHE": cache}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        return checkpoint.load(tmp_path / name / run_folder.CHECKPOINTS)[1]["learner"]["learner"]["theta"]

    cache = tmp_path / "cache"
    first = train("first", str(cache))
    kept = {file: file.stat().st_mtime_ns for file in cache.rglob("*.pb")}
    assert kept
    np.testing.assert_array_equal(train("again", str(cache)), first)
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.pb")} == kept
    np.testing.assert_array_equal(train("without", "off"), first)
    for file in kept:
        file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(train("damaged", str(cache)), first)
    assert all(file.stat().st_size > 100 for file in kept)


KILLED = """
import os
from wng_tf.runtime import compile_cache
folder = compile_cache.enable(1)
from wng_tf.policy_gradient.learn import learn
def stop(local):
    print(folder, flush=True)
    os._exit(0)  # as a run that is killed: nothing is done at its end
learn(env="CartPole-v1", alg="ppo", total_timesteps=64, nsteps=32, nminibatches=1, noptepochs=1, callback=stop)
"""


def test_programs_of_a_run_that_is_killed_are_kept(monkeypatch, tmp_path):
    environment = {**os.environ, "WNG_TF_CACHE": str(tmp_path)}
    outcome = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=True, capture_output=True, text=True)
    folder = Path(outcome.stdout.splitlines()[-1])
    programs = set(folder.glob("*.pb"))
    assert programs
    monkeypatch.setenv("WNG_TF_CACHE", str(tmp_path))
    assert compile_cache.enable(1) == folder  # another run starts
    assert set(folder.glob("*.pb")) == programs
