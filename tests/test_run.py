"""`wng_tf.run`: one command gives a policy, curves, checkpoints and an exported model, in a folder that repeats it."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_runs import TINY, as_flags, assert_same_state, episodes, progress, train, uncompiled

from baselines_compat import logger
from wng_tf import run
from wng_tf.training import checkpoint, run_folder

BASELINES_COLUMNS = {
    *("eprewmean", "eplenmean", "fps", "misc/total_timesteps", "misc/nupdates", "misc/time_elapsed"),
    *("loss/policy_loss", "loss/value_loss", "loss/policy_entropy", "loss/approxkl", "loss/clipfrac"),
    "misc/explained_variance",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return {}


@pytest.fixture
def first(made, call, tmp_path_factory) -> tuple[Path, Any]:
    """The folder of a run and how its command ended; run by the first test that asks."""
    if not made:
        folder = tmp_path_factory.mktemp("run") / "first"
        settings = dict(alg="ppo", env="CartPole-v1", num_timesteps="1.5e2", log_path=folder)
        with uncompiled():
            made["run"] = folder, call(run.app, *as_flags(**TINY, **settings))
    return made["run"]


def test_one_command_gives_everything(first):
    folder, outcome = first
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout.endswith(f"Exported to {folder / 'export'}\n")
    assert "| misc/total_timesteps    | 192 " in outcome.stdout
    names = {path.name for path in folder.iterdir()}
    files = {"flags.txt", "versions.json", "log.txt", "progress.csv", "progress.json", "0.monitor.csv", "summary.json"}
    assert names == files | {"tb", "checkpoints", "export"}
    assert checkpoint.latest_step(folder / "checkpoints") == 192
    assert (folder / "export" / "saved_model.pb").exists()
    summary = run_folder.read_summary(folder)
    expected = {"status": "finished", "alg": "ppo", "env": "CartPole-v1", "seed": 0, "total_timesteps": 192}
    assert expected.items() <= summary.items()
    returns = [float(r) for r, _ in episodes(folder)["0.monitor.csv"]]
    assert summary["episodes"] == len(returns) and summary["eprewmean"] == pytest.approx(np.mean(returns))


def test_the_flags_it_wrote_repeat_it(first, call, tmp_path):
    (first, _), second = first, tmp_path / "second"
    with uncompiled():
        outcome = call(run.app, f"--flagfile={first / 'flags.txt'}", f"--log_path={second}")
    assert outcome.code == 0
    assert progress(second) == progress(first)
    assert episodes(second) == episodes(first)
    (_, state), (_, other) = (checkpoint.load(folder / "checkpoints") for folder in (first, second))
    assert_same_state(state["learner"], other["learner"])
    differing = set(run_folder.read_flags(first)) ^ set(run_folder.read_flags(second))
    assert {flag.partition("=")[0] for flag in differing} == {"--log_path"}


def test_rows_have_the_columns_of_baselines_and_the_evidence(trained):
    ppo, natural = (progress(trained(name)) for name in ("ppo on CartPole", "bg_wnpg on pendulum"))
    with open(trained("ppo on CartPole") / "progress.csv", newline="") as file:
        assert set(csv.DictReader(file).fieldnames) >= BASELINES_COLUMNS
    assert not any(name.startswith("wng/") for name in ppo[0])
    assert {"wng/cosine", "wng/effective_rank", "wng/epsilon", "wng/residual", "wng/guarded"} <= natural[0].keys()
    assert [int(row["misc/total_timesteps"]) for row in ppo] == [64, 128, 192, 256, 320, 384]
    assert [int(row["misc/nupdates"]) for row in ppo] == [1, 2, 3, 4, 5, 6]


def test_monitor_files_account_for_the_steps(trained):
    folder = trained("ppo on Hopper")
    files = episodes(folder)
    assert list(files) == ["0.monitor.csv", "1.monitor.csv"]
    _, state = checkpoint.load(folder / "checkpoints")
    for i, rows in enumerate(files.values()):
        still_open = len(state["learner"]["env"]["environments"][i]["played"])
        assert sum(int(length) for _, length in rows) + still_open == 384
    returns = [float(r) for rows in files.values() for r, _ in rows]
    assert float(progress(folder)[-1]["eprewmean"]) == pytest.approx(np.mean(returns), rel=1e-6)
    assert len(returns) < 100, "the mean above is over all episodes"


def test_tensorboard_shows_the_same_numbers_and_the_settings(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    folder = trained("bg_wnpg on pendulum")
    events = EventAccumulator(str(folder / "tb")).Reload()
    with open(folder / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    tags = events.Tags()["scalars"]
    for name in rows[0]:
        shown = [(event.step, event.value) for event in events.Scalars(name)] if name in tags else []
        expected = [(int(row["misc/total_timesteps"]), float(row[name])) for row in rows if row[name]]
        assert [step for step, _ in shown] == [step for step, _ in expected], name
        np.testing.assert_allclose([v for _, v in shown], [v for _, v in expected], rtol=1e-6, err_msg=name)
    (content,) = (events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content,)
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hparams["alg"].string_value == "bg_wnpg" and hparams["num_env"].number_value == 2
    assert hparams["diagonal_damping"].bool_value is True


def test_versions_say_what_ran_without_naming_the_machine(first):
    folder, _ = first
    text = (folder / "versions.json").read_text()
    assert {"python", "tensorflow", "numpy", "gymnasium", "command", "git_commit"} <= json.loads(text).keys()
    assert str(folder.parent) not in text


def test_help_is_complete_and_loads_no_tensorflow():
    program = (
        "import sys; from wng_tf import run\nsys.argv = ['run', '--help']\ntry: run.app()\nexcept SystemExit as exit:"
        " print(exit.code, sorted({'tensorflow', 'keras', 'mujoco', 'pybullet'} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout.endswith("\n0 []\n") and outcome.stderr == ""
    from wng_tf.evolution.config import EvolutionConfig
    from wng_tf.policy_gradient.config import PolicyGradientConfig

    shown = {word.removeprefix("--").replace("[no]", "") for word in outcome.stdout.split() if word.startswith("--")}
    for config in (PolicyGradientConfig, EvolutionConfig):
        assert set(config.__dataclass_fields__) <= shown
    assert {"alg", "env", "num_timesteps", "seed", "network", "log_path", "resume", "num_threads"} <= shown


def test_progress_bar_where_it_is_asked_for(capfd):
    train("ppo on CartPole", None, progress=True, total_timesteps=128)
    assert "128/128" in capfd.readouterr().err


def test_without_a_folder_nothing_is_written_and_where_nobody_looks_there_is_no_bar(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    train("ppo on CartPole", None, total_timesteps=64)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_a_log_that_the_caller_configured_is_used_and_left(tmp_path):
    with logger.scoped_configure(tmp_path, ["csv"]):
        configured = logger.get_current()
        train("ppo on CartPole", None, lr="linear:1e-3", total_timesteps=256)
        assert logger.get_current() is configured
    rates = [float(row["misc/lr"]) for row in progress(tmp_path)]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_what_a_short_name_became_is_said(call, tmp_path):
    folder, seed = tmp_path / "run", 2**53 + 1
    flags = {**TINY, "alg": "ppo", "env": "Hopper", "num_timesteps": 64, "seed": seed}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=folder))
    assert outcome.code == 0 and outcome.stdout.startswith("Hopper is wng_tf/HopperBullet-v0\n")
    assert "ppo on Hopper (wng_tf/HopperBullet-v0)" in (folder / "log.txt").read_text()
    assert outcome.stderr == "", "PyBullet's chatter would stand in a pipe"
    assert f"--seed={seed}" in run_folder.read_flags(folder), "long seeds are not rounded"


def test_numbers_before_the_first_episode_ends_are_left_out(tmp_path):
    train("ppo on CartPole", tmp_path / "run", env="Pendulum-v1", total_timesteps=64)
    (row,) = progress(tmp_path / "run")
    assert row["eprewmean"] == ""
    rows = [json.loads(line) for line in (tmp_path / "run" / "progress.json").read_text().splitlines()]
    assert rows[0]["eprewmean"] is None and math.isfinite(rows[0]["loss/value_loss"])
    assert run_folder.read_summary(tmp_path / "run")["eprewmean"] is None
