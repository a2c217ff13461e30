"""Studies of a runner whose optimum is known: what they find, what they write, and that no death changes it."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from tests.tuning import toy_runner
from wng_tf import tune
from wng_tf.errors import UserError
from wng_tf.sweeps.conduct import FAILED
from wng_tf.sweeps.execute import Outcome
from wng_tf.sweeps.grid import Grid
from wng_tf.tuning.conduct import conduct
from wng_tf.tuning.plan import Options, Plan
from wng_tf.tuning.space import parse

ROOT = Path(__file__).parents[2]
RUNNER = "tests.tuning.toy_runner"
STEPS = 1000


class Inline:
    """An engine that runs the toy in this process, one leg at a time."""

    def __init__(self, broken: Callable[[str], bool] = lambda folder: False):
        self.broken = broken
        self.folders: list[str] = []

    def map(self, function: Callable, items: Iterable, tick: Callable[[], None]) -> Iterator[tuple]:
        del function
        for leg in items:
            outcomes = []
            for job in leg.jobs:
                self.folders.append(job.run.name)
                if self.broken(job.run.name):
                    outcomes.append(Outcome(job.run, "failed", error="it broke"))
                    break
                argv, sys.argv = sys.argv, ["toy", *job.run.flags(), f"--log_path={job.paths.folder}"]
                try:
                    toy_runner.main()
                finally:
                    sys.argv = argv
                outcomes.append(Outcome(job.run, "finished"))
            tick()
            yield leg, outcomes

    def stop(self) -> None:
        raise AssertionError


def study(
    root: Path, *search: str, seeds=(0,), env="Hopper-v5", alg="ppo", engine=None, bar=False, **options
) -> list[dict[str, str]]:
    """The rows of trials.csv; the study's exit code is in the attribute `code` of this function."""
    axes = parse(search or ["lr=log:1e-6:1", "gamma=linear:0.8:0.99"])
    grid = Grid([alg], [env], seeds, {axis.name: axis.probes() for axis in axes}, {"num_timesteps": str(STEPS)})
    if options.get("sampler") == "grid":
        options["n_trials"] = None
    plan = Plan(env, alg, axes, grid, STEPS)
    study.code = conduct([plan], Options(runner=RUNNER, **options), root, lambda: engine or Inline(), show_bar=bar)
    return rows(root)


def rows(root: Path) -> list[dict[str, str]]:
    with open(root / "trials.csv") as file:
        return list(csv.DictReader(file))


def value(lr: float, gamma: float = 0.9, seed: int = 0) -> float:
    return toy_runner.optimum({"lr": str(lr), "gamma": str(gamma), "seed": str(seed)})


def test_tpe_finds_the_planted_optimum(tmp_path):
    found = study(tmp_path, n_trials=30, pruner="none")
    assert [row["state"] for row in found] == ["complete"] * 30
    best = max(found, key=lambda row: float(row["value"]))
    assert abs(math.log10(float(best["lr"])) + 3.0) < 0.5 and abs(float(best["gamma"]) - 0.9) < 0.05
    values = [float(row["value"]) for row in found]
    assert values == pytest.approx([value(float(row["lr"]), float(row["gamma"])) for row in found])
    # What it learned from the first ten, which are random, makes the others better.
    assert sorted(values[10:])[10] > sorted(values[:10])[5]
    assert (tmp_path / "history.png").stat().st_size > 10_000 and (tmp_path / "importance.png").stat().st_size > 10_000
    with open(tmp_path / "importance.csv") as file:
        shares = {row["flag"]: float(row["importance"]) for row in csv.DictReader(file)}
    assert set(shares) == {"lr", "gamma"} and sum(shares.values()) == pytest.approx(1.0)


def test_the_best_is_written_as_flagfiles(tmp_path):
    found = study(tmp_path, "lr=1e-5|1e-3|1e-1", sampler="grid", pruner="none", seeds=(3, 5))
    assert [float(row["value"]) for row in found] == pytest.approx([value(float(row["lr"]), seed=4) for row in found])
    text = (tmp_path / "best.flags").read_text()
    assert [line for line in text.splitlines() if line.startswith("--")] == [
        "--alg=ppo", "--env=Hopper-v5", "--num_timesteps=1000", "--lr=1e-3"
    ]  # fmt: skip
    assert text == (tmp_path / "Hopper-v5" / "ppo" / "best.flags").read_text()
    assert "--override=env=Hopper-v5,alg=ppo:lr=1e-3\n" in (tmp_path / "best_sweep.flags").read_text()


def test_pruned_trials_are_reported(tmp_path, capsys):
    found = study(tmp_path, n_trials=20, seeds=(0, 1), sampler="random")
    pruned = [row for row in found if row["state"] == "pruned"]
    complete = [row for row in found if row["state"] == "complete"]
    assert len(pruned) + len(complete) == 20 and len(pruned) >= 10 and complete
    # Rungs at a ninth and a third of the steps of both seeds; no trial that was given up has a final value.
    assert {row["steps"] for row in pruned} == {"223", "669"} and {row["steps"] for row in complete} == {"2000"}
    for row in pruned:
        goal = value(float(row["lr"]), float(row["gamma"]))
        reached = {"223": 0.2, "669": 0.6}[row["steps"]]  # the toy logs every tenth of a run
        assert float(row["value"]) == pytest.approx(-10.0 + (goal + 10.0) * reached)
    # Asynchronous successive halving, by hand: a trial goes on if it is in the best third of those that came to its rung.
    for step, rung in (("223", found), ("669", [row for row in found if row["steps"] != "223"])):
        seen: list[float] = []
        for row in rung:
            seen.append(value(float(row["lr"]), float(row["gamma"])))
            better = sorted(seen, reverse=True)[max(0, len(seen) // 3 - 1)]
            assert (row["steps"] == step) == (seen[-1] < better), row
    assert sum(": pruned after " in line for line in capsys.readouterr().out.splitlines()) == len(pruned)
    best = max(complete, key=lambda row: float(row["value"]))
    assert f"--lr={best['lr']}\n" in (tmp_path / "best.flags").read_text()
    with open(tmp_path / "history.csv") as file:
        assert sum(row["pruned"] == "True" for row in csv.DictReader(file)) == len(pruned)


def test_coverage_gives_no_second_seed_to_what_learned_too_little(tmp_path):
    engine = Inline()
    # After the first seed: -9, -4, -1, 0; of the way from -10 to 0 they have covered 0.1, 0.6, 0.9 and 1.
    found = study(tmp_path, "lr=1e-6|1e-5|1e-4|1e-3", seeds=(100, 101), sampler="grid", pruner="coverage", coverage=0.65,
                  engine=engine)  # fmt: skip
    assert [(row["state"], row["steps"]) for row in found] == [("pruned", "1000")] * 2 + [("complete", "2000")] * 2
    rates = ("1e-6", "1e-5", "1e-4", "1e-3")
    # The first seed of all before the second of any: the comparison does not depend on who comes first.
    assert engine.folders == [f"Hopper-v5/ppo/lr={lr}/seed100" for lr in rates] + [
        f"Hopper-v5/ppo/lr={lr}/seed101" for lr in rates[2:]
    ]
    # A smaller share lets one more through.
    found = study(
        tmp_path / "lower", "lr=1e-6|1e-5|1e-4|1e-3", seeds=(0, 1), sampler="grid", pruner="coverage", coverage=0.55
    )
    assert [row["state"] for row in found] == ["pruned"] + ["complete"] * 3


def test_every_seed_is_told_as_it_ends_and_the_bar_counts_steps(tmp_path, capsys):
    study(tmp_path, "lr=1e-4|1e-3", seeds=(0, 1), sampler="grid", pruner="coverage", coverage=0.0, bar=True)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:4] == [
        "Hopper-v5 ppo lr=1e-4, seed 0: -1.00",
        "Hopper-v5 ppo lr=1e-3, seed 0: 0.00",
        "[1/2] Hopper-v5 ppo lr=1e-4: -1.00",
        "[2/2] Hopper-v5 ppo lr=1e-3: 0.00",
    ]
    assert "/4.00k [" in printed.err


def test_rounds_go_task_by_task(tmp_path):
    engine = Inline()
    axes = parse(["lr=1e-4|1e-3"])
    plans = []
    for env, alg in (("Hopper-v5", "ppo"), ("Hopper-v5", "pg"), ("Walker2d-v5", "ppo")):
        grid = Grid([alg], [env], (0, 1), {"lr": ("1e-4", "1e-3")}, {"num_timesteps": str(STEPS)})
        plans.append(Plan(env, alg, axes, grid, STEPS))
    options = Options(runner=RUNNER, n_trials=None, sampler="grid", pruner="coverage")
    assert conduct(plans, options, tmp_path, lambda: engine, show_bar=False) == 0
    places = [folder.split("/") for folder in engine.folders]
    assert [(env, seed) for env, _, _, seed in places] == [
        *[("Hopper-v5", "seed0")] * 4, *[("Hopper-v5", "seed1")] * 4, *[("Walker2d-v5", "seed0")] * 2,
        *[("Walker2d-v5", "seed1")] * 2
    ]  # fmt: skip
    # A study of each pair: no best.flags of all, and the lines of a sweep for each.
    assert not (tmp_path / "best.flags").exists() and (tmp_path / "Walker2d-v5" / "ppo" / "best.flags").exists()
    assert (tmp_path / "best_sweep.flags").read_text().count("--override=env=") == 3
    assert {(row["env"], row["alg"]) for row in rows(tmp_path)} == {(plan.env, plan.alg) for plan in plans}


def test_nobody_is_given_up_where_nobody_has_learned_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_runner, "optimum", lambda flags: -11.0 - float(flags["lr"]))
    found = study(tmp_path, "lr=1e-2|1e-1", seeds=(0, 1), sampler="grid", pruner="coverage")
    assert [row["state"] for row in found] == ["complete"] * 2


def test_a_failed_trial_is_reported_and_tried_again(tmp_path):
    broken = Inline(lambda folder: "lr=1e-3" in folder)
    found = study(tmp_path, "lr=1e-4|1e-3", sampler="grid", engine=broken)
    assert study.code == FAILED
    assert [(row["state"], row["error"]) for row in found] == [("complete", ""), ("failed", "it broke")]
    engine = Inline()
    found = study(tmp_path, "lr=1e-4|1e-3", sampler="grid", engine=engine)
    assert study.code == 0 and engine.folders == ["Hopper-v5/ppo/lr=1e-3/seed0"]
    assert [row["state"] for row in found] == ["complete", "failed", "complete"] and found[2]["lr"] == "1e-3"


def test_a_column_of_the_log_is_an_objective(tmp_path):
    found = study(tmp_path, "lr=1e-4|1e-3", sampler="grid", objective="misc/total_timesteps")
    assert [float(row["value"]) for row in found] == [STEPS, STEPS]
    found = study(tmp_path / "none", "lr=1e-4|1e-3", sampler="grid", objective="no/such")
    assert [row["state"] for row in found] == ["failed", "failed"] and "no/such" in found[0]["error"]


class Evaluated(Inline):
    """Leaves what `wng_tf.evaluate` would have written, too."""

    def map(self, function: Callable, items: Iterable, tick: Callable[[], None]) -> Iterator[tuple]:
        for leg, outcomes in super().map(function, items, tick):
            for job in leg.jobs:
                lr = float(dict(job.run.axes)["lr"])
                played = {"step": STEPS, "episodes": job.episodes, "deterministic": {"mean": 10.0 * lr + job.run.seed}}
                (job.paths.folder / "evaluation.json").write_text(json.dumps(played))
            yield leg, outcomes


def test_the_deterministic_policy_is_an_objective(tmp_path):
    options = {"sampler": "grid", "objective": "deterministic", "eval_episodes": 3, "seeds": (0, 1), "pruner": "none"}
    found = study(tmp_path, "lr=0.1|1e-3", engine=Evaluated(), **options)
    assert [float(row["value"]) for row in found] == pytest.approx([1.5, 0.51])
    assert "--lr=0.1\n" in (tmp_path / "best.flags").read_text()  # by the training returns it would be 1e-3
    found = study(tmp_path / "none", "lr=0.1|1e-3", engine=Inline(), **options)
    assert [row["state"] for row in found] == ["failed", "failed"] and "deterministic" in found[0]["error"]


def test_more_trials_go_on_and_other_flags_are_refused(tmp_path):
    few = study(tmp_path, n_trials=2)
    more = study(tmp_path, n_trials=5)
    assert more[:2] == few and len(more) == 5
    # The next trials are those that a study of as many from the beginning has.
    assert more == study(tmp_path / "at_once", n_trials=5)
    for options, name in (({"seeds": (0, 1)}, "seeds"), ({"objective": "other"}, "objective")):
        with pytest.raises(UserError, match=f"begun with --{name}="):
            study(tmp_path, n_trials=5, **options)
    with pytest.raises(UserError, match="begun with --search="):
        study(tmp_path, "lr=log:1e-6:1", n_trials=5)


def test_a_damaged_storage_is_one_sentence(tmp_path):
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="study.db cannot be used"):
        study(tmp_path, n_trials=2)


# ---- the command ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def command(root: Path, *flags: str):
    """A study through the entry point, in a process that can be killed; one run at a time."""
    words = [sys.executable, "-m", "wng_tf.tune", f"--runner={RUNNER}", f"--log_path={root}", "--alg=ppo", "--env=Hopper-v5",
             f"--num_timesteps={STEPS}", "--jobs=1", *flags]  # fmt: skip
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(root: Path, *flags: str) -> tuple[int, str, str]:
    with command(root, *flags) as process:
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


def wait_until(condition, seconds: float = 300.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


KILLED = ("--search=lr=1e-5|1e-4|1e-3", "--sampler=grid", "--seeds=0,1")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_is_killed_or_stopped_resumes_with_the_same_end(tmp_path, number):
    gate = tmp_path / "gate"
    flags = (*KILLED, f"--set=hold_lr=1e-4,hold_file={gate}")
    with command(tmp_path / "killed", *flags) as process:
        held = tmp_path / "killed" / "Hopper-v5" / "ppo" / "lr=1e-4" / "seed0"
        wait_until(lambda: len(list(held.glob("checkpoints/*.npz"))) == toy_runner.ROWS // 2 + 1)
        pid = int((held / "starts.txt").read_text().split()[0])
        process.send_signal(number)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == (130 if number == signal.SIGINT else -number), out
    if number == signal.SIGKILL:
        os.kill(pid, number)  # the run, which outlives the study, too
    assert [row["state"] for row in rows(tmp_path / "killed")] == ["complete", "unfinished", "unfinished"]
    gate.touch()
    code, out, err = finished(tmp_path / "killed", *flags)
    assert (code, err) == (0, ""), out
    assert len((held / "starts.txt").read_text().splitlines()) == 2  # continued from its checkpoint
    assert (held / "starts.txt").read_text().splitlines()[1].endswith("true")
    other = tmp_path / "undisturbed"
    assert finished(other, *flags)[0] == 0
    assert (tmp_path / "killed" / "trials.csv").read_bytes() == (other / "trials.csv").read_bytes()
    assert (tmp_path / "killed" / "best.flags").read_bytes() == (other / "best.flags").read_bytes()


def test_a_run_at_work_is_stopped_when_its_trial_is_pruned(tmp_path):
    # The second stands still in the middle of its first seed, beyond the first rung: only the pruner can end it.
    code, out, err = finished(tmp_path, "--search=lr=1e-3|1e-6", "--sampler=grid", "--set=hold_lr=1e-6", "--seeds=0,1")
    assert (code, err) == (0, ""), out
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "pruned"]
    folder = tmp_path / "Hopper-v5" / "ppo" / "lr=1e-6"
    assert not (folder / "seed0" / "summary.json").exists() and not (folder / "seed1").exists()


@pytest.mark.slow
def test_on_ray(tmp_path):
    pytest.importorskip("ray")
    flags = ("--search=lr=1e-3|1e-6", "--sampler=grid", "--set=hold_lr=1e-6", "--seeds=0,1", "--engine=ray")
    code, out, _ = finished(tmp_path, *flags)
    assert code == 0, out
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "pruned"]
    assert not (tmp_path / "Hopper-v5" / "ppo" / "lr=1e-6" / "seed0" / "summary.json").exists()


def test_a_grid_is_that_of_the_sweep(call, tmp_path):
    from wng_tf import sweep

    shared = ("--algs=ppo,wnpg", "--envs=Hopper-v5,Walker2d-v5", "--seeds=100,101", f"--log_path={tmp_path}", "--dry_run",
              "--set=num_timesteps=1e6", "--override=alg=wnpg:num_basis=7")  # fmt: skip
    tuned = call(tune.app, *shared, "--sampler=grid", "--search=lr=1e-5|3e-4", "--search=nsteps=1024|2048")
    swept = call(sweep.app, *shared, "--grid=lr=1e-5,3e-4", "--grid=nsteps=1024,2048")
    assert (tuned.code, swept.code) == (0, 0), tuned.stderr + swept.stderr
    commands = [line for line in tuned.stdout.splitlines() if not line.startswith("#")]
    assert commands == swept.stdout.splitlines() and len(commands) == 2 * 2 * 2 * 4


BAD = {
    "--search=lr": "not name=values",
    "--search=lrr=1|2": "there is no flag --lrr for this algorithm. Did you mean lr",
    "--search=network=mlp|nowhere": "Unknown network 'nowhere'",
    "--search=trust_radius=0.1|0.2": "--search=trust_radius has no effect with ppo",
    "--search=gamma=linear:0.9:1.5": "--gamma must be at most 1.0",
    "--search=seed=1|2": "'seed' is the sweep's own",
    "--search=num_basis=linear:5:50 --algs=wnpg": "--num_basis is a whole number. Write num_basis=int:5:50.",
    "--search=nsteps=log:64:4096": "--nsteps is a whole number. Write nsteps=logint:64:4096.",
    "--search=nsteps=64.5|128": "--nsteps must be a whole number, not 64.5",
    "--set=num_threads=1.5": "--num_threads must be a whole number, not 1.5",
    "--set=num_timesteps=1000.5": "--num_timesteps must be a whole number, not 1000.5",
    "--set=num_timesteps=1000.5 --search=lr=1e-4|1e-3": "--num_timesteps must be a positive number, and a whole one",
    "--jobs=1.5": "'1.5' is not a whole number",
    "--search=num_timesteps=1e5|1e6": "trials must be of one length",
    "--search=lr=1|2 --set=lr=1": "both swept",
    "--search=lr=log:1e-5:1 --sampler=grid": "no end of values",
    "--search=lr=1|2 --sampler=grid --n_trials=3": "as many trials as points",
    "--n_trials=0": "--n_trials must be at least 1",
    "--coverage=2 --pruner=coverage": "--coverage must be from 0 to 1",
    "--objective=deterministic --runner=tests.tuning.toy_runner": "knows the runs of wng_tf.run alone",
    "--runner=nope": "--runner=nope: there is no such module to run. Name one as python -m takes it.",
    "--runner=nope.nor": "--runner=nope.nor: there is no such module to run (No module named 'nope'). Name one",
    "--runner=tests": "--runner=tests: there is no such module to run",
    "--objective=nope": "--objective=nope: the log of ppo has no column of that name. Name eprewmean",
    "--objective=nope --dry_run": "--objective=nope: the log of ppo has no column of that name. Name eprewmean",
    "--objective=loss/kl_move --dry_run": "Did you mean loss/kl_moved",
    "--objective=es/moved": "the log of ppo has no column of that name",
    "--objective=wng/epsilon": "no column of that name: it goes with --step_rule=minibatch --metric=fisher_empirical|",
    "--objective=wng/cg_iterations --algs=wnpg": "the log of wnpg has no column of that name: it goes with",
    "--objective=loss/kl --dry_run": "it goes with --penalty=kl. Name eprewmean, deterministic, or one of eplenmean, fps,",
    "--objective=misc/epochs": "it goes with --step_rule=minibatch and a --target_kl. Name",
    "--objective=misc/cliprange --set=cliprange=0.2": "it goes with a --cliprange that is a schedule. Name",
    "--objective=wng/effective_rank --algs=trpo": "the log of trpo has no column of that name: it goes with",
    "--objective=wng/radius_factor --algs=wtrpo": "it goes with --step_rule=trust_region and --adaptive_radius. Name",
    "--objective=es/distance_mean --algs=es": "it goes with --repulsion=wasserstein|novelty. Name",
    "--objective=wng/reduction_ratio --algs=wnes": "it goes with --metric=wasserstein_kernel --damping=adaptive. Name",
    "--objective=wng/cosine --search=metric=fisher|identity": "the log of ppo --metric=identity has no column of that name",
    "--objective=eval/eprewmean": "give --set=eval_interval=STEPS, too",
    "--search=eval_episodes=3|5": "--search=eval_episodes has no effect with ppo",
    "--set=eval_env=CartPole-v1": "--set=eval_env has no effect with ppo",
    "--eval_episodes=3": "--eval_episodes has no effect: it goes with --objective=deterministic. Leave it out.",
    "--coverage=0.3": "--coverage has no effect: it goes with --pruner=coverage. Leave it out.",
    "--min_steps=9 --pruner=none": "--min_steps has no effect: it goes with --pruner=halving. Leave it out.",
    "--n_startup_trials=3 --sampler=random": "--n_startup_trials has no effect: it goes with --sampler=tpe. Leave it out.",
    "--ray_address=auto": "--ray_address has no effect: it goes with --engine=ray. Leave it out.",
    "--reduction_factor=1": "--reduction_factor must be at least 2",
    "--pruner=median": "median",
    "--alg=zzz": "Unknown algorithm 'zzz'",
    "--seeds=x": "not a seed",
    "--num_timesteps=0": "--num_timesteps must be a positive number",
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_flags_are_one_sentence(bad, call, tmp_path):
    outcome = call(tune.app, "--alg=ppo", "--env=Hopper-v5", f"--log_path={tmp_path / 'study'}", *bad.split())
    assert outcome.code == 2 and outcome.stderr.startswith("error: ") and outcome.stderr.count("\n") == 1
    assert BAD[bad] in outcome.stderr
    assert not (tmp_path / "study").exists()


def test_a_program_or_a_part_in_a_flagfile_is_not_run_without_trust(call, tmp_path):
    for line in ("--runner=os_tool", "--search=metric=os_tool:f|identity", "--set=metric=os_tool:f"):
        (tmp_path / "given.flags").write_text(line + "\n")
        outcome = call(
            tune.app, "--alg=ppo", "--env=Hopper-v5", f"--flagfile={tmp_path / 'given.flags'}", f"--log_path={tmp_path}"
        )
        assert outcome.code == 2 and "--trust" in outcome.stderr, line


def test_without_optuna_it_is_one_sentence(call, tmp_path, monkeypatch):
    monkeypatch.setattr(tune.importlib.util, "find_spec", lambda name: None)
    outcome = call(tune.app, "--alg=ppo", "--env=Hopper-v5", f"--log_path={tmp_path / 'study'}")
    assert outcome.code == 2 and outcome.stderr == "error: python -m wng_tf.tune needs Optuna: pip install 'wng_tf[tune]'.\n"


def test_the_papers_grid_is_a_flagfile(call):
    outcome = call(tune.app, f"--flagfile={ROOT / 'runs' / 'tune_table1.flags'}", "--dry_run")
    assert outcome.code == 0, outcome.stderr
    commands = [line for line in outcome.stdout.splitlines() if not line.startswith("#")]
    assert len(commands) == 6 * 5 * 4 * 2
    values = [dict(word.removeprefix("--").split("=", 1) for word in line.split()[3:]) for line in commands]
    assert {run["lr"] for run in values} == {"1e-5", "5e-5", "1e-4", "3e-4"} and {run["seed"] for run in values} == {
        "100",
        "101",
    }
    assert {float(run["num_timesteps"]) for run in values} == {1e6} and {run["num_basis"] for run in values} == {"5"}
    assert json.dumps(values).count("Hopper-v5") == 2 * 5 * 4 * 2  # the task, and its place in the folder
