"""The flagfiles under runs/: what they would run, and that every run would take its flags."""

from __future__ import annotations

from collections import Counter

import gymnasium
import pytest

from tests.sweeps.planned_runs import ROOT, runs_of
from wng_tf import algorithms
from wng_tf.policy_gradient.config import resolve
from wng_tf.sweeps.check import check_settings
from wng_tf.sweeps.grid import Run, parse_override

ROBOSCHOOL = {"Walker2d", "HalfCheetah", "Ant", "Reacher"}
MUJOCO = {"Hopper-v5", "InvertedDoublePendulum-v5"}
METHODS = {"pg", "ppo", "bgpg", "wnpg", "bg_wnpg"}


def test_table1():
    runs = runs_of("table1")
    places = Counter((run["env"], run["alg"]) for run in runs)
    assert set(places) == {(env, alg) for env in ROBOSCHOOL | MUJOCO for alg in METHODS}
    assert set(places.values()) == {5}
    for run in runs:
        # Appendix D.1, and ppo2's defaults for MuJoCo.
        expected = {"num_basis": "5", "epsilon": "1e-5", "nsteps": "2048", "nminibatches": "32", "noptepochs": "10",
                    "lam": "0.95", "gamma": "0.99", "ent_coef": "0", "cliprange": "0.2"}  # fmt: skip
        assert {name: run[name] for name in expected} == expected
        assert float(run["lr"]) in (1e-5, 5e-5, 1e-4, 3e-4)
        assert float(run["num_timesteps"]) == 1e6
        assert run["log_path"].endswith(f"runs/out/table1/{run['env']}/{run['alg']}/seed{run['seed']}")


@pytest.mark.parametrize("name", ["figure2", "figure5"])
def test_figures_of_the_same_runs(name):
    assert runs_of(name) == runs_of("table1")


def test_figure3_is_a_part_of_table1():
    part, table = runs_of("figure3"), runs_of("table1")
    assert {(run["env"], run["alg"]) for run in part} == {(env, "bg_wnpg") for env in ROBOSCHOOL}
    assert all(run in table for run in part)


def test_selection_shares_no_seed_with_what_is_reported():
    selection, table = runs_of("selection"), runs_of("table1")
    assert not {run["seed"] for run in selection} & {run["seed"] for run in table}
    places = Counter((run["env"], run["alg"], float(run["lr"])) for run in selection)
    assert len(places) == 6 * 5 * 4 and set(places.values()) == {2}
    chosen = {"lr", "seed", "log_path"}
    fixed = {tuple(sorted((name, value) for name, value in run.items() if name not in chosen)) for run in selection}
    assert fixed == {tuple(sorted((k, v) for k, v in run.items() if k not in chosen)) for run in table}


def test_a_part_can_be_run_alone():
    assert len(runs_of("table1", "--envs=Hopper-v5", "--algs=ppo,wnpg", "--seeds=0")) == 2


def test_defaults_are_those_of_the_appendix():
    """So that a run without its flagfile is the paper's, and runs/why.flags changes one thing at a time.

    But for the features of the penalty, whose limit is the default: runs/results/penalty_accuracy.
    """
    run = next(run for run in runs_of("selection") if run["alg"] == "wnpg")
    config = resolve(algorithms.find("wnpg"), "mujoco", {})
    theirs = {name: value for name, value in run.items() if hasattr(config, name) and name != "lr"}
    assert len(theirs) > 20
    assert (float(theirs.pop("num_features")), config.num_features) == (100, 0)
    for name, value in theirs.items():
        ours = getattr(config, name)
        assert ours == (value if isinstance(ours, str) else type(ours)(float(value))), name


CHANGES = [
    (["--grid=damping=fixed", "--grid=embedding=actions", "--set=epsilon=0.1"], 8),
    (
        ["--envs=InvertedDoublePendulum-v5", "--grid=damping=fixed", "--grid=embedding=state_actions",
         "--set=epsilon=0.1,num_basis=50,num_actions=1"],
        4,
    ),
    (["--grid=damping=fixed", "--grid=preconditioner=wasserstein_exact", "--set=epsilon=0.1"], 8),
    (["--grid=diagonal_damping=false"], 8),
    (["--algs=wtrpo", "--grid=lr=1e-3"], 4),
    (["--algs=pg,ppo,wnpg", "--envs=InvertedDoublePendulum-v5", "--grid=lr=linear:1e-4,linear:3e-4"], 12),
]  # fmt: skip


@pytest.mark.parametrize(("change", "count"), CHANGES)
def test_why_runs_on_the_tasks_and_seeds_of_the_selection_and_no_further(change, count):
    text = (ROOT / "runs" / "why.flags").read_text().replace(" \\\n#    ", "")
    assert " ".join(["--flagfile=runs/why.flags", *change]) in text, "the command is the one that the flagfile shows"
    runs, selection = runs_of("why", *change), runs_of("selection")
    assert len(runs) == count
    furthest = {(run["env"], run["seed"]): float(run["num_timesteps"]) for run in selection}
    assert all(float(run["num_timesteps"]) <= furthest[run["env"], run["seed"]] for run in runs)


TUNED = {"ppo", "trpo", "wtrpo", "wnpg", "bg_wnpg"}


def test_the_benchmark_has_the_tuned_settings_of_each_method():
    """Those that a single run takes by `--flagfile=tuned/trpo.flags`, but for the exceptions that the flagfile names."""
    runs = runs_of("benchmark_v5", f"--algs={','.join(sorted(TUNED))}", "--seeds=0,1")
    assert len(runs) == 8 * len(TUNED) * 2 and {run["alg"] for run in runs} == TUNED
    for run in runs:
        lines = (ROOT / "runs" / "tuned" / f"{run['alg']}.flags").read_text().splitlines()
        tuned = dict(line.removeprefix("--").split("=", 1) for line in lines if line.startswith("--"))
        exceptions = {"HalfCheetah-v5": {"trust_radius"}, "Swimmer-v5": {"gamma"}}.get(run["env"], set())
        different = {name for name, value in tuned.items() if run[name] != value}
        expected = exceptions & tuned.keys() if run["alg"] in ("trpo", "wtrpo") else exceptions & {"gamma"}
        by_coordinates = {"trust_radius", "cg_damping"} if run["alg"] == "trpo" else set()
        assert different - by_coordinates == expected - by_coordinates, run
        if run["alg"] == "trpo":
            # sb3-contrib's KL divergence is the mean over an action's coordinates; radius 0.01, damping 0.1.
            coordinates = gymnasium.make(run["env"]).action_space.shape[0]
            zoo = 0.04 if run["env"] == "HalfCheetah-v5" else 0.01
            assert float(run["trust_radius"]) == pytest.approx(coordinates * zoo), run
            assert float(run["cg_damping"]) == pytest.approx(coordinates * 0.1) and run["cg_damping_unit"] == "absolute", run


@pytest.mark.parametrize("alg", sorted(TUNED))
def test_tuned_settings_have_effects_and_are_found_from_any_folder(alg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = parse_override(f"alg={alg}:flagfile=tuned/{alg}.flags").settings
    assert check_settings(Run(alg, "Hopper-v5", 0, settings=tuple(settings.items()))) == set()
