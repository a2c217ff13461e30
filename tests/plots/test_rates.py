"""Reward per minute at rates that were measured apart."""

from __future__ import annotations

import csv

import pytest

from tests.plots.synthetic_runs import write_run
from wng_tf.errors import UserError
from wng_tf.plots.report import Options, write_report

HEADER = "section,what,value,note\n"
HOPPER = (
    "parts,ppo update,70,ms per update\nrates,env.step alone,9000,\nrates,ppo,2048,\nrates,bg_wnpg,1024,\n"
    "rates,bg_wnpg:num_features=100,512,\n"
)


def folders(tmp_path, table=HOPPER):
    """Runs of 2048 steps, 20 episodes of a return of 30 each, and rates."""
    runs, rates = tmp_path / "runs", tmp_path / "rates"
    for alg, env, settings in (
        ("ppo", "Hopper-v5", {}),
        ("bg_wnpg", "Hopper-v5", {"num_features": "100"}),
        ("bg_wnpg", "Hopper-v5", {"num_features": "0"}),
        ("ppo", "Walker2d", {}),
    ):
        place = runs / f"{env}-{alg}-{settings.get('num_features', '')}"
        write_run(place, alg=alg, env=env, seed=0, returns=[30.0] * 20, **settings)
    rates.mkdir()
    (rates / "Hopper-v5.csv").write_text(HEADER + table)
    (rates / "mujoco_stepping.csv").write_text("env,ratio\nHopper-v5,1.6\n")
    return runs, rates


def test_minutes_are_steps_over_the_rate_of_the_contender_with_the_runs_settings(tmp_path):
    runs, rates = folders(tmp_path)
    write_report([runs], tmp_path / "out", Options(figures=("efficiency",), rates=rates))
    with open(tmp_path / "out" / "efficiency.csv") as file:
        rows = {(row["alg"], row["variant"]): row for row in csv.DictReader(file)}
    seconds = {("ppo", ""): 1.0, ("bg_wnpg", "num_features=100"): 4.0, ("bg_wnpg", "num_features=0"): 2.0}
    assert set(rows) == set(seconds)  # nobody measured Walker2d
    for method, expected in seconds.items():
        assert 60.0 * float(rows[method]["minutes"]) == pytest.approx(expected)
        assert float(rows[method]["reward_per_minute"]) == pytest.approx(600.0 * 60.0 / expected)
    assert "those of 3 of 4 runs" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("parts,ppo update,70,\n", "no rates in"),
        ("rates,npg,1000,\n", "None of the runs has a rate"),
        ("rates,ppo,fast,\n", "no rates as benchmarks.throughput writes them"),
        ("rates,ppo,0,\n", "the rate of ppo is 0"),
        ("rates,ppo:lr,10,\n", "no rates as benchmarks.throughput writes them"),
    ],
)
def test_rates_that_cannot_be_used_are_named(tmp_path, table, message):
    runs, rates = folders(tmp_path, table)
    with pytest.raises(UserError, match=message):
        write_report([runs], tmp_path / "out", Options(figures=("efficiency",), rates=rates))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there(tmp_path):
    runs, _ = folders(tmp_path)
    with pytest.raises(UserError, match="no rates in .*nowhere"):
        write_report([runs], tmp_path / "out", Options(figures=("efficiency",), rates=tmp_path / "nowhere"))
