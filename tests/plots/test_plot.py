"""`python -m wng_tf.plot` from folders to files."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.plots.synthetic_runs import learning_returns, write_run
from wng_tf.errors import UserError
from wng_tf.plots.report import Options, write_report

ROOT = Path(__file__).parents[2]
TASKS = {"Hopper-v5": {"wnpg": 900.0, "ppo": 500.0}, "Walker2d": {"wnpg": 300.0, "ppo": 400.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for env, finals in TASKS.items():
        for alg, final in finals.items():
            for seed in range(3):
                returns, lengths = learning_returns(rng, final=final, start=10.0, total=30_000, tau=5e3, noise=0.1)
                place = root / env / alg / f"seed{seed}"
                write_run(place, alg=alg, env=env, seed=seed, returns=returns, lengths=lengths,
                          columns={"loss/kl_moved": lambda step: step / 1e6})  # fmt: skip
    return root


def plot(*words: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "wng_tf.plot", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_everything_is_written_and_named(folder, tmp_path):
    done = plot(folder, f"--out={tmp_path / 'plots'}", "--paper=table1", "--metrics=loss/kl_moved")
    assert (done.returncode, done.stderr) == (0, "")
    drawn = ("curves", "wallclock", "improvement", "profile", "efficiency", "metric_loss_kl_moved")
    expected = {f"{name}.{kind}" for name in drawn for kind in ("png", "svg", "csv")}
    expected |= {"returns.csv", "summary.csv", "evidence.csv", "table.md"}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == expected
    assert {Path(line).name for line in done.stdout.splitlines()} == expected
    for name in drawn:
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "plots" / f"{name}.svg").read_text()
    text = (tmp_path / "plots" / "table.md").read_text()
    assert "2235.23" in text and "Walker2d (PyBullet)" in text and "WNPG > PPO (Clip)" in text


def test_final_returns_are_the_mean_of_the_last_window(folder, tmp_path):
    write_report([folder / "Hopper-v5"], tmp_path, Options(figures=(), window=10))
    with open(tmp_path / "returns.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        episodes = np.loadtxt(Path(row["folder"]) / "0.monitor.csv", delimiter=",", skiprows=2)
        assert float(row["final_return"]) == pytest.approx(episodes[-10:, 0].mean(), rel=1e-8)


def test_the_same_runs_give_the_same_bytes(folder, tmp_path):
    options = Options(figures=("curves", "improvement"), envs=("Hopper-v5",))
    first, second = (write_report([folder], tmp_path / name, options) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_part_of_the_runs(folder, tmp_path):
    write_report([folder], tmp_path, Options(figures=("profile", "improvement"), algs=("ppo",), envs=("Walker2d",)))
    # One method on one task: a profile in its returns, and nobody to compare it with.
    assert not (tmp_path / "improvement.csv").exists()
    assert (tmp_path / "profile.csv").read_text().count("ppo") == 201
    with pytest.raises(UserError, match="--algs or --envs name none of those in the folders, which are of ppo, wnpg on"):
        write_report([folder], tmp_path, Options(algs=("trpo",)))


def test_runs_are_chosen_in_any_spelling_and_what_is_not_there_is_noted(folder, tmp_path):
    write_run(tmp_path / "run", alg="bg_wnpg", env="Point", seed=0, returns=np.ones(50))
    options = Options(figures=(), algs=("PPO", "BG-WNPG"), envs=("wng_tf/Point-v0",))
    write_report([folder, tmp_path / "run"], tmp_path, options)
    with open(tmp_path / "returns.csv") as file:
        assert {(row["alg"], row["env"]) for row in csv.DictReader(file)} == {("bg_wnpg", "Point")}
    write_report([folder], tmp_path, Options(figures=(), algs=("ppo", "ppo_k"), envs=("Hopper-v5",)))
    assert "There is no run of --algs=ppo_k." in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name the folders of the runs"),
        (["{folder}", "--figures=pie"], "figures"),
        (["{folder}", "--window=0"], "window"),
        (["{folder}", "--paper=table2"], "paper"),
        (["{folder}", "--max_steps=nan"], "--max_steps must be a number of steps, not nan"),
        (["{folder}", "--window=1.5"], "'1.5' is not a whole number"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(folder, tmp_path, words, sentence):
    done = plot(*[word.format(folder=folder) for word in words], f"--out={tmp_path / 'plots'}")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and sentence in done.stderr
    assert not (tmp_path / "plots").exists()


def test_what_is_not_there_is_said_before_anything_is_written(folder, tmp_path):
    with pytest.raises(UserError, match="There is no folder 'nowhere'"):
        write_report(["nowhere"], tmp_path / "plots", Options())
    with pytest.raises(UserError, match="does not log 'no/such'"):
        write_report([folder], tmp_path / "plots", Options(metrics=("no/such",)))
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize("module", ["wng_tf.plot", "wng_tf.sweep", "wng_tf.tune", "wng_tf.experiments.figure3"])
def test_help_and_imports_stay_light(module):
    code = (
        f"import sys, runpy\nsys.argv = ['{module}', '--help']\n"
        f"try:\n    runpy.run_module('{module}', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'scipy', 'matplotlib', 'mujoco', 'ray'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout


def test_a_metric_is_drawn_for_the_methods_that_log_it(tmp_path):
    for alg, columns in (("wnpg", {"wng/cosine": lambda step: 0.5}), ("ppo", {})):
        write_run(tmp_path / alg, alg=alg, env="Hopper-v5", seed=0, returns=np.ones(50), columns=columns)
    write_report([tmp_path], tmp_path / "out", Options(figures=(), metrics=("wng/cosine",)))
    with open(tmp_path / "out" / "metric_wng_cosine.csv") as file:
        assert {row["alg"] for row in csv.DictReader(file)} == {"wnpg"}
    with pytest.raises(UserError, match="does not log 'wng/residual'"):
        write_report([tmp_path], tmp_path / "none", Options(figures=(), metrics=("wng/residual",)))


def test_a_metric_without_a_number_is_said(tmp_path):
    columns = {"eval/eprewsd": lambda step: float("nan")}
    write_run(tmp_path / "run", alg="ppo", env="Hopper-v5", seed=0, returns=np.ones(50), columns=columns)
    with pytest.raises(UserError, match="--metrics=eval/eprewsd: no run has a finite number in that column"):
        write_report([tmp_path / "run"], tmp_path / "out", Options(metrics=("eplenmean", "eval/eprewsd")))
    assert not (tmp_path / "out").exists()


def test_damage_is_a_line_and_the_rest_is_plotted(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), alg="ppo", env="Hopper-v5", seed=seed, returns=np.arange(30.0))
    (tmp_path / "1" / "0.monitor.csv").write_bytes(b"")
    done = plot(tmp_path, "--figures=curves")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: '{tmp_path}/1/0.monitor.csv' is damaged: left out")
