"""Flagfiles: what they say, and what is refused because it is none."""

from __future__ import annotations

import os

import pytest
from test_cli import assert_sentence

from wng_tf import plot, run
from wng_tf.cli import flagfile
from wng_tf.errors import UserError


def test_lines_take_the_place_of_the_flag_comments_and_empty_lines_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").write_text("--b=2\n")
    (tmp_path / "outer").write_text("\ufeff# a\n// b\n\n  --a=1  \n--flagfile=inner\n--c=Zürich\r\n", encoding="utf-8")
    arguments = ["x", "--flagfile=outer", "--d", "-flagfile", "inner", "--", "--flagfile=outer"]
    assert flagfile.expand(arguments) == [*["x", "--a=1", "--b=2", "--c=Zürich", "--d", "--b=2", "--", "--flagfile=outer"]]


def test_the_same_file_twice_is_no_circle(tmp_path):
    (tmp_path / "inner").write_text("--b=2\n")
    (tmp_path / "outer").write_text(f"--flagfile={tmp_path}/inner\n" * 2)
    assert flagfile.expand([f"--flagfile={tmp_path}/outer"]) == ["--b=2", "--b=2"]


def _pipe(path):
    os.mkfifo(path)
    return path


def _written(path, data):
    path.write_bytes(data)
    return path


BAD = {
    "binary": lambda p: _written(p, os.urandom(64).replace(b"\xff", b"") + b"\xff\xfe\x00"),
    "null bytes": lambda p: _written(p, b"--alg=ppo\n\0\0\0\n"),
    "another encoding": lambda p: _written(p, "--log_path=Zürich\n".encode("latin-1")),
    "too long": lambda p: _written(p, b"# comment\n" * 200_000),
    "includes itself": lambda p: _written(p, f"--alg=ppo\n--flagfile={p}\n".encode()),
    "includes itself by another name": lambda p: _written(p, f"--flagfile={p.parent}/./{p.name}\n".encode()),
    "a folder": lambda p: p.parent,
    "a device": lambda p: "/dev/zero",
    "a missing file": lambda p: p,
    "a file as a folder": lambda p: _written(p, b"") / "below",
    "an empty include of a pipe": lambda p: _written(p, f"--flagfile={_pipe(p.parent / 'pipe')}\n--alg=zzz".encode()),
    "a null byte in the name": lambda p: f"{p}\0",
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("app", [run.app, plot.app])
def test_what_is_no_flagfile(kind, app, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = BAD[kind](tmp_path / "flags")
    before = sorted(tmp_path.iterdir())
    outcome = call(app, f"--flagfile={path}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr.replace("\0", ""))
    assert sorted(tmp_path.iterdir()) == before


def test_a_flagfile_without_a_name():
    with pytest.raises(UserError, match="without a file"):
        flagfile.expand(["--flagfile"])


def test_a_pipe_that_is_written_to_is_read():
    reader, writer = os.pipe()
    os.write(writer, b"--alg=ppo\n")
    os.close(writer)
    assert flagfile.expand([f"--flagfile=/dev/fd/{reader}"]) == ["--alg=ppo"]
    os.close(reader)


@pytest.mark.parametrize("name", ["table1.flags", "runs/table1.flags"])
def test_those_of_the_package_are_found_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = flagfile.expand([f"--flagfile={name}"])
    assert any(line.startswith("--algs=") for line in found)
    (tmp_path / "own").write_text(f"--flagfile={name}\n--seeds=7\n")
    assert flagfile.expand(["--flagfile=own"]) == [*found, "--seeds=7"]


def test_a_file_of_ones_own_comes_before_those_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table1.flags").write_text("--seeds=7\n")
    assert flagfile.expand(["--flagfile=table1.flags"]) == ["--seeds=7"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "table1.flags").write_text("--flagfile=appendix_d1.flags\n")
    assert len(flagfile.expand(["--flagfile=sub/table1.flags"])) > 3


@pytest.mark.parametrize("name", ["elsewhere/table1.flags", "table9.flags"])
def test_what_is_in_no_place_is_met_with_the_names_that_there_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"No such file or directory\). Those of the package are .*table1\.flags"):
        flagfile.expand([f"--flagfile={name}"])


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table1.flags").symlink_to("nowhere")
    with pytest.raises(UserError, match="'table1.flags' cannot be read"):
        flagfile.expand(["--flagfile=table1.flags"])


def test_a_flagfile_of_another_command_is_told_from_a_mistyped_flag(call):
    of_a_sweep = call(run.app, "--flagfile=table1.flags")
    assert of_a_sweep.code == 2 and "'envs'" in of_a_sweep.stderr and "for another command" in of_a_sweep.stderr
    mistyped = call(run.app, "--enw=Hopper-v5")
    assert mistyped.code == 2 and "'enw'" in mistyped.stderr and "for another command" not in mistyped.stderr
