"""The bar over all runs, and the lines of runs that end."""

from __future__ import annotations

import json

from wng_tf.sweeps.execute import Outcome
from wng_tf.sweeps.grid import Run
from wng_tf.sweeps.progress import SweepProgress, duration, steps_done


def runs(**settings: str) -> list[Run]:
    return [Run("ppo", "Hopper-v5", seed, settings=tuple(settings.items())) for seed in range(3)]


def folder_of(root, run: Run):
    folder = root / run.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log(root, run: Run, step: int) -> None:
    (folder_of(root, run) / "progress.csv").write_text(f"fps,misc/total_timesteps\n1.0,{step}\n")


def finish(root, run: Run) -> None:
    (folder_of(root, run) / "summary.json").write_text(json.dumps({"status": "finished", "total_timesteps": 1000}))


def test_the_bar_counts_steps_of_all_runs(tmp_path, capsys):
    first, second, third = plan = runs(num_timesteps="1e3")
    finish(tmp_path, first)
    log(tmp_path, second, 200)
    progress = SweepProgress(tmp_path, plan, show_bar=True)
    log(tmp_path, second, 600)
    log(tmp_path, third, 5000)  # a last batch may go beyond the end; it counts no more than the run
    progress.tick()
    progress.close()
    shown = capsys.readouterr().err.split("\r")
    assert "1.20k/3.00k" in shown[1]
    assert "2.60k/3.00k" in shown[-1] and "1/3 runs" in shown[-1]


def test_without_lengths_the_bar_counts_runs(tmp_path, capsys):
    first, second, _ = plan = runs()
    finish(tmp_path, first)
    log(tmp_path, second, 600)
    progress = SweepProgress(tmp_path, plan, show_bar=True)
    progress.report(Outcome(second, "failed", attempts=2, error="it broke"), "none")
    progress.tick()
    progress.close()
    shown = capsys.readouterr()
    assert "2/3" in shown.err.split("\r")[-1] and "2/3 runs, 1 failed" in shown.err
    assert shown.out == "[1/3] Hopper-v5 ppo seed 1: FAILED (2 attempts): it broke\n"


def test_one_line_a_run_and_no_bar_when_piped(tmp_path, capsys):
    first, second, third = plan = runs(num_timesteps="1e3")
    progress = SweepProgress(tmp_path, plan)
    progress.report(Outcome(first, "finished", attempts=1, seconds=125.0), "12.50")
    progress.report(Outcome(second, "finished", earlier=True), "none")
    progress.report(Outcome(third, "interrupted"), "none")
    progress.tick()
    progress.close()
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines() == [
        "[1/3] Hopper-v5 ppo seed 0: return 12.50, 2 min",
        "[2/3] Hopper-v5 ppo seed 1: return none, finished earlier",
        "[3/3] Hopper-v5 ppo seed 2: interrupted",
    ]


def test_steps_done_reads_the_last_whole_row(tmp_path):
    path = tmp_path / "progress.csv"
    assert steps_done(tmp_path) == 0
    path.write_text("fps,misc/total_timesteps")
    assert steps_done(tmp_path) == 0
    path.write_text("fps,misc/total_timesteps\n")
    assert steps_done(tmp_path) == 0
    path.write_text("fps,misc/total_timesteps\n1.0,2048\n1.0,4096\n1.0,61")
    assert steps_done(tmp_path) == 4096
    path.write_text("fps,misc/total_timesteps\n" + "1.0,7\n" * 5000)
    assert steps_done(tmp_path) == 7


def test_duration_in_words():
    seconds = {3.2: "3 s", 59: "59 s", 61: "1 min", 3600: "1 h 00 min", 4 * 3600 + 300: "4 h 05 min"}
    assert {value: duration(value) for value in seconds} == seconds
