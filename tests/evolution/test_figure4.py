"""Figure 4's command: runs what is missing, skips what is finished, draws what is there."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from wng_tf.envs.point import WALLS
from wng_tf.experiments import figure4
from wng_tf.training import run_folder


@pytest.fixture
def command(call, tmp_path):
    def run(*arguments):
        return call(figure4.app, f"--runs={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}", *arguments)

    return run


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_methods_two_seeds_and_again(command, tmp_path):
    wanted = ("--methods=es_clip,bg_wnes", "--seeds=0,1", "--num_timesteps=6000")
    first = command(*wanted)
    assert first.code == 0, first.stderr
    assert first.stdout.count(" min\n") == 4
    out = tmp_path / "out"
    names = {"figure4.png", "figure5_right.svg", "paths.png", "curves.csv", "runs.csv", "table.md", "paths.csv"}
    assert names <= {path.name for path in out.iterdir()}
    runs = read(out / "runs.csv")
    assert [(row["alg"], row["variant"], row["seed"]) for row in runs] == [
        ("es", "grad-clip", "0"),
        ("es", "grad-clip", "1"),
        ("bg_wnes", "", "0"),
        ("bg_wnes", "", "1"),
    ]
    for row in runs:
        summary = run_folder.read_summary(figure4.folder_of(tmp_path / "runs", *key(row)))
        assert int(row["steps"]) == summary["total_timesteps"] == 10_100  # two generations of 101 rollouts of 50 steps
    table = (out / "table.md").read_text()
    finals = [float(row["final_return"]) for row in runs if row["alg"] == "es"]
    assert f"{np.mean(finals):.0f} ± {np.std(finals, ddof=1):.0f}" in table
    path = np.array([[float(row["x"]), float(row["y"])] for row in read(out / "paths.csv") if row["alg"] == "bg_wnes"])
    assert len(path) == 2 * 51
    for (x, y), (half_x, half_y, _) in WALLS:  # nobody walks through walls
        assert not np.any((np.abs(path[:, 0] - x) < half_x) & (np.abs(path[:, 1] - y) < half_y))

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("progress.csv")}
    assert command(*wanted).code == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("progress.csv")}


def key(row):
    return {"es": "es_clip"}.get(row["alg"], row["alg"]), int(row["seed"])


def test_the_seven_curves_of_the_paper():
    assert list(figure4.METHODS) == ["es", "es_clip", "wnes", "nsr_es", "bges", "bges_075", "bg_wnes"]
    assert len({(method.alg, method.variant) for method in figure4.METHODS.values()}) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods=es,sgd"], "Unknown method 'sgd'"),
        (["--seeds=a"], "whole numbers"),
        (["--only_plot"], "no runs"),
        (["--task=maze"], "task"),
    ],
)
def test_bad_input(arguments, message, command, tmp_path):
    outcome = command(*arguments)
    assert outcome.code == 2
    assert message in outcome.stderr
    assert not (tmp_path / "runs").exists()
