"""`python -m baselines_compat.run`: Baselines' command line, and what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest

import wng_tf
from baselines_compat import logger
from baselines_compat import run as baselines_run
from wng_tf.algorithms import POLICY_GRADIENTS

SHORT = ("--env=CartPole-v1", "--num_timesteps=128", "--num_hidden=8", "--seed=3")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--alg=ppo2", "--env=Hopper-v5"], ["--alg=ppo", "--env=Hopper-v5", "--num_timesteps=1000000"]),
        (
            ["--alg=trpo_mpi", "--env=Ant-v5", "--num_timesteps=2e5", "--max_kl=0.01", "--timesteps_per_batch", "1024"],
            ["--alg=trpo", "--env=Ant-v5", "--num_timesteps=200000", "--trust_radius=0.01", "--nsteps=1024"],
        ),
        (
            ["--alg=trpo_mpi", "--env=A", "--cg_damping=0.1"],
            ["--alg=trpo", "--env=A", "--num_timesteps=1000000", "--cg_damping=0.1", "--cg_damping_unit=absolute"],
        ),
        (
            ["--alg=trpo_mpi", "--env=A", "--cg_damping=0.1", "--cg_damping_unit=curvature"],
            ["--alg=trpo", "--env=A", "--num_timesteps=1000000", "--cg_damping=0.1", "--cg_damping_unit=curvature"],
        ),
        (
            ["--alg=trpo", "--env=A", "--cg_damping=0.1"],
            ["--alg=trpo", "--env=A", "--num_timesteps=1000000", "--cg_damping=0.1"],
        ),
        (
            ["--alg=ppo1", "--env=A", "--clip_param=0.1", "--entcoeff=0.02", "--optim_epochs=3", "--optim_stepsize=1e-3"],
            [
                "--alg=ppo",
                "--env=A",
                "--num_timesteps=1000000",
                "--cliprange=0.1",
                "--ent_coef=0.02",
                "--noptepochs=3",
                "--lr=1e-3",
            ],
        ),
        (
            ["--alg=wnpg", "--env=A", "--network=mlp", "--num_env=2", "--seed=4", "--activation=tf.nn.relu", "--play"],
            [
                *("--alg=wnpg", "--env=A", "--num_timesteps=1000000", "--seed=4", "--network=mlp", "--num_env=2"),
                *("--play", "--activation=relu"),
            ],
        ),
        (
            ["--env=A", "--num_timesteps=0", "--load_path=~/a.npz", "--save_path=b", "--log_path=c"],
            ["--alg=ppo", "--env=A", "--num_timesteps=0", "--log_path=c", "--save_path=b", "--load_path=~/a.npz"],
        ),
    ],
)
def test_arguments_of_baselines_are_translated(given, expected):
    assert baselines_run.arguments(given, {}) == expected


def test_the_run_s_folder_is_that_of_the_logger():
    assert "--log_path=/a" in baselines_run.arguments(["--env=A"], {"OPENAI_LOGDIR": "/a"})
    assert "--log_path=/b" in baselines_run.arguments(["--env=A", "--log_path=/b"], {"OPENAI_LOGDIR": "/a"})


def test_whole_numbers_in_every_form():
    line = baselines_run.arguments(["--env=A", "--num_timesteps=2.5e3", "--seed=1e3", "--num_env=4.0"], {})
    assert {"--num_timesteps=2500", "--seed=1000", "--num_env=4"} <= set(line)
    assert f"--seed={2**64 - 1}" in baselines_run.arguments(["--env=A", f"--seed={2**64 - 1}"], {})


def test_names_stand_for_algorithms_that_there_are():
    assert set(baselines_run.ALGORITHMS.values()) <= set(POLICY_GRADIENTS)
    assert not set(baselines_run.MISSING) & set(POLICY_GRADIENTS)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        *((f"--alg={name}", "is not here: choose ppo2, ppo1, trpo_mpi") for name in baselines_run.MISSING),
        ("--alg=nothing", "nothing"),
        ("--env_type=atari", "AtariPreprocessing"),
        ("--gamestate=1", "leave it out"),
        ("--reward_scale=0.1", "--normalize_rewards=false"),
        ("--save_video_interval=100", "--video"),
        ("nsteps=128", "--name=value"),
        ("--num_timesteps=abc", "error: --num_timesteps must be a number, not 'abc'.\n"),
        ("--num_timesteps=1.5", "error: --num_timesteps must be a whole number, not 1.5.\n"),
        ("--num_timesteps=nan", "error: --num_timesteps must be a whole number, not nan.\n"),
        ("--num_timesteps=inf", "error: --num_timesteps must be a whole number, not inf.\n"),
        ("--num_timesteps=1e-3", "error: --num_timesteps must be a whole number, not 0.001.\n"),
        ("--seed=1.5", "error: --seed must be a whole number, not '1.5'.\n"),
        ("--nsteps=64.5", "'64.5' is not a whole number"),
        ("--num_env=2.5", "error: --num_env must be a whole number, not '2.5'.\n"),
        ("--seed=x", "error: --seed must be a whole number, not 'x'.\n"),
        ("--reward_scale=x", "error: --reward_scale must be a number, not 'x'.\n"),
        ("--network", "error: --network: expected one argument.\n"),
        ("--learning_rate=1e-3", "learning_rate"),
    ],
)
def test_what_is_not_supported_is_refused_in_a_sentence(flag, sentence, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = call(baselines_run.main, *SHORT, flag)
    assert outcome.code == 2
    assert outcome.stderr.startswith("error: ") and outcome.stderr.count("\n") == 1
    assert sentence in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_a_program_that_is_not_installed(call, monkeypatch):
    monkeypatch.setattr(baselines_run, "PROGRAM", "no_such_package:main")
    outcome = call(baselines_run.main, *SHORT)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "no_such_package" in outcome.stderr


def test_trains_saves_and_begins_again_from_what_was_saved(call, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_LOGDIR", str(tmp_path / "first"))
    flags = (*SHORT, "--alg=ppo2", "--nsteps=64", "--nminibatches=2", "--noptepochs=1")
    trained = call(baselines_run.main, *flags, "--network=mlp", f"--save_path={tmp_path / 'models' / 'cartpole'}")
    assert trained.code == 0, trained.stderr
    saved = wng_tf.load(tmp_path / "models" / "cartpole")
    own = wng_tf.load(tmp_path / "first")
    np.testing.assert_array_equal(saved.get_flat(), own.get_flat())
    actions, values, states, neglogpacs = saved.step(np.zeros(4))
    assert (np.shape(values), states, np.shape(neglogpacs)) == (np.shape(actions), None, np.shape(actions))
    assert len(logger.read_csv(tmp_path / "first" / "progress.csv")) == 2

    again = call(
        baselines_run.main, *flags, f"--load_path={tmp_path / 'models' / 'cartpole'}", f"--log_path={tmp_path / 'second'}"
    )
    assert again.code == 0, again.stderr
    assert not np.array_equal(wng_tf.load(tmp_path / "second").get_flat(), own.get_flat())


def test_a_folder_is_no_file_to_save_to(call, tmp_path):
    outcome = call(baselines_run.main, *SHORT, "--alg=ppo2", f"--save_path={tmp_path}", f"--log_path={tmp_path / 'run'}")
    assert outcome.code == 2 and "--save_path" in outcome.stderr
    assert not (tmp_path / "run").exists()
