"""`--env_kwargs`, `--env_wrapper` and the like from the command line to the run's folder, and whom they are trusted from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wng_tf import saved_policy
from wng_tf.errors import UserError

TESTS = Path(__file__).parents[1]
TINY = "--alg=ppo --nsteps=16 --nminibatches=1 --noptepochs=1 --num_hidden=2 --num_layers=1 --num_timesteps=16"


def command(module: str, *flags: str, cwd: Path, path: Path | None = TESTS) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    return subprocess.run(
        [sys.executable, "-m", module, *flags], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def test_options_of_the_environment_go_from_flags_to_everything_that_makes_it(tmp_path):
    options = [
        '--env_kwargs={"scale":  2.0, "limit": 5}',
        "--env_wrapper=held_envs:Scaled",
        "--env_wrapper=held_envs:Shifted",
    ]
    more = ["--lr=linear:1e-3", "--cliprange=linear:0.2", "--eval_interval=16", "--eval_episodes=1", "--target_kl=0.5"]
    run = command("wng_tf.run", *TINY.split(), "--env=held_envs:Drift", *options, *more, "--log_path=run", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    flags = (tmp_path / "run" / "flags.txt").read_text().splitlines()
    assert '--env_kwargs={"limit": 5, "scale": 2.0}' in flags
    assert "--env_wrapper=held_envs:Scaled,held_envs:Shifted" in flags
    assert {"--lr=linear:1e-3", "--cliprange=linear:0.2", "--target_kl=0.5", "--eval_interval=16"} <= set(flags)
    # The file is somebody's: it may name code of a folder only with --trust.
    again = command("wng_tf.run", "--flagfile=run/flags.txt", "--resume", "--num_timesteps=32", cwd=tmp_path)
    assert again.returncode == 2
    assert "held_envs" in again.stderr and "--trust" in again.stderr
    again = command("wng_tf.run", "--flagfile=run/flags.txt", "--resume", "--num_timesteps=32", "--trust", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    found = command("wng_tf.evaluate", "--run=run", "--episodes=2", "--trust", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "length 5.0" in found.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--env_kwargs={scale: 2}"], "is no JSON"),
        (["--env_wrapper=Scaled"], "package.module:name"),
        (["--env_wrapper=held_envs:Skaled"], "no Skaled"),
        (['--env_kwargs={"size": 2}'], "cannot be made with {'size': 2}"),
        (["--eval_interval=-1"], "--eval_interval must be at least 0"),
        (["--lr=fast"], "--lr: 'fast' is not a schedule"),
    ],
)
def test_what_is_wrong_with_them_is_one_sentence_and_leaves_nothing(flags, message, tmp_path):
    run = command("wng_tf.run", *TINY.split(), "--env=held_envs:Drift", *flags, "--log_path=run", cwd=tmp_path)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert not (tmp_path / "run" / "flags.txt").exists()


def test_a_folder_that_names_a_wrapper_is_not_trusted_unasked(tmp_path):
    (tmp_path / "flags.txt").write_text("--alg=ppo\n--env=CartPole-v1\n--env_wrapper=lurking_module:Wrapper\n")
    with pytest.raises(UserError, match="names 'lurking_module:Wrapper'"):
        saved_policy.task(tmp_path)
    (tmp_path / "flags.txt").write_text("--alg=ppo\n--env=CartPole-v1\n--env_wrapper=os:system\n")
    with pytest.raises(UserError, match="standard library"):
        saved_policy.task(tmp_path)
