"""The grid against a plain loop, its small languages, and folder names that never meet."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wng_tf.errors import UserError
from wng_tf.sweeps.grid import Grid, Run, parse_axes, parse_override, parse_seeds, parse_settings


def test_runs_are_the_product_in_a_fixed_order():
    grid = Grid(["ppo", "wnpg"], ["A-v0", "B-v0"], [0, 1], axes={"lr": ("1", "2"), "lam": ("3",)})
    expected = []
    for env in ("A-v0", "B-v0"):
        for seed in (0, 1):
            for alg in ("ppo", "wnpg"):
                for lr in ("1", "2"):
                    expected.append(Run(alg, env, seed, (("lr", lr), ("lam", "3"))))
    assert grid.runs() == expected


def test_folder_follows_from_the_place_in_the_grid():
    run = Run("bg_wnpg", "wng_tf/Point-v0", 3, (("lr", "linear:3e-4"), ("lam", "0.9")))
    assert run.name == "wng_tf_Point-v0/bg_wnpg/lr=linear_3e-4,lam=0.9/seed3"
    assert Run("ppo", "Hopper-v5", 0).name == "Hopper-v5/ppo/seed0"


@given(st.lists(st.sampled_from(["a/b", "a:b", "a_b", "ab", "a-b"]), min_size=1, max_size=5))
def test_no_two_runs_share_a_folder(envs):
    grid = Grid(["ppo"], envs, [0, 1])
    try:
        runs = grid.runs()
    except UserError:
        assert len({"a/b", "a:b", "a_b"} & set(envs)) > 1
    else:
        assert len({run.name for run in runs}) == len(runs) == 2 * len(set(envs))


def test_flags_of_a_run():
    grid = Grid(["ppo"], ["A-v0"], [7], axes={"lr": ("1e-4",)}, settings={"nsteps": "64", "num_timesteps": "2e5"})
    (run,) = grid.runs()
    assert run.flags() == ["--alg=ppo", "--env=A-v0", "--seed=7", "--nsteps=64", "--num_timesteps=2e5", "--lr=1e-4"]
    assert run.total_timesteps() == 200_000
    assert Run("ppo", "A-v0", 0).total_timesteps() is None


def test_overrides_apply_where_all_conditions_hold_and_later_ones_win():
    texts = ("env=A-v0:lr=1", "env=A-v0,alg=ppo|pg:lr=2", "alg=wnpg,seed=1:lr=3,lam=4")
    overrides = [parse_override(text) for text in texts]
    grid = Grid(["ppo", "wnpg"], ["A-v0", "B-v0"], [0, 1], settings={"lr": "0"}, overrides=overrides)
    found = {(run.env, run.alg, run.seed): dict(run.settings) for run in grid.runs()}
    for env, alg, seed in itertools.product(("A-v0", "B-v0"), ("ppo", "wnpg"), (0, 1)):
        expected = {"lr": "0"}
        if env == "A-v0":
            expected["lr"] = "1"
        if env == "A-v0" and alg == "ppo":
            expected["lr"] = "2"
        if alg == "wnpg" and seed == 1:
            expected |= {"lr": "3", "lam": "4"}
        assert found[env, alg, seed] == expected


def test_override_on_an_axis():
    overrides = [parse_override("lr=1:nsteps=5"), parse_override("alg=trpo:nsteps=6")]
    grid = Grid(["ppo"], ["A-v0"], [0], axes={"lr": ("1", "2")}, overrides=overrides)
    assert [dict(run.settings) for run in grid.runs()] == [{"nsteps": "5"}, {}]


def test_values_keep_their_commas_and_colons():
    override = parse_override("env=my.module:Id-v0,alg=ppo:lr=linear:3e-4,hidden=64,64,lam=0.9")
    assert override.conditions == {"env": ("my.module:Id-v0",), "alg": ("ppo",)}
    assert override.settings == {"lr": "linear:3e-4", "hidden": "64,64", "lam": "0.9"}
    assert parse_settings(["hidden=64,64,lam=0.9", "lam=0.8"]) == {"hidden": "64,64", "lam": "0.8"}
    assert parse_axes(["lr=linear:3e-4,1e-4"]) == {"lr": ("linear:3e-4", "1e-4")}


def test_seeds():
    assert parse_seeds(["0-2", "7", "9-9"]) == parse_seeds(["0-2,7,9-9"]) == [0, 1, 2, 7, 9]
    assert parse_seeds(["0,0", "1-2,2-3"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-2-3", "1.5"])
def test_bad_seeds(text):
    with pytest.raises(UserError, match="seed"):
        parse_seeds([text])


@pytest.mark.parametrize(
    "make",
    [
        lambda: parse_axes(["lr"]),
        lambda: parse_axes(["lr="]),
        lambda: parse_axes(["lr=1,,2"]),
        lambda: parse_settings(["=3"]),
        lambda: parse_settings(["--lr=3"]),
        lambda: parse_override("env=A-v0"),
        lambda: parse_override("lr=1"),
        lambda: parse_override("A-v0:lr=1"),
        lambda: Grid([], ["A-v0"], [0]).runs(),
        lambda: Grid(["ppo"], [], [0]).runs(),
        lambda: Grid(["ppo"], ["A-v0"], []).runs(),
        lambda: Grid(["ppo"], ["A-v0"], [0], axes={"seed": ("1",)}).runs(),
        lambda: Grid(["ppo"], ["A-v0"], [0], settings={"log_path": "x"}).runs(),
        lambda: Grid(["ppo"], ["A-v0"], [0], axes={"lr": ("1",)}, settings={"lr": "1"}).runs(),
        lambda: Grid(["ppo"], ["A-v0"], [0], axes={"lr": ("1",)}, overrides=[parse_override("env=A-v0:lr=1")]).runs(),
        lambda: Grid(["ppo"], ["A-v0"], [0], overrides=[parse_override("lam=1:lr=1")]).runs(),
    ],
)
def test_bad_grids_are_one_sentence(make):
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)


def test_settings_come_from_a_file_of_a_run(tmp_path):
    file = tmp_path / "trpo.flags"
    file.write_text("# tuned\n--alg=trpo\n--lr=1e-3\n-nsteps=1024\n")
    override = parse_override(f"env=Hopper-v5,alg=trpo:flagfile={file},nsteps=512")
    assert override.settings == {"lr": "1e-3", "nsteps": "512"}
    file.write_text("--lr=1e-3\n")
    assert parse_settings(["lr=1,lam=0.9", f"flagfile={file}"]) == {"lr": "1e-3", "lam": "0.9"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("alg=ppo:flagfile={}", "is for --alg=trpo: write --override=alg=trpo:flagfile="),
        ("alg=ppo|trpo:flagfile={}", "is for --alg=trpo"),
        ("env=Hopper-v5:flagfile={}", "is for --alg=trpo"),
        ("alg=trpo:flagfile={}-none", "cannot be read"),
    ],
)
def test_a_file_of_settings_that_is_not_there_or_of_another_algorithm(text, sentence, tmp_path):
    file = tmp_path / "trpo.flags"
    file.write_text("--alg=trpo\n")
    with pytest.raises(UserError, match=sentence):
        parse_override(text.format(file))
