"""Medians of what runs log beside their returns."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from tests.plots.synthetic_runs import write_run
from wng_tf.plots.evidence import evidence_csv, evidence_markdown, medians
from wng_tf.plots.runs import load_runs


@pytest.fixture
def runs(tmp_path):
    def make(alg, seed, columns):
        folder = tmp_path / alg / f"seed{seed}"
        write_run(folder, alg=alg, env="Hopper-v5", seed=seed, returns=np.ones(50), nsteps=1000, columns=columns)

    # Five updates each: a run's median is that of its third.
    for seed, factor in enumerate((1.0, 10.0, 100.0)):
        make("wnpg", seed, {"loss/kl_moved": lambda step, f=factor: f * step, "wng/cosine": lambda step: step / 6000})
    make("ppo", 0, {"loss/kl_moved": lambda step: "" if step == 1000 else step})
    return load_runs([tmp_path])[0]


def test_medians_over_updates_then_over_runs(runs):
    rows = {method: found for _, method, found in medians(runs)}
    assert rows["wnpg", ""] == {"loss/kl_moved": 30000.0, "wng/cosine": 0.5}
    assert rows["ppo", ""] == {"loss/kl_moved": 3500.0}, "updates without a value do not count"


def test_tables_leave_open_what_a_method_does_not_log(runs):
    rows = medians(runs)
    table = {row["alg"]: row for row in csv.DictReader(io.StringIO(evidence_csv(rows)))}
    assert (table["wnpg"]["wng/cosine"], table["ppo"]["wng/cosine"]) == ("0.5", "")
    text = evidence_markdown(rows)
    assert "| Hopper-v5 | PPO (Clip) | 3.5e+03 |  |" in text
    assert "guarded" not in text


def test_runs_that_log_nothing_of_it_have_no_section(tmp_path):
    write_run(tmp_path / "run", alg="pg", env="Hopper-v5", seed=0, returns=np.ones(50))
    assert medians(load_runs([tmp_path])[0]) == []
