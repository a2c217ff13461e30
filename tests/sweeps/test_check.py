"""Flags are refused before a sweep starts, with the run and the reason."""

from __future__ import annotations

import pytest

from tests.sweeps.planned_runs import ROOT
from wng_tf import sweep
from wng_tf.errors import UserError
from wng_tf.sweeps.check import check_settings
from wng_tf.sweeps.grid import Run


def run(alg: str, env: str = "Hopper-v5", **settings: str) -> Run:
    return Run(alg, env, 0, settings=tuple(settings.items()))


def test_flags_of_both_families_pass():
    check_settings(run("bg_wnpg", lr="linear:3e-4", nsteps="1e3", nminibatches="10", normalize_observations="false"))
    check_settings(run("bges", "Point", population="20", sigma="0.1", num_timesteps="1e6", network="mlp"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (run("ppo", nstep="64"), "ppo seed 0: there is no flag --nstep for this algorithm. Did you mean nsteps"),
        (run("ppo", population="64"), "there is no flag --population"),
        (run("es", "Point", cliprange="0.1"), "there is no flag --cliprange"),
        (run("ppo", nsteps="many"), "--nsteps must be a number"),
        (run("ppo", nsteps="1.5"), "--nsteps must be a whole number"),
        (run("ppo", nsteps="inf"), "--nsteps must be finite"),
        (run("ppo", gamma="2"), "--gamma must be at most 1"),
        (run("ppo", nsteps="100", nminibatches="32"), "does not divide"),
        (run("ppo", normalize_observations="maybe"), "--normalize_observations must be true or false"),
        (run("ppo", surrogate="wide"), "--surrogate must be one of"),
        (run("ppo", network="wide"), "Unknown network 'wide'"),
        (run("es", "Point", network="wide"), "--network must be one of"),
        (run("wnpg", embedding="nowhere"), "'nowhere'"),
        (run("wnes", "Point", embedding="nowhere"), "'nowhere'"),
        (run("ppo", lr="steep:3e-4"), "steep"),
        (run("es", "Point", lr="steep:3e-4"), "steep"),
        (run("ppo", num_timesteps="0"), "--num_timesteps must be a positive number"),
        (run("ppo", num_timesteps="inf"), "--num_timesteps must be a positive number"),
        (run("ppo", num_timesteps="1.5"), "--num_timesteps must be a whole number, not 1.5"),
        (run("es", "Point", num_timesteps="1e-3"), "--num_timesteps must be a whole number, not 0.001"),
        (run("ppo", num_threads="1.5"), "--num_threads must be a whole number, not 1.5"),
        (run("ppo", progress="maybe"), "--progress must be true or false, not 'maybe'"),
        (run("ppo", num_threads="0"), "--num_threads must be at least 1, not 0"),
        (run("es", "Point", num_threads="4096"), "--num_threads must be at most 1024, not 4096"),
        (run("es", "Point", population="2.5"), "--population must be a whole number, not 2.5"),
        (Run("ppo", "Hopper-v5", 2**64), "--seed must be between 0 and 2**64 - 1"),
    ],
)
def test_what_a_run_would_refuse(wrong, sentence):
    with pytest.raises(UserError) as error:
        check_settings(wrong)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_which_flags_have_no_effect():
    common = {"num_basis": "50", "trust_radius": "0.1", "lr": "1e-4", "num_timesteps": "1e5"}
    assert check_settings(run("ppo", **common)) == {"num_basis", "trust_radius"}
    assert check_settings(run("wnpg", **common)) == {"trust_radius"}
    assert check_settings(run("trpo", preconditioner="wasserstein", **common)) == set()
    assert check_settings(run("es", "Point", num_basis="9", sigma="0.1")) == {"num_basis"}
    assert check_settings(run("ppo", network="cnn", num_hidden="9")) == {"num_hidden"}


GRID = ["--envs=Hopper-v5", "--log_path=nowhere", "--dry_run"]


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--algs=ppo", "--grid=trust_radius=0.1,0.2"], "--grid=trust_radius has no effect with ppo"),
        (["--algs=ppo,pg", "--set=num_basis=9,lam=0.9"], "--set=num_basis has no effect with ppo, pg"),
        (["--algs=es,bges", "--grid=delta=-1,0"], "--grid=delta has no effect with es, bges"),
        (["--algs=ppo,es", "--set=eval_episodes=3"], "--set=eval_episodes has no effect with ppo, es"),
        (["--algs=ppo", "--grid=eval_episodes=3,5"], "--grid=eval_episodes has no effect with ppo"),
        (["--algs=trpo", "--grid=radius_unit=absolute,variance"], "--grid=radius_unit has no effect with trpo"),
        (["--algs=ppo", "--stall_minutes=nan"], "--stall_minutes must be at least 0, not nan"),
        (["--algs=ppo", "--jobs=0.5"], "'0.5' is not a whole number"),
        (["--algs=ppo", "--ray_address=auto"], "--ray_address has no effect: it goes with --engine=ray."),
    ],
)
def test_what_is_swept_or_typed_has_an_effect_in_some_run(flags, name, call):
    outcome = call(sweep.app, *GRID, *flags)
    assert outcome.code == 2 and name in outcome.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ["--algs=ppo,trpo", "--grid=trust_radius=0.1,0.2"],
        ["--algs=ppo,wnpg", "--set=num_basis=9"],
        ["--flagfile=runs/appendix_d1.flags", "--algs=ppo"],
    ],
)
def test_settings_of_some_algorithms_are_taken_by_all(flags, call, monkeypatch):
    monkeypatch.chdir(ROOT)
    outcome = call(sweep.app, *GRID, *flags)
    assert (outcome.code, outcome.stderr) == (0, "")
