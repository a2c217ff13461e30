from __future__ import annotations

import os
from pathlib import Path

import pytest

from baselines_compat import logger, plot_util
from baselines_compat.files import atomic_write
from baselines_compat.log_formats import CSVOutputFormat, HumanOutputFormat, JSONOutputFormat, make_output_format
from baselines_compat.monitor import ResultsWriter, load_results, read_monitor
from baselines_compat.table import read_csv, read_json


@pytest.mark.parametrize("mode, content", [("w", "new\r\nπ"), ("wb", b"\x00\xff")])
def test_the_file_is_replaced(tmp_path, mode, content):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path, mode) as file:
        file.write(content)
        assert path.read_text() == "old"
    assert path.read_bytes() == (content if mode == "wb" else content.encode())
    assert os.listdir(tmp_path) == ["file"]


def test_an_exception_in_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write("half of")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("fsync") or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *paths: events.append("replace") or replace(*paths))
    with atomic_write(tmp_path / "file") as file:
        file.write("x")
    assert events == ["fsync", "replace", "fsync"]


def _write_run(folder):
    with logger.scoped_configure(folder, ["csv", "json", "log", "tensorboard"]):
        logger.logkv("a", 1.0)
        logger.dumpkvs()
    logger.write_hparams(f"{folder}/tb", {"lr": 1.0})
    writer = ResultsWriter(f"{folder}/0", {"t_start": 1.0})
    writer.write_row({"r": 1.0, "l": 2, "t": 3.0})
    writer.close()


def test_a_tilde_is_the_home_folder_wherever_files_are_written_or_read(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    _write_run("~/run")
    for form, name in ((CSVOutputFormat, "csv"), (JSONOutputFormat, "json"), (HumanOutputFormat, "txt")):
        form(f"~/run/own.{name}").close()
    make_output_format("csv", "~/other").close()
    assert read_csv("~/run/progress.csv").a == read_json("~/run/progress.json").a == 1.0
    assert list(logger.read_tb("~/run/tb").a) == [1.0]
    assert list(load_results("~/run").r) == list(read_monitor("~/run/0.monitor.csv").r) == [1.0]
    assert len(plot_util.load_results(Path("~/run"))) == 1
    logger.check_resume("~/run", ["csv"], ("a", 1.0), rows=1)
    assert os.listdir(tmp_path / "work") == []
    assert {"own.csv", "own.json", "own.txt", "progress.csv", "tb"} <= set(os.listdir(tmp_path / "home" / "run"))


def test_a_log_in_a_relative_folder_stays_there_when_the_working_folder_changes(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with logger.scoped_configure("run", ["csv"]):
        logger.logkv("a", 1.0)
        logger.dumpkvs()
        monkeypatch.chdir("elsewhere")
        logger.logkv("b", 2.0)  # a new column: the file is written anew
        logger.dumpkvs()
        assert logger.get_dir() == str(tmp_path / "run")
    assert len(read_csv(tmp_path / "run" / "progress.csv")) == 2
    assert os.listdir(tmp_path / "elsewhere") == []
