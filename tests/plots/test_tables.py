"""Tables: small ones letter for letter, and the paper's numbers where they belong."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from wng_tf.plots import tables
from wng_tf.plots.curves import Band
from wng_tf.plots.paper import TABLE1, paper_row

BG, WNPG, PPO = ("bg_wnpg", ""), ("wnpg", ""), ("ppo", "")
RETURNS = {
    "Hopper-v5": {PPO: np.array([1.0, 2.0, 3.0]), BG: np.array([10.0, 11.0, 12.0]), WNPG: np.array([2.0, 3.0, 4.0])},
    "Walker2d": {PPO: np.array([5.0, 5.0]), WNPG: np.array([1.0, 1.0])},
}
SUMMARIES = tables.summarise(RETURNS)


def section(text: str, heading: str) -> list[str]:
    lines = text.split(f"{heading}\n")[1].split("\n#")[0].splitlines()
    return [line for line in lines if line.startswith("|")]


def test_wide_table_marks_the_best_and_the_second():
    text = tables.report(RETURNS, SUMMARIES, window=100)
    assert section(text, "# Final returns") == [
        "| Task | BG-WNPG | WNPG | PPO (Clip) |",
        "| --- | --- | --- | --- |",
        "| Hopper-v5 | **11.00 ± 1.00** | 3.00 ± 1.00\\* | 2.00 ± 1.00 |",
        "| Walker2d (PyBullet) |  | 1.00 ± 0.00\\* | **5.00 ± 0.00** |",
    ]
    assert "paper" not in text


def test_the_papers_numbers_stand_below_ours():
    text = tables.report(RETURNS, SUMMARIES, window=100, paper=TABLE1)
    rows = section(text, "# Final returns")
    assert rows[3] == "| — paper | **2439.56 ± 394.39** | 2235.23\\* | 1890.12 |"
    assert rows[5] == "| — paper | **739.51 ± 81.10** | 683.38\\* | 516.47 |"
    assert section(text, "## Intervals")[2].endswith("| 2439.56 ± 394.39 |")


def test_claims_are_judged_by_their_intervals():
    rows = section(tables.report(RETURNS, SUMMARIES, window=100, paper=TABLE1), "## The paper's order")
    assert rows[0] == "| Link | Hopper-v5 | Walker2d (PyBullet) | All tasks |"
    assert rows[2] == "| BG-WNPG > WNPG | holds: 1.00 (1.00 to 1.00) |  | holds: 1.00 (1.00 to 1.00) |"
    hopper, walker, both = rows[3].split(" | ")[1:]
    assert hopper.startswith("open: 0.78") and both.startswith("open: 0.39")
    assert walker == "reversed: 0.00 (0.00 to 0.00)"


def test_paper_rows_belong_to_the_engine_that_the_paper_used():
    assert paper_row(TABLE1, "Hopper-v5")["pg"].mean == 1816.58
    assert paper_row(TABLE1, "InvertedDoublePendulum-v4")["bgpg"].mean == 6526.48
    assert paper_row(TABLE1, "Walker2d")["wnpg"].mean == 683.38
    for env in ("Hopper", "DoublePendulum", "Walker2d-v5", "HalfCheetah-v5", "CartPole-v1"):
        assert paper_row(TABLE1, env) == {}


def test_paper_table_as_printed():
    """As its caption says: BG-WNPG is best everywhere, and WNPG beats every baseline except on HalfCheetah."""
    for env, row in TABLE1.items():
        assert max(row, key=lambda alg: row[alg].mean) == "bg_wnpg"
        beaten = row["wnpg"].mean > max(row[alg].mean for alg in ("bgpg", "ppo", "pg"))
        assert beaten == (env != "(RS) HalfCheetah")


def test_improvement_is_over_shared_tasks():
    assert tables.improvement(RETURNS, BG, PPO).value == 1.0
    assert tables.improvement(RETURNS, WNPG, PPO).value == pytest.approx((7 / 9 + 0.0) / 2)
    assert tables.improvement({"A": {BG: np.ones(2)}, "B": {PPO: np.ones(2)}}, BG, PPO) is None
    assert tables.all_pairs(RETURNS) == [(BG, WNPG), (BG, PPO), (WNPG, PPO)]


def test_normalized_returns_span_each_task():
    scaled = tables.normalized(RETURNS)
    assert np.allclose(scaled["Hopper-v5"][PPO], [0, 1 / 11, 2 / 11]) and scaled["Hopper-v5"][BG].max() == 1.0
    assert tables.normalized({"A": {PPO: np.array([3.0, 3.0])}})["A"][PPO].tolist() == [0.0, 0.0]


def test_summary_csv_reads_back():
    rows = list(csv.DictReader(tables.summary_csv(SUMMARIES, TABLE1).splitlines()))
    assert [(row["env"], row["alg"]) for row in rows][:3] == [
        ("Hopper-v5", "bg_wnpg"), ("Hopper-v5", "wnpg"), ("Hopper-v5", "ppo")
    ]  # fmt: skip
    first = rows[0]
    assert (float(first["mean"]), float(first["sd"]), first["runs"]) == (11.0, 1.0, "3")
    assert float(first["mean_low"]) < 11.0 < float(first["mean_high"])
    assert (first["paper_mean"], first["paper_sd"], rows[1]["paper_sd"]) == ("2439.56", "394.39", "")


def test_curves_csv_holds_what_is_drawn():
    band = Band(np.array([0.0, 1.0, 2.0]), np.array([[np.nan, 1.0, 2.0], [0.0, 3.0, 4.0]]))
    rows = list(csv.DictReader(tables.curves_csv({"A": {PPO: band}}, "steps").splitlines()))
    assert [(row["steps"], row["mean"], row["runs"]) for row in rows] == [("1", "2", "2"), ("2", "3", "2")]
    assert float(rows[0]["sd"]) == pytest.approx(np.sqrt(2), rel=1e-8)


def test_best_variants_become_flags_of_a_sweep():
    returns = {
        "Hopper-v5": {
            ("ppo", "lr=1e-4"): np.array([1.0, 2.0]),
            ("ppo", "lr=3e-4"): np.array([5.0, 1.0]),
            ("wnpg", "lr=1e-4, lam=0.9"): np.array([7.0]),
            ("wnpg", "lr=1e-4, lam=0.8"): np.array([6.0]),
            ("pg", ""): np.array([0.0]),
        }
    }
    assert tables.best_flags(returns).splitlines() == [
        "# 7.00",
        "--override=env=Hopper-v5,alg=wnpg:lr=1e-4,lam=0.9",
        "# 3.00",
        "--override=env=Hopper-v5,alg=ppo:lr=3e-4",
    ]
    assert tables.best_flags({"A": {("pg", ""): np.array([0.0])}}) == ""


def test_runs_without_an_episode_have_no_return():
    from dataclasses import dataclass

    @dataclass
    class Run:
        env: str
        method: tuple
        seed: int

    finals = [(Run("A", PPO, 1), 2.0), (Run("A", PPO, 0), 1.0), (Run("A", BG, 0), float("nan"))]
    found = tables.collect_returns(finals)
    assert list(found["A"]) == [PPO] and found["A"][PPO].tolist() == [1.0, 2.0]


def test_deterministic_policies_have_a_table_of_their_own_where_there_are_any():
    plain = tables.report(RETURNS, SUMMARIES, window=100)
    assert "## Deterministic policies" not in plain and "## Deterministic policies" not in tables.report(
        RETURNS, SUMMARIES, window=100, evaluated={}
    )
    higher = tables.summarise({env: {method: x + 1000.0 for method, x in of.items()} for env, of in RETURNS.items()})
    text = tables.report(RETURNS, SUMMARIES, window=100, evaluated=higher)
    rows, training = section(text, "## Deterministic policies"), section(text, "# Final returns")
    method = next(iter(SUMMARIES["Hopper-v5"]))
    assert rows[0] == training[0]
    assert f"{SUMMARIES['Hopper-v5'][method].mean.value + 1000.0:.2f}" in rows[2]
