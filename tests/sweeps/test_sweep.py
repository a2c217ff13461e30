"""Sweeps of a tiny runner: what they leave on disk, and that no death changes it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wng_tf.errors import UserError
from wng_tf.sweeps.conduct import FAILED, INTERRUPTED, conduct
from wng_tf.sweeps.engine_local import LocalEngine
from wng_tf.sweeps.execute import ONE_THREAD, Job, execute
from wng_tf.sweeps.grid import Grid, parse_settings
from wng_tf.sweeps.progress import steps_done
from wng_tf.sweeps.records import is_locked, read_record, try_lock
from wng_tf.training import run_folder

RUNNER = "tests.sweeps.fake_runner"
ROOT = Path(__file__).parents[2]


def jobs(root: Path, *settings: str, retries: int = 1, stall_seconds: float = 0.0, seeds=(0, 1, 2)) -> list[Job]:
    given = parse_settings(["num_timesteps=500", *settings])
    grid = Grid(["ppo"], ["Hopper-v5"], seeds, {"lr": ("1e-4", "3e-4")}, given)
    return [Job(run, root, RUNNER, retries, stall_seconds) for run in grid.runs()]


def sweep(root: Path, *settings: str, **options) -> int:
    return conduct(jobs(root, *settings, **options), lambda: LocalEngine(3))


def table(root: Path) -> list[dict[str, str]]:
    with open(root / "sweep.csv") as file:
        return list(csv.DictReader(file))


@contextlib.contextmanager
def command(root: Path, *flags: str):
    """The same sweep through the entry point, in a process that can be killed."""
    words = [sys.executable, "-m", "wng_tf.sweep", f"--runner={RUNNER}", f"--log_path={root}", "--algs=ppo", "--jobs=3",
             "--envs=Hopper-v5", "--seeds=0-2", "--grid=lr=1e-4,3e-4", "--set=num_timesteps=500", *flags]  # fmt: skip
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition, seconds: float = 300.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            if found := condition():
                return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def held_pid(job: Job) -> int:
    """The process of a run that stands still at step 200."""

    def look():
        record = read_record(job.paths.record)
        return steps_done(job.paths.folder) == 200 and is_locked(job.paths.lock) and record.attempts[-1].pid

    return wait_until(look)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    root = tmp_path_factory.mktemp("undisturbed")
    assert sweep(root) == 0
    return (root / "sweep.csv").read_bytes()


def test_table_has_every_run_in_order(undisturbed):
    rows = list(csv.DictReader(undisturbed.decode().splitlines()))
    assert [(row["lr"], row["seed"]) for row in rows] == [(lr, seed) for lr in ("1e-4", "3e-4") for seed in "012"]
    for row in rows:
        value = int(row["seed"])  # the runner's chain, written again
        for step in range(100, 501, 100):
            value = (value * 6364136223846793005 + step + int(1e7 * float(row["lr"]))) % 2**64
        assert float(row["eprewmean"]) == value % 10000 / 10
        assert (row["status"], row["total_timesteps"], row["episodes"]) == ("finished", "500", "50")
        assert row["folder"] == f"Hopper-v5/ppo/lr={row['lr']}/seed{row['seed']}"


def test_runs_have_one_thread_each(tmp_path):
    (job, *_) = jobs(tmp_path)
    assert execute(job).status == "finished"
    assert json.loads((job.paths.folder / "threads.json").read_text()) == dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    )
    assert set(ONE_THREAD.values()) == {"1"}


def test_finished_runs_are_skipped_and_timings_kept(tmp_path, undisturbed, capsys):
    assert sweep(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("[") for line in lines) == 6
    starts = {path: path.read_text() for path in tmp_path.glob("**/starts.txt")}
    assert sweep(tmp_path) == 0
    assert "finished earlier" in capsys.readouterr().out
    assert {path: path.read_text() for path in tmp_path.glob("**/starts.txt")} == starts
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed
    with open(tmp_path / "timings.csv") as file:
        timings = list(csv.DictReader(file))
    assert len(timings) == 6
    assert all(row["attempts"] == "1" and row["resumed"] == "0" and float(row["wall_seconds"]) > 0 for row in timings)


def test_more_steps_continue_finished_runs(tmp_path, undisturbed, capsys):
    assert sweep(tmp_path, "num_timesteps=300") == 0
    assert sweep(tmp_path) == 0
    assert "finished earlier" not in capsys.readouterr().out
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed
    (job, *_) = jobs(tmp_path)
    record = read_record(job.paths.record)
    assert [attempt.resumed for attempt in record.attempts] == [False, True]
    assert "--num_timesteps=500" in record.flags
    # Fewer steps ask for nothing that is not there.
    assert sweep(tmp_path, "num_timesteps=300") == 0
    assert "finished earlier" in capsys.readouterr().out
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed


@pytest.mark.parametrize("steps", ["300", "500"])
def test_another_run_in_a_finished_ones_place_is_refused(tmp_path, steps, capsys):
    assert sweep(tmp_path, "num_timesteps=300", seeds=(0,)) == 0
    before = (tmp_path / "sweep.csv").read_bytes()
    assert sweep(tmp_path, f"num_timesteps={steps}", "gamma=0.9", seeds=(0,)) == FAILED
    assert "begun with other flags (they differ in --gamma=0.9" in capsys.readouterr().out
    if steps == "300":
        assert (tmp_path / "sweep.csv").read_bytes() == before


def test_a_crash_is_resumed_and_changes_nothing(tmp_path, undisturbed):
    assert sweep(tmp_path, "crash_at=300") == 0
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed
    record = read_record(jobs(tmp_path)[0].paths.record)
    assert [(attempt.resumed, attempt.exit_code) for attempt in record.attempts] == [(False, 1), (True, 0)]


def test_a_crash_before_the_first_checkpoint_starts_anew(tmp_path):
    job = jobs(tmp_path, "no_checkpoints=1", "crash_at=300")[0]
    assert execute(job).status == "failed"
    record = read_record(job.paths.record)
    assert [attempt.resumed for attempt in record.attempts] == [False, False]
    # The second start found an empty folder: it has one start in it, and the words of both were kept.
    assert len((job.paths.folder / "starts.txt").read_text().splitlines()) == 1
    assert (job.paths.folder / "stderr.txt").read_text().count("RuntimeError: the world fell apart") == 2


def test_broken_runs_are_retried_reported_and_not_lost(tmp_path, capsys):
    assert sweep(tmp_path, "crash_always=1", retries=2) == FAILED
    rows = table(tmp_path)
    assert [row["status"] for row in rows] == ["finished", "failed", "finished"] * 2
    assert all(row["eprewmean"] == "" for row in rows if row["status"] == "failed")
    output = capsys.readouterr().out
    assert "FAILED (3 attempts): RuntimeError: the world fell apart" in output
    assert "4 of 6 runs finished" in output
    for job in jobs(tmp_path):
        if job.run.seed == 1:
            assert str(job.paths.folder / "stderr.txt") in output
            words = (job.paths.folder / "stderr.txt").read_text()
            assert words.count("Traceback") == 3
            assert len(read_record(job.paths.record).attempts) == 3
    # Starting again tries them again, from their checkpoints, and forgets nothing.
    assert sweep(tmp_path, "crash_always=1", retries=0) == FAILED
    assert [row["status"] for row in table(tmp_path)] == ["finished", "failed", "finished"] * 2


def test_a_disk_that_is_full_is_said_at_the_end(tmp_path, capsys):
    assert sweep(tmp_path, "crash_always=1", "full=1", retries=0) == FAILED
    told = capsys.readouterr()
    assert "FAILED (1 attempts): OSError: [Errno 28] No space left on device" in told.out
    assert told.err == f"The disk of {tmp_path} is full: make room, and the same command continues the sweep.\n"


def test_refused_flags_are_not_tried_again(tmp_path, capsys):
    assert sweep(tmp_path, "refuse=2", retries=3) == FAILED
    assert "FAILED (1 attempts): error: --refuse is not a flag." in capsys.readouterr().out
    assert [row["status"] for row in table(tmp_path)] == ["finished", "finished", "failed"] * 2


def test_a_run_without_summary_is_broken(tmp_path):
    outcome = execute(jobs(tmp_path, "no_summary=1", retries=0)[0])
    assert (outcome.status, outcome.error) == ("failed", "ended without a summary.json")


def test_a_run_that_stands_still_is_killed_and_resumed(tmp_path, undisturbed):
    job = jobs(tmp_path, "hold_at=200", stall_seconds=3.0)[0]
    assert execute(job).status == "finished"
    assert [attempt.exit_code for attempt in read_record(job.paths.record).attempts] == [-signal.SIGKILL, 0]
    row = next(csv.DictReader(undisturbed.decode().splitlines()))
    assert json.loads((job.paths.folder / "summary.json").read_text())["eprewmean"] == float(row["eprewmean"])


def test_kill_9_of_single_runs_changes_nothing(tmp_path, undisturbed):
    held = jobs(tmp_path, "hold_at=200")
    with command(tmp_path, "--set=hold_at=200") as process:
        for job in held:
            os.kill(held_pid(job), signal.SIGKILL)
        output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert output.count("return") == 6
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed
    for job in held:
        attempts = read_record(job.paths.record).attempts
        assert [(attempt.resumed, attempt.exit_code) for attempt in attempts] == [(False, -signal.SIGKILL), (True, 0)]


def test_kill_9_of_the_sweep_changes_nothing(tmp_path, undisturbed):
    gate = tmp_path / "gate"
    settings = f"hold_at=200,hold_file={gate}"
    held = jobs(tmp_path, settings)
    with command(tmp_path, f"--set={settings}") as process:
        orphan, dead = held_pid(held[0]), held_pid(held[1])
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    os.kill(dead, signal.SIGKILL)
    assert is_locked(held[0].paths.lock)  # it outlives its sweep
    with command(tmp_path, f"--set={settings}") as process:
        wait_until(lambda: len(read_record(held[1].paths.record).attempts) == 2)
        gate.touch()
        assert process.wait(300) == 0
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed
    # The process left behind was waited for, not doubled; the killed one was continued.
    assert len(read_record(held[0].paths.record).attempts) == 1
    assert [line.split()[0] for line in (held[0].paths.folder / "starts.txt").read_text().splitlines()] == [str(orphan)]
    assert [attempt.resumed for attempt in read_record(held[1].paths.record).attempts] == [False, True]


def test_a_process_left_behind_that_stands_still_is_killed(tmp_path):
    held = jobs(tmp_path, "hold_at=200", stall_seconds=3.0)
    with command(tmp_path, "--set=hold_at=200") as process:
        pids = [held_pid(job) for job in held[:3]]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)
    assert execute(held[0]).status == "finished"
    assert [attempt.resumed for attempt in read_record(held[0].paths.record).attempts] == [False, True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_save_and_the_sweep_continues(tmp_path, undisturbed, number):
    gate = tmp_path / "gate"
    settings = f"hold_at=200,hold_file={gate}"
    held = jobs(tmp_path, settings)
    with command(tmp_path, f"--set={settings}") as process:
        for job in held[:3]:
            held_pid(job)
        process.send_signal(number)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == INTERRUPTED
    assert "The same command continues the sweep" in output
    assert not any(is_locked(job.paths.lock) for job in held)
    assert [read_record(job.paths.record).attempts[0].exit_code for job in held[:3]] == [130] * 3
    assert not any(job.paths.record.exists() for job in held[3:])
    assert {row["status"] for row in table(tmp_path)} == {"unfinished"}
    gate.touch()
    assert sweep(tmp_path, settings) == 0
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed
    assert [read_record(job.paths.record).attempts[-1].resumed for job in held] == [True] * 3 + [False] * 3


def test_one_sweep_at_a_time(tmp_path):
    lock = try_lock(tmp_path / ".sweep" / "lock")
    with command(tmp_path) as process:
        _, errors = process.communicate(timeout=300)
    os.close(lock)
    assert process.returncode == 2
    assert errors == f"error: Another sweep is at work in {tmp_path}: wait for it, or choose another --log_path.\n"
    assert not list(tmp_path.glob("Hopper-v5"))


def test_other_flags_in_the_same_folder_are_refused_and_touch_nothing(tmp_path):
    assert sweep(tmp_path, "crash_always=0") == FAILED
    before = {path: path.read_bytes() for path in (tmp_path / "Hopper-v5").glob("**/*") if path.is_file()}
    outcome = execute(jobs(tmp_path, "num_timesteps=900")[0])
    assert outcome.status == "failed"
    changed = "--crash_always=0 --num_timesteps=500 --num_timesteps=900"
    assert f"begun with other flags (they differ in {changed})" in outcome.error
    assert {path: path.read_bytes() for path in (tmp_path / "Hopper-v5").glob("**/*") if path.is_file()} == before


def test_a_folder_that_no_sweep_wrote_is_left_alone(tmp_path):
    job = jobs(tmp_path)[0]
    job.paths.folder.mkdir(parents=True)
    (job.paths.folder / "thesis.tex").write_text("years of work")
    outcome = execute(job)
    assert outcome.status == "failed" and "holds files that no sweep wrote" in outcome.error
    assert (job.paths.folder / "thesis.tex").read_text() == "years of work"


def test_a_part_of_the_grid_keeps_the_rows_of_the_rest(tmp_path, undisturbed):
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path, seeds=(1,)) == 0
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed


def test_flagfile_with_command_line_on_top(tmp_path, undisturbed):
    flagfile = tmp_path / "try.flags"
    flagfile.write_text(
        "# a comment\n--set=num_timesteps=100\n--algs=wnpg\n"
        "--override=seed=1:num_timesteps=300\n--override=seed=1:num_timesteps=500\n"
    )
    on_top = ["--set=num_timesteps=200", "--algs=pg", "--dry_run"]
    with command(tmp_path / "out", f"--flagfile={flagfile}", *on_top) as process:
        output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert len(lines) == 6 and all("--alg=pg" in line for line in lines)
    assert [word for line in lines for word in line if "num_timesteps" in word] == [
        f"--num_timesteps={value}" for value in (200, 200, 500, 500, 200, 200)
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--algs=wnp"], "Unknown algorithm 'wnp'"),
        (["--override=alg=wnp:lam=1"], "Unknown algorithm 'wnp'"),
        (["--override=env=Hoper-v5:lam=1"], "Hopper-v5"),
        (["--envs=Hoper-v5"], "Hopper-v5"),
        (["--seeds=a"], "'a' is not a seed"),
        (["--log_path="], "--log_path is missing"),
        (["--jobs=0"], "--jobs must be at least 1"),
        (["--runner=nope"], "--runner=nope: there is no such module to run"),
        (["--engine=slurm"], "engine"),
        (["--no_such_flag=1"], "no_such_flag"),
        (["--log_path=README.md/x"], "choose another --log_path"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, flags, sentence):
    (tmp_path / "README.md").write_text("a file")
    flags = [flag.replace("README.md", str(tmp_path / "README.md")) for flag in flags]
    with command(tmp_path / "out", *flags) as process:
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert output == ""
    assert sentence in errors and errors.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"run": 3, "attempts": []}', '{"run": {"axes": [], "settings": []}, "attempts": []}', "\xff"],
)
def test_a_record_of_another_shape_is_one_sentence(tmp_path, text):
    assert sweep(tmp_path, seeds=(0,)) == 0
    path = jobs(tmp_path)[0].paths.record
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as error:
        sweep(tmp_path, seeds=(0,))
    assert str(error.value) == f"{path} is damaged: delete it and the run's folder, and start the sweep again."


@pytest.mark.parametrize("field, value", [("runner", 3), ("flags", [1]), ("error", None), ("attempts", [{"started": "now"}])])
def test_a_record_with_a_field_of_another_type_is_one_sentence(tmp_path, field, value):
    assert sweep(tmp_path, seeds=(0,)) == 0
    path = jobs(tmp_path)[0].paths.record
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UserError, match="is damaged: delete it and the run's folder"):
        sweep(tmp_path, seeds=(0,))


@pytest.mark.parametrize("text", ["[]", '{"status": "finished", "total_timesteps": "all"}', '{"status": "fin'])
def test_a_summary_of_another_shape_is_that_of_no_finished_run(tmp_path, text):
    job = jobs(tmp_path)[0]
    assert execute(job).status == "finished"
    (job.paths.folder / "summary.json").write_text(text)
    assert execute(job).status == "finished"
    assert json.loads((job.paths.folder / "summary.json").read_text())["total_timesteps"] == 500


def test_a_stale_lock_stops_nothing(tmp_path, undisturbed):
    for path in (tmp_path / ".sweep" / "lock", *(job.paths.lock for job in jobs(tmp_path))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("4711")
    assert sweep(tmp_path) == 0
    assert (tmp_path / "sweep.csv").read_bytes() == undisturbed


def test_a_run_that_somebody_trains_by_hand_is_left_alone(tmp_path):
    """It died in the sweep before its first checkpoint, and was started anew in its folder."""
    job = jobs(tmp_path, "crash_always=0", "no_checkpoints=1", retries=0)[0]
    assert execute(job).status == "failed"
    with run_folder.writing(job.paths.folder):
        before = {path.name: path.read_bytes() for path in job.paths.folder.iterdir() if path.is_file()}
        outcome = execute(job)
        after = {path.name: path.read_bytes() for path in job.paths.folder.iterdir() if path.is_file()}
    assert outcome.status == "failed" and after == before
    assert outcome.error.startswith(f"Another process is at work in '{job.paths.folder}'") and "\n" not in outcome.error


@pytest.mark.parametrize("retries", [0, 2])
def test_what_is_said_when_the_retries_are_used_up(tmp_path, capsys, retries):
    assert sweep(tmp_path, "crash_always=0", retries=retries, seeds=(0,)) == FAILED
    lines = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert len(lines) == 2
    assert all(f"FAILED ({retries + 1} attempts): RuntimeError: the world fell apart" in line for line in lines)
