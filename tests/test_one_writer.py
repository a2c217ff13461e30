"""A run's folder has one writer: a second process is refused in one sentence, and readers are welcome."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from crash_points import everything
from short_runs import TINY, as_flags, episodes, progress, train

from wng_tf import evaluate, export, run
from wng_tf.errors import UserError
from wng_tf.training import checkpoint, run_folder

NAMES = ["ppo on CartPole", "wnes on Point"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("resume", [True, False])
def test_a_second_run_in_a_folder_is_refused_and_the_first_loses_nothing(name, resume, trained, tmp_path):
    whole, folder, refused = trained(name), tmp_path / "run", []

    def intrude(*_) -> None:
        before = everything(folder)
        with pytest.raises(UserError) as error:
            train(name, folder, resume=resume)
        assert everything(folder) == before
        refused.append(str(error.value))

    train(name, folder, callback=intrude)
    expected = f"Another process is at work in '{folder}': wait until it ends, or give another --log_path."
    assert refused and set(refused) == {expected}
    assert progress(folder) == progress(whole) and episodes(folder) == episodes(whole)
    assert not (folder / run_folder.LOCK).exists()


@pytest.mark.parametrize("resume", [True, False])
def test_the_command_says_so_at_once(resume, trained, tmp_path, call):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    flags = as_flags(alg="ppo", env="CartPole-v1", num_timesteps=384, log_path=folder, **TINY)
    with run_folder.writing(folder):
        before = everything(folder)
        code, out, err = call(run.app, *flags, *(["--resume"] if resume else []))
        assert everything(folder) == before
    assert (code, err.count("\n")) == (2, 1) and "Another process is at work in" in err
    assert "Loading TensorFlow" not in out


@pytest.mark.parametrize("name", NAMES)
def test_evaluating_and_exporting_a_run_that_is_at_work(name, trained, tmp_path):
    whole, folder, returns = trained(name), tmp_path / "run", []

    def look(*_) -> None:
        if checkpoint.steps(folder / run_folder.CHECKPOINTS):
            returns.append(evaluate.evaluate_run(folder, episodes=1)["deterministic"]["mean"])
            assert (export.export_run(folder) / "saved_model.pb").exists()

    train(name, folder, callback=look)
    assert returns and np.isfinite(returns).all()
    assert progress(folder) == progress(whole)


def test_a_folder_in_which_nothing_came_to_be_goes(tmp_path):
    with run_folder.writing(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


def test_what_a_kill_before_the_flags_leaves_is_taken(tmp_path):
    """The same command starts again: with a lock that nobody holds, and half of the flags."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").write_text("")
    (folder / ".flags.txt.tmp").write_text("--alg=p")
    train("ppo on CartPole", folder, total_timesteps=64)
    assert run_folder.read_summary(folder)["status"] == "finished"
    assert not list(folder.glob(".*"))
