"""The ablation's grid and tables, on runs with known returns; and its flagfiles."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
import short_runs

from tests.plots.synthetic_runs import write_run
from tests.sweeps.planned_runs import runs_of
from wng_tf.errors import UserError
from wng_tf.experiments import ablation, ablation_report
from wng_tf.experiments.ablation import Cell
from wng_tf.experiments.ablation_record import COLORS, Measured, read_record, write_record
from wng_tf.plots.curves import Curve
from wng_tf.plots.runs import load_runs, up_to
from wng_tf.training import checkpoint

PARTS = {"penalty": "none", "surrogate": "importance", "step_rule": "minibatch", "preconditioner": "identity"}
ALGS = {
    "pg": {},
    "ppo": {"surrogate": "clipped"},
    "trpo": {"step_rule": "trust_region", "preconditioner": "fisher"},
    "wtrpo": {"step_rule": "trust_region", "preconditioner": "wasserstein_exact"},
    "wnpg": {"preconditioner": "wasserstein"},
}
FINALS = {"pg": 10.0, "ppo": 20.0, "trpo": 30.0, "wtrpo": 50.0, "wnpg": 0.0}


def make_runs(folder, envs=("Hopper-v5", "HalfCheetah"), seeds=5):
    """Every episode of a run pays the same: its method's level and its seed, ten times as much on the second task."""
    columns = {
        "loss/policy_entropy": lambda step: 4.0 - step / 4096,
        "loss/kl_moved": lambda step: 0.01,
        "loss/w2_squared_moved": lambda step: 0.02,
    }
    for place, env in enumerate(envs):
        for alg, parts in ALGS.items():
            for seed in range(seeds):
                returns = np.full(60, 10.0**place * (FINALS[alg] + seed))
                settings = {**PARTS, **parts, "columns": columns, "seconds_per_step": 1e-3}
                write_run(folder / env / alg / str(seed), alg=alg, env=env, seed=seed, returns=returns, **settings)
    return load_runs([folder])[0]


def measured(folder, **settings):
    return [ablation.measure(run) for run in make_runs(folder, **settings)]


def test_cells_are_named_by_parts_not_by_algorithms(tmp_path):
    runs = {run.alg: run for run in make_runs(tmp_path, envs=("Hopper-v5",), seeds=1)}
    assert {alg: ablation.cell_of(run) for alg, run in runs.items()} == {
        "pg": Cell("none", "Adam"),
        "ppo": Cell("none", "Adam + clip"),
        "trpo": Cell("Fisher, exact", "trust region"),
        "wtrpo": ablation_report.OURS,
        "wnpg": Cell("Wasserstein, kernel", "Adam"),
    }


def test_outcome(tmp_path):
    run = next(run for run in make_runs(tmp_path, envs=("Hopper-v5",), seeds=3) if (run.alg, run.seed) == ("ppo", 2))
    outcome = ablation.measure(run).outcome
    assert (outcome.env, outcome.seed, outcome.final) == ("Hopper-v5", 2, 22.0)
    assert np.allclose(outcome[4:9], [1000.0, 4.0 - 1.5, 1.0, 0.01, 0.02])  # entropy from 3.5 to 2.5 at 6144 steps
    assert np.isnan(outcome[9:]).all()  # no checkpoint


def test_standard_deviations_of_the_final_policy(tmp_path):
    short_runs.train("ppo on Hopper", tmp_path, total_timesteps=256, num_env=1, lr="1e-2", init_logstd=-1.0)
    ((run,), _) = load_runs([tmp_path])
    size = 11 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3 + 3
    logstd = checkpoint.load(tmp_path / "checkpoints")[1]["learner"]["learner"]["theta"][size - 3 : size]
    assert -1.5 < logstd.min() < logstd.max() < -0.5
    assert np.allclose(ablation.final_std(run), np.exp([logstd.min(), logstd.max()]))
    # Not of the run as it was before.
    assert np.isnan(ablation.final_std(up_to(run, 192))).all()


def test_scores_and_differences(tmp_path):
    outcomes = [run.outcome for run in measured(tmp_path)]
    scores = ablation_report.scores_of(outcomes)
    for of in scores.values():  # 0 is seed 0 of WNPG, 54 seed 4 of WTRPO, on either task
        assert np.allclose(of[ablation_report.OURS], (50.0 + np.arange(5)) / 54.0)
        assert np.allclose(of[Cell("Wasserstein, kernel", "Adam")], np.arange(5) / 54.0)
    gap = ablation_report.difference(scores, ablation_report.OURS, ablation_report.RIVALS["TRPO"])
    assert np.isclose(gap.value, 20.0 / 54.0) and 17.0 / 54.0 < gap.low < gap.value < gap.high < 23.0 / 54.0
    assert ablation_report.difference(scores, ablation_report.OURS, Cell("none", "trust region")) is None


def test_everything_is_written(tmp_path):
    paths = ablation.write(measured(tmp_path / "runs"), tmp_path / "out", left_out=2)
    names = {path.name for path in paths}
    assert names == {"ablation.md", "runs.csv", "returns.csv", "curves.png", "curves.svg", "curves.csv"}
    assert all(path.stat().st_size > 0 for path in paths)
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "2 runs are not finished" in text
    assert "| TRPO | 2 | 0.37 (0.34 to 0.40) | 1.00 (1.00 to 1.00) |" in text
    assert "| none | 12.00 | 22 | 0.00 |" not in text and "| Wasserstein, exact |  |  | 52 (50 to 54) |" in text
    assert len((tmp_path / "out" / "runs.csv").read_text().splitlines()) == 1 + 2 * 5 * 5


def test_two_runs_in_one_place_are_refused(tmp_path):
    runs = measured(tmp_path, envs=("Hopper-v5",), seeds=1)
    with pytest.raises(UserError, match="share"):
        ablation.write([*runs, runs[0]], tmp_path / "out")


def places(runs):
    return {(run.outcome.env, run.outcome.cell, run.outcome.seed) for run in runs}


def test_of_cells_in_several_folders_the_first_wins(tmp_path):
    make_runs(tmp_path / "all", seeds=2)
    write_run(tmp_path / "other", alg="trpo", env="HalfCheetah", seed=7, returns=[1.0], **{**PARTS, **ALGS["trpo"]})
    folders = [str(tmp_path / "other"), str(tmp_path / "all")]
    runs = ablation.of_first_source(ablation.gather(folders)[0])
    assert len(runs) == 2 * 5 * 2 - 2 + 1
    trpo = Cell("Fisher, exact", "trust region")
    assert {place for place in places(runs) if place[1] == trpo} == {
        ("HalfCheetah", trpo, 7), ("Hopper-v5", trpo, 0), ("Hopper-v5", trpo, 1)
    }  # fmt: skip
    runs = ablation.of_first_source(ablation.gather(folders[::-1])[0])
    assert len(runs) == 2 * 5 * 2 and 7 not in {run.outcome.seed for run in runs}


def test_a_record_stands_for_its_runs(tmp_path):
    runs = measured(tmp_path / "runs", seeds=3)
    ablation.write(runs, tmp_path / "whole")
    # The same report from the record alone, and from a record of some with the folder of the others.
    ablation.write([run for _, run in ablation.gather([tmp_path / "whole/runs.csv"])[0]], tmp_path / "again")
    ablation.write([run for run in runs if run.outcome.env == "Hopper-v5"], tmp_path / "half")
    sources = [tmp_path / "half/runs.csv", tmp_path / "runs/HalfCheetah"]
    ablation.write([run for _, run in ablation.gather(sources)[0]], tmp_path / "both")
    for name in ("ablation.md", "runs.csv", "returns.csv"):
        whole = (tmp_path / "whole" / name).read_text()
        assert whole == (tmp_path / "again" / name).read_text()
        assert name == "returns.csv" or whole == (tmp_path / "both" / name).read_text()
    again = ablation.of_first_source(ablation.gather([tmp_path / "both/runs.csv", tmp_path / "runs"])[0])
    assert places(again) == places(runs) and len(again) == len(runs)


def test_curves_of_a_record(tmp_path):
    steps = np.arange(1, 301) * 1000
    curve = Curve(steps, np.sqrt(steps))
    run = measured(tmp_path / "runs", envs=("Hopper-v5",), seeds=1)[0]
    (tmp_path / "out").mkdir()
    write_record([Measured(run.outcome, curve), Measured(run.outcome._replace(seed=1), None)], tmp_path / "out")
    kept, none = read_record(tmp_path / "out/runs.csv")
    assert none.curve is None and none.outcome.seed == 1
    assert kept.curve.steps.tolist() == [4000 * i for i in range(1, 76)]
    assert np.allclose(kept.curve.values, np.sqrt(kept.curve.steps), rtol=1e-4)


def test_what_is_no_record_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file"):
        read_record(tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text("env,final\nHopper-v5,1\n")
    with pytest.raises(UserError, match="not an ablation's"):
        read_record(tmp_path / "runs.csv")
    with pytest.raises(UserError, match="cannot cut"):
        ablation.gather([str(tmp_path / "runs.csv")], max_steps=1e5)


def test_a_penalty_has_no_place(tmp_path):
    write_run(tmp_path / "run", alg="bgpg", env="Hopper-v5", seed=0, returns=[1.0], **{**PARTS, "penalty": "wasserstein"})
    with pytest.raises(UserError, match="penalty"):
        ablation.cell_of(load_runs([tmp_path])[0][0])
    with pytest.raises(UserError, match="penalty"):
        ablation.gather([tmp_path])
    assert ablation.gather([tmp_path], envs=["HalfCheetah"]) == ([], 0)  # of the tasks asked for alone


def test_flagfile_plans_the_whole_grid():
    runs = runs_of("ablation")
    places = Counter((run["env"], run["alg"], run["preconditioner"]) for run in runs)
    assert len(places) == 4 * 3 * 4 and set(places.values()) == {5}
    selection = runs_of("ablation_selection")
    assert not {run["seed"] for run in runs} & {run["seed"] for run in selection}
    for run in [*runs, *selection]:
        adam_with_a_metric = run["alg"] != "trpo" and run["preconditioner"] in ("fisher", "wasserstein_exact")
        assert run.get("damping", "adaptive") == ("fixed" if adam_with_a_metric else "adaptive")


def test_a_million_steps_are_the_same_runs_for_longer():
    length = {"num_timesteps", "log_path"}

    def of(name: str) -> list[dict[str, str]]:
        return [{flag: value for flag, value in run.items() if flag not in length} for run in runs_of(name)]

    assert of("ablation_million") == of("ablation")
    assert {float(run["num_timesteps"]) for run in runs_of("ablation_million")} == {1e6}


def test_nearly_deterministic_policies_have_the_radii_of_the_ablation():
    radii = {(run["env"], run["preconditioner"]): run["trust_radius"] for run in runs_of("ablation") if run["alg"] == "trpo"}
    seeds = {run["seed"] for run in runs_of("ablation")}
    runs = runs_of("variance") + runs_of("variance", "--algs=wtrpo", "--grid=radius_unit=absolute")
    assert len(runs) == 2 * 2 * (2 + 1) * 3
    for run in runs:
        metric = {"trpo": "fisher", "wtrpo": "wasserstein_exact"}[run["alg"]]
        assert run["trust_radius"] == radii[run["env"], metric]
        assert run["seed"] not in seeds


def test_nearly_deterministic_policies_differ_in_the_radius_alone():
    kept = ("env", "seed", "num_timesteps", "init_logstd")
    before = {tuple(run[name] for name in kept) for run in runs_of("variance", "--algs=wtrpo")}
    for flags in (("--grid=trust_radius=0.06",), ("--grid=radius_unit=absolute", "--grid=trust_radius=1e-4,1e-3")):
        runs = runs_of("variance_radii", *flags)
        assert runs and {tuple(run[name] for name in kept) for run in runs} < before


def test_cells_of_a_task_stand_in_one_panel(tmp_path):
    ablation.write(measured(tmp_path / "runs"), tmp_path / "out")
    with open(tmp_path / "out" / "curves.csv") as file:
        drawn = {(row["env"], row["alg"]) for row in csv.DictReader(file)}
    cells = {"pg", "wnpg", "ppo", "trpo", "wtrpo"}  # cells that are algorithms have their names, and so their colours
    assert {env for env, _ in drawn} == {"Hopper-v5", "HalfCheetah"}
    assert all({alg for env, alg in drawn if env == task} <= cells | set(COLORS) for task in ("Hopper-v5", "HalfCheetah"))
    assert len(drawn) == 2 * 5
    assert len(set(COLORS.values())) == len(COLORS) and not set(COLORS) & cells
