"""A full disk, or a place that cannot be written to: one sentence, nothing half-written, and the next try is free."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gymnasium.envs.registration import register, registry
from short_runs import TINY, as_flags, contents, train, uncompiled
from test_cli import assert_sentence
from test_evaluate import Striped

import baselines_compat.files
from wng_tf import evaluate, export, plot, run, sweep
from wng_tf.envs import video
from wng_tf.errors import UserError
from wng_tf.runtime import output
from wng_tf.training import checkpoint

NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPERM, errno.EROFS]


@pytest.fixture
def copied(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    return folder


def _raises(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", NUMBERS)
def test_plot(number, call, copied, tmp_path, monkeypatch):
    from wng_tf.plots import report

    monkeypatch.setattr(report, "_returns_csv", _raises(number))  # after the figures are drawn
    out = tmp_path / "some" / "plots"
    outcome = call(plot.app, copied, f"--out={out}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, str(out), os.strerror(number), "--out")
    assert not (tmp_path / "some").exists()


def test_plots_that_are_there_stay_as_they_are(call, copied, tmp_path, monkeypatch):
    from wng_tf.plots import report

    out = tmp_path / "plots"
    assert call(plot.app, copied, f"--out={out}", "--figures=curves").code == 0
    before = contents(out)
    assert set(before) >= {"curves.png", "curves.csv", "table.md"}
    with monkeypatch.context() as broken:
        broken.setattr(report, "_returns_csv", _raises(errno.ENOSPC))
        assert call(plot.app, copied, f"--out={out}", "--figures=wallclock").code == 2
    assert contents(out) == before
    assert call(plot.app, copied, f"--out={out}", "--figures=wallclock").code == 0
    assert set(contents(out)) > set(before)


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_where_a_folder_should_be(below, call, copied, tmp_path):
    (tmp_path / "file").write_text("x")
    target = tmp_path / "file" / below
    for app, flags in ((plot.app, [copied, f"--out={target}"]), (export.app, [f"--run={copied}", f"--output={target}"])):
        outcome = call(app, *flags)
        assert outcome.code == 2
        assert_sentence(outcome.stderr, str(target).rstrip("/"))
    sweeping = ["--algs=ppo", "--envs=CartPole-v1", f"--log_path={target}"]
    outcome = call(sweep.app, *sweeping)
    assert outcome.code == 2
    assert_sentence(outcome.stderr, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("fault", [*NUMBERS, "tensorflow", "memory"])
def test_export(fault, call, copied, tmp_path, monkeypatch):
    import tensorflow as tf

    def fail(module, path, **kwargs):
        Path(path).mkdir()
        (Path(path) / "half").write_text("x")
        if fault == "tensorflow":
            raise tf.errors.ResourceExhaustedError(None, None, f"{path}/variables; No space left on device [Op:SaveV2]")
        if fault == "memory":
            raise MemoryError
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(tf.saved_model, "save", fail)
    outcome = call(export.app, f"--run={copied}", f"--output={tmp_path / 'a' / 'b'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr)
    if fault == "tensorflow":
        assert_sentence(outcome.stderr, "(No space left on device)", "--output")
    assert not (tmp_path / "a").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_an_export_that_is_there_survives(call, copied, monkeypatch):
    export.export_run(copied)
    before = contents(copied)
    rename = Path.rename

    def fail(path, target):
        if path.name.endswith(".new"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    outcome = call(export.app, f"--run={copied}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "Operation not permitted")
    assert contents(copied) == before


@pytest.fixture
def striped():
    register("Filmed-v0", entry_point=Striped)
    yield "Filmed-v0"
    del registry["Filmed-v0"]


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
@pytest.mark.parametrize("when", ["append_data", "close"])
def test_film(suffix, when, striped, tmp_path, monkeypatch):
    made = video._writer

    def writer(path, fps):
        real = made(path, fps)
        close = real.close

        def close_then_fail():
            close()
            _raises(errno.ENOSPC)()

        monkeypatch.setattr(real, when, close_then_fail if when == "close" else _raises(errno.ENOSPC), raising=False)
        return real

    monkeypatch.setattr(video, "_writer", writer)
    film = tmp_path / f"film.{suffix}"
    with pytest.raises(UserError, match=r"Cannot write to '.*film.*' \(No space left on device\): .* --video"):
        _play(film, striped)
    assert list(tmp_path.iterdir()) == []


def _play(film, env, steps=3):
    with video.filming(film, env) as world:
        world.reset(seed=0)
        for _ in range(steps):
            world.step(world.action_space.sample())


#: A film that is longer than a file may be. ffmpeg, which is a process of its own, is stopped there and says nothing.
CUT_SHORT = """
import resource, sys
from wng_tf.cli import app as cli
from wng_tf.envs import video
def main(argv):
    with video.filming("film.SUFFIX", "Hopper") as world:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        world.reset(seed=0)
        for _ in range(20):
            world.step(world.action_space.sample())
cli.run_app(main)
"""


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_film_cut_short_by_the_system(suffix, tmp_path):
    command = [sys.executable, "-c", CUT_SHORT.replace("SUFFIX", suffix)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert_sentence(result.stderr, "Cannot write to 'film.")
    assert list(tmp_path.iterdir()) == []


def test_evaluation(call, copied, monkeypatch):
    monkeypatch.setattr(baselines_compat.files.os, "fsync", _raises(errno.EDQUOT))
    before = contents(copied)
    outcome = call(evaluate.app, f"--run={copied}", "--episodes=1")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "evaluation.json", os.strerror(errno.EDQUOT))
    assert contents(copied) == before


@pytest.mark.parametrize("number", NUMBERS)
def test_a_sweep(number, call, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines_compat.files.os, "fsync", _raises(number))
    root = tmp_path / "some" / "sweep"
    outcome = call(sweep.app, "--algs=ppo", "--envs=CartPole-v1", f"--log_path={root}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, str(root), os.strerror(number), "--log_path")
    assert not (tmp_path / "some").exists()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_run_before_its_first_checkpoint_leaves_its_folder_free(number, call, tmp_path, monkeypatch):
    folder = tmp_path / "some" / "run"
    flags = as_flags(**TINY, alg="ppo", env="CartPole-v1", num_timesteps=64, log_path=folder)
    with uncompiled(), monkeypatch.context() as broken:
        broken.setattr(checkpoint, "save", _raises(number))
        outcome = call(run.app, *flags)
    assert outcome.code == 2
    assert_sentence(outcome.stderr, os.strerror(number))
    assert not folder.exists()
    with uncompiled():
        assert call(run.app, *flags).code == 0


@pytest.mark.parametrize("name", ["ppo on CartPole", "wnes on Point"])
def test_a_run_that_had_a_checkpoint_keeps_it(name, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    save, saved = checkpoint.save, []

    def save_once(*arguments, **settings):
        if saved:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        saved.append(save(*arguments, **settings))

    monkeypatch.setattr(checkpoint, "save", save_once)
    with pytest.raises(OSError, match="File too large"):
        train(name, folder)
    assert checkpoint.latest_step(folder / "checkpoints") is not None and (folder / "flags.txt").exists()


def test_the_last_checkpoint_is_named(call, tmp_path, monkeypatch):
    save, saved = checkpoint.save, []

    def save_once(*arguments, **settings):
        if saved:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "checkpoint.npz")
        saved.append(save(*arguments, **settings))

    monkeypatch.setattr(checkpoint, "save", save_once)
    flags = {**TINY, "alg": "ppo", "env": "CartPole-v1", "num_timesteps": 1000, "save_interval": 1}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=tmp_path / "run"))
    assert outcome.code == 1
    assert_sentence(outcome.stderr, "File too large", "The last good checkpoint, of step 64,")


def test_staged_files_take_their_places_together(tmp_path):
    out = tmp_path / "out"
    with output.staged(out) as folder:
        (folder / "a").write_text("1")
        (folder / "b").mkdir()
        (folder / "b" / "c").write_text("2")
        assert not (out / "a").exists()
    assert contents(out) == {"a": b"1", "b/c": b"2"}
    sentence = r"Cannot write to '.*out' \(No space left on device\): give another --here\."
    with pytest.raises(UserError, match=sentence), output.staged(out, "--here") as folder:
        (folder / "a").write_text("3")
        _raises(errno.ENOSPC)()
    assert contents(out) == {"a": b"1", "b/c": b"2"}


def test_a_file_that_cannot_be_written_is_named_as_the_caller_knows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines_compat.files.os, "fsync", _raises(errno.ENOSPC))
    with pytest.raises(OSError) as caught, baselines_compat.files.atomic_write(tmp_path / "x") as file:
        file.write("1")
    assert caught.value.filename == str(tmp_path / "x") and list(tmp_path.iterdir()) == []
