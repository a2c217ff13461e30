"""What a resume refuses leaves the folder as it was, and a finished run finished; a run is finished when all is there."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from crash_points import account, everything
from short_runs import train

from wng_tf import export, saved_policy
from wng_tf.errors import UserError
from wng_tf.training import checkpoint, run_folder

NAMES = ["ppo on CartPole", "wnes on Point"]


@pytest.fixture
def finished(request, trained, tmp_path) -> tuple[str, Path]:
    folder = tmp_path / "run"
    shutil.copytree(trained(request.param), folder)
    return request.param, folder


def newest(folder: Path) -> Path:
    return max((folder / run_folder.CHECKPOINTS).glob("checkpoint-*.npz"))


def change(folder: Path, *place: str, to) -> None:
    """Another value in the newest checkpoint, which stays whole."""
    directory = folder / run_folder.CHECKPOINTS
    step, state = checkpoint.load(directory)
    node = state
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = to(node[place[-1]])
    checkpoint.save(directory, step, state, keep=None)


def other_flags(folder: Path) -> str:
    return "--seed=0, not --seed=1"


def damaged(folder: Path) -> str:
    newest(folder).write_bytes(newest(folder).read_bytes()[:-100])
    return "is damaged .*: delete it to continue from the one before it"


def damaged_best(folder: Path) -> str:
    (folder / "checkpoints" / "best.npz").write_bytes(b"best")
    return "best.npz' is damaged .*: delete it to continue without it"


def other_network(folder: Path) -> str:
    """A run of another size with this one's flags."""

    def edit(text: str) -> str:
        return "\n".join("--num_hidden=5" if line.startswith("--num_hidden") else line for line in text.splitlines())

    (folder / "flags.txt").write_text(edit((folder / "flags.txt").read_text()))
    return r"is not one of this run \(learner/.* is float\d\d\[\d+\], not float\d\d\[\d+\]\)"


def no_learner(folder: Path) -> str:
    change(folder, "learner", to=lambda learner: [1.0])
    return "is not one of this run"


def no_run(folder: Path) -> str:
    change(folder, "run", to=lambda state: {"best": 1.0})
    return r"is not one of this run \('episodes' is missing\)"


def lost_episodes(folder: Path) -> str:
    file = folder / "0.monitor.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))
    return rf"0.monitor.csv' has {len(lines) - 3} of the {len(lines) - 2} episodes"


def lost_rows(folder: Path) -> str:
    file = folder / "progress.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2] + lines[3:]))
    return rf"progress.csv' has {len(lines) - 2} of the {len(lines) - 1} rows that were logged: restore it, or delete it"


def damaged_log(folder: Path) -> str:
    file = folder / "progress.json"
    file.write_text(file.read_text().replace("{", "", 1))
    return "progress.json' is damaged .*: restore it, or delete it"


def damaged_versions(folder: Path) -> str:
    (folder / "versions.json").write_text("[]")
    return "versions.json' is damaged"


FAULTS = [other_flags, damaged, damaged_best, other_network, no_learner, no_run, lost_episodes, lost_rows, damaged_log,
          damaged_versions]  # fmt: skip


@pytest.mark.parametrize("finished", NAMES, indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_refused_resume_changes_nothing(fault, finished):
    name, folder = finished
    complaint = fault(folder)
    before = everything(folder)
    settings = {other_flags: {"seed": 1}, other_network: {"num_hidden": 5}}.get(fault, {})
    with pytest.raises(UserError, match=complaint) as error:
        train(name, folder, resume=True, **settings)
    assert "\n" not in str(error.value)
    assert everything(folder) == before
    assert run_folder.read_summary(folder)["status"] == "finished"


@pytest.mark.parametrize("finished", NAMES, indirect=True)
def test_what_is_gone_is_said_and_begun_anew(finished, capfd):
    name, folder = finished
    (folder / "progress.csv").unlink()
    (folder / "0.monitor.csv").write_text("")
    train(name, folder, resume=True)
    text = capfd.readouterr().out
    for file in ("progress.csv", "0.monitor.csv"):
        assert f"'{file}' is gone or empty: what it held up to step" in text
    train(name, folder, resume=True)  # which is no fault for ever


@pytest.mark.parametrize("finished", NAMES, indirect=True)
def test_a_blank_line_costs_no_episode(finished):
    name, folder = finished
    file = folder / "0.monitor.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], "\n", *lines[3:]]))
    train(name, folder, resume=True)
    assert file.read_text() == "".join(lines)


@pytest.mark.parametrize("finished", NAMES, indirect=True)
@pytest.mark.parametrize("what", [["theta"], ["policy"]])
def test_a_checkpoint_that_does_not_fit_together_makes_no_policy(what, finished):
    name, folder = finished
    place = ["learner", "policy", "spec"]
    if what == ["theta"]:
        place = ["learner", "learner" if "ppo" in name else "policy", "theta"]
    change(folder, *place, to=lambda value: value[:-1] if what == ["theta"] else {})
    for use in (saved_policy.load, export.export_run):
        with pytest.raises(UserError, match="holds no policy") as error:
            use(folder)
        assert "\n" not in str(error.value)


# The end.


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_finished_when_its_export_is_there(name, tmp_path):
    folder, seen = tmp_path / "run", []

    def conclude(path: Path) -> None:
        seen.append((run_folder.read_summary(path), export.export_run(path)))

    train(name, folder, conclude=conclude)
    assert seen == [(None, folder / "export")] and run_folder.read_summary(folder)["status"] == "finished"


@pytest.mark.parametrize("name", NAMES)
def test_killed_in_its_export_it_is_not_finished_and_keeps_its_checkpoint_to_the_last_byte(name, trained, tmp_path):
    folder = tmp_path / "run"

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(name, folder, conclude=killed)
    assert run_folder.read_summary(folder) is None
    before = everything(folder / run_folder.CHECKPOINTS)
    train(name, folder, resume=True, conclude=export.export_run)
    assert everything(folder / run_folder.CHECKPOINTS) == before
    assert (folder / "export" / "saved_model.pb").exists()
    shutil.rmtree(folder / "export")
    train(name, folder, resume=True, conclude=export.export_run)  # of a finished run: what it lacks is made
    assert (folder / "export" / "saved_model.pb").exists()
    assert everything(folder / run_folder.CHECKPOINTS) == before


# The best.


@pytest.mark.parametrize("name", NAMES)
def test_a_best_that_an_older_version_did_not_write_is_repaired(name, trained, tmp_path):
    """Killed between a checkpoint that claims to be the best and `best.npz`, as runs once wrote them."""
    whole, folder = trained(name), tmp_path / "run"
    directory = whole / run_folder.CHECKPOINTS
    best, _ = checkpoint.load(directory, "best")
    train(name, folder, total_timesteps=best)
    (folder / run_folder.CHECKPOINTS / checkpoint.BEST).unlink()
    train(name, folder, resume=True)
    found, state = checkpoint.load(folder / run_folder.CHECKPOINTS, "best")
    assert found == best and state["run"]["best"] == checkpoint.load(directory, "best")[1]["run"]["best"]


def test_a_best_that_is_gone_is_said(trained, tmp_path, capfd):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    directory = folder / run_folder.CHECKPOINTS
    best, _ = checkpoint.load(directory, "best")
    for path in directory.glob("*.npz"):
        if path.name == checkpoint.BEST or path != newest(folder):
            path.unlink()
    change(folder, "run", "best", to=lambda value: 1e9)
    train("ppo on CartPole", folder, resume=True)
    assert "The best checkpoint, of score 1e+09, is gone" in capfd.readouterr().out
    assert checkpoint.load(directory, "best")[1]["run"]["best"] < 1e9


@pytest.mark.parametrize("at", [1, 2])
def test_a_disk_that_fills_up_leaves_checkpoint_and_best(at, tmp_path, monkeypatch):
    """While either of the two is written."""
    checkpoint.save(tmp_path, 1, {"x": np.zeros(3)}, best=True)
    before, calls, real = everything(tmp_path), [], checkpoint.os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 2, {"x": np.ones(3)}, best=True)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_as_many_checkpoints_as_asked_also_after_resuming(keep, name, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained(name), folder)
    best = account(folder)["checkpoints"]["best"]
    there = checkpoint.steps(folder / run_folder.CHECKPOINTS)
    train(name, folder, resume=True, keep_checkpoints=keep)
    assert checkpoint.steps(folder / run_folder.CHECKPOINTS) == there[-keep:]
    assert account(folder)["checkpoints"]["best"] == best
