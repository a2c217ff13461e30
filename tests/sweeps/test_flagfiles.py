"""The flagfiles under runs/: what they would run, and that every run would take its flags."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROBOSCHOOL = {"Walker2d", "HalfCheetah", "Ant", "Reacher"}
MUJOCO = {"Hopper-v5", "InvertedDoublePendulum-v5"}
METHODS = {"pg", "ppo", "bgpg", "wnpg", "bg_wnpg"}


@functools.cache
def runs_of(name: str, *flags: str) -> list[dict[str, str]]:
    """Flags of every run; the sweep itself checks that they are ones that the run takes."""
    command = [sys.executable, "-m", "wng_tf.sweep", f"--flagfile=runs/{name}.flags", "--dry_run", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    words = [shlex.split(line)[3:] for line in done.stdout.splitlines()]
    return [dict(word.removeprefix("--").split("=", 1) for word in line) for line in words]


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
        assert float(run["num_timesteps"]) == (2e5 if run["env"] == "InvertedDoublePendulum-v5" else 1e6)
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
    chosen = {"lr", "seed", "num_timesteps", "log_path"}
    fixed = {tuple(sorted((name, value) for name, value in run.items() if name not in chosen)) for run in selection}
    assert fixed == {tuple(sorted((k, v) for k, v in run.items() if k not in chosen)) for run in table}


def test_a_part_can_be_run_alone():
    assert len(runs_of("table1", "--envs=Hopper-v5", "--algs=ppo,wnpg", "--seeds=0")) == 2
