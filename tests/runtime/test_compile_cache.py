"""Compiled programs on disk: where, when not, and that they are found and give the same numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wng_tf.errors import UserError
from wng_tf.runtime import compile_cache
from wng_tf.training import checkpoint, run_folder

DIRECTORY = "--tf_xla_persistent_cache_directory="


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for name in ("TF_XLA_FLAGS", "WNG_TF_CACHE", "WNG_TF_CACHE_MB", "XDG_CACHE_HOME"):
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


def program(root: Path, name: str, *, used: float, read: float | None = None, megabytes: float = 1.0) -> Path:
    """A program with its checksum, of `name` as folder/file, written `used` days ago and last read `read` days ago."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(int(megabytes * 1e6)))
    compile_cache.seal(file.parent)
    now = time.time()
    os.utime(file, (now - 86400 * (used if read is None else read), now - 86400 * used))
    return file


def left(root: Path) -> set[str]:
    return {file.name.removesuffix(".pb") for file in root.rglob("*.pb")}


OLD, OTHER = "xla-0123456789abcdef", "xla-fedcba9876543210"


def start(root: Path) -> Path:
    """What a run does first."""
    os.environ["TF_XLA_FLAGS"] = ""
    folder = compile_cache.enable(1)
    assert folder is not None and folder.parent == root
    return folder


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A cache that may have three megabytes, and none of whose runs is starting."""
    monkeypatch.setenv("WNG_TF_CACHE", str(tmp_path))
    monkeypatch.setenv("WNG_TF_CACHE_MB", "3")
    monkeypatch.setattr(compile_cache, "_lock", None)
    yield tmp_path
    compile_cache._leave()


def test_the_least_recently_used_programs_go_first_whoever_they_are_of(root):
    own = start(root)
    compile_cache.keep()
    program(root, f"{OLD}/a.pb", used=9)
    program(root, f"{OTHER}/b.pb", used=8, read=1)
    program(root, f"{own.name}/c.pb", used=7)
    program(root, f"{own.name}/d.pb", used=3)
    program(root, f"{OLD}/e.pb", used=2)
    start(root)
    assert left(root) == {"b", "d", "e"}
    assert {file.name for file in root.rglob("*.sha256")} == {"b.pb.sha256", "d.pb.sha256", "e.pb.sha256"}


@pytest.mark.parametrize(("megabytes", "kept"), [("4", "abcd"), ("3.9", "bcd"), ("1e0", "d"), ("0", ""), (" ", "abcd")])
def test_the_bound_is_in_megabytes(root, monkeypatch, megabytes, kept):
    monkeypatch.setenv("WNG_TF_CACHE_MB", megabytes)
    for age, name in zip((4, 3, 2, 1), "abcd", strict=True):
        program(root, f"{OLD}/{name}.pb", used=age)
    start(root)
    assert left(root) == set(kept)


def test_looking_at_programs_is_no_use_of_them(root):
    own = start(root)
    file = program(root, f"{own.name}/a.pb", used=2, read=1)
    before = file.stat()
    start(root)
    compile_cache.keep()
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)


def test_what_others_keep_beside_is_left_alone(root):
    os.environ["WNG_TF_CACHE_MB"] = "0"
    theirs = [root / "xla-dumps" / "a.pb", root / "a.pb", root / OLD / "folder.pb" / "a.txt", root / "mine" / "b.tmp"]
    for file in theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        os.utime(file, (0, 0))
    start(root)
    assert all(file.exists() for file in theirs)


def test_what_killed_processes_left_half_written_goes_and_what_is_being_written_stays(root):
    names = ("a.pb.tmp", ".room-1", ".b.pb.sha256.tmp", "gone.pb.sha256")
    program(root, f"{OLD}/c.pb", used=2)
    os.utime(root / OLD / "c.pb.sha256", (0, 0))
    for name in names:
        (root / OLD / name).write_bytes(b"")
        (root / OTHER).mkdir(exist_ok=True)
        (root / OTHER / name).write_bytes(b"")
        os.utime(root / OLD / name, (0, 0))
    start(root)
    assert {file.name for file in (root / OLD).iterdir()} == {"c.pb", "c.pb.sha256"}
    assert {file.name for file in (root / OTHER).iterdir()} == set(names)


STARTING = """
import sys
from wng_tf.runtime import compile_cache
print(compile_cache.enable(1), flush=True)
sys.stdin.readline()
compile_cache.keep()
print("kept", flush=True)
sys.stdin.readline()
"""


def test_nothing_is_removed_between_the_start_and_the_first_update_of_another_run(root):
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", STARTING], **pipe) as other:
        own = Path(other.stdout.readline().strip())
        for name in "abcd":
            program(root, f"{own.name}/{name}.pb", used=1)
        start(root)
        compile_cache.keep()
        assert left(root) == set("abcd")
        print(file=other.stdin, flush=True)
        assert other.stdout.readline() == "kept\n"
        start(root)
        assert len(left(root)) == 3
        print(file=other.stdin, flush=True)


def test_a_run_that_was_killed_while_it_started_stands_in_nobodys_way(root):
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", STARTING], **pipe) as other:
        assert other.stdout.readline()
        other.kill()
    for name in "abcd":
        program(root, f"{OLD}/{name}.pb", used=1)
    start(root)
    assert len(left(root)) == 3


def test_runs_start_side_by_side(root):
    """A run that is starting, and has seen to what is kept, keeps no other one waiting."""
    start(root)
    outcome = subprocess.run([sys.executable, "-c", STARTING], input="\n\n", capture_output=True, text=True, timeout=60)
    assert outcome.stdout.splitlines()[1:] == ["kept"]


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf", "10 MB"])
def test_a_bound_that_is_none_is_refused(root, monkeypatch, text):
    monkeypatch.setenv("WNG_TF_CACHE_MB", text)
    with pytest.raises(UserError, match=f"WNG_TF_CACHE_MB must be a number of megabytes, not '{re.escape(text)}'"):
        compile_cache.enable(1)


def test_somebody_elses_lock_in_a_folder_of_several_people_is_taken(root, monkeypatch):
    """One that may be read and not written: open() refuses as the system does, whoever runs the tests."""
    start(root)
    compile_cache.keep()
    opened = os.open

    def refusing(path, flags, *mode):
        if Path(path).name == ".starting" and flags & (os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refusing)
    for name in "abcd":
        program(root, f"{OLD}/{name}.pb", used=1)
    start(root)
    assert len(left(root)) == 3


def test_a_file_system_without_locks_is_one_line(root, monkeypatch, capsys):
    def refusing(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(compile_cache.fcntl, "flock", refusing)
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    before = len(os.listdir("/proc/self/fd"))
    assert compile_cache.enable(1) is None
    out = capsys.readouterr().out
    assert "Compiled programs are not kept in" in out and "(No locks available)" in out and out.count("\n") == 1
    assert len(os.listdir("/proc/self/fd")) == before
