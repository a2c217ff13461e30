"""Our training beside another library's, with the same settings and seeds: do final returns agree?

Every run is a process of its own and leaves one row in `returns.csv`; rows that are there are not run again, so a command
can be interrupted and repeated. At the end: a table with 95% intervals (Student), Welch's test and a plot.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import one_thread
from wng_tf.plots.statistics import student_interval

COLUMNS = ("env", "library", "seed", "steps", "final_return", "seconds")
FLAGS = flags.FLAGS

Train = Callable[[str, int, int], list[float]]
"""(environment, seed, steps) -> returns of all training episodes, in order."""


def define_flags(envs: Sequence[str], libraries: Sequence[str], output_dir: str) -> None:
    """The flags of a comparison and their defaults."""
    flags.DEFINE_list("envs", list(envs), "Gymnasium ids.")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds.")
    flags.DEFINE_integer("num_timesteps", 300_000, "Environment steps per run.")
    flags.DEFINE_list("libraries", list(libraries), "Which libraries to run.")
    flags.DEFINE_string("output_dir", output_dir, "Where the table and the plot go.")
    flags.DEFINE_string("one", None, "Used by the command itself: 'library,env,seed,steps' runs one and prints its return.")


def compare(module: str, alg: str, train: Mapping[str, Train]) -> None:
    """Do what the flags say; `module` is the command, as after `python -m`, `alg` what is compared."""
    if FLAGS.one:
        run_one(FLAGS.one, train)
        return
    folder = Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    measure(folder / "returns.csv", module)
    rows = [row for row in read_rows(folder / "returns.csv") if row["steps"] == str(FLAGS.num_timesteps)]
    text = report(rows, FLAGS.envs, list(train))
    (folder / "table.md").write_text(text)
    print(text)
    plot(rows, FLAGS.envs, list(train), alg, folder / "returns.png")


def train_wng_tf(env: str, seed: int, steps: int, **settings: Any) -> list[float]:
    """Our side, one thread."""
    one_thread.load()
    from baselines_compat.monitor import load_results
    from wng_tf.policy_gradient.learn import learn

    with tempfile.TemporaryDirectory() as folder:
        log_path = os.path.join(folder, "run")
        learn(env=env, seed=seed, total_timesteps=steps, log_path=log_path, save_interval=0, num_env=1, **settings)
        return [float(r) for r in load_results(log_path)["r"]]


def train_stable_baselines3(env: str, seed: int, steps: int, make: Callable[..., Any], **settings: Any) -> list[float]:
    """The other side, one thread: `make` is the algorithm's class, `settings` are its arguments."""
    import gymnasium as gym
    import torch
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    monitor = Monitor(gym.make(env))
    venv = VecNormalize(DummyVecEnv([lambda: monitor]))
    make("MlpPolicy", venv, seed=seed, device="cpu", **settings).learn(steps)
    return [float(r) for r in monitor.get_episode_rewards()]


def run_one(text: str, train: Mapping[str, Train]) -> None:
    """Train once and print the result."""
    library, env, seed, steps = text.split(",")
    started = time.time()
    returns = train[library](env, int(seed), int(steps))
    print(f"RESULT,{np.mean(returns[-100:])},{time.time() - started:.1f}", flush=True)


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of the table, none if there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def measure(file: Path, module: str) -> None:
    """Run what is missing from `file`."""
    done = {(row["env"], row["library"], row["seed"], row["steps"]) for row in read_rows(file)}
    steps = str(FLAGS.num_timesteps)
    for env in FLAGS.envs:
        for seed in FLAGS.seeds:
            for library in FLAGS.libraries:
                if (env, library, seed, steps) in done:
                    continue
                one = ",".join((library, env, seed, steps))
                command = [sys.executable, "-m", module, f"--one={one}"]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
                out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                result = [line for line in out.stdout.splitlines() if line.startswith("RESULT,")]
                if not result:
                    raise SystemExit(f"{one} failed:\n{out.stderr[-2000:]}")
                _, final, seconds = result[0].split(",")
                append(file, (env, library, seed, steps, f"{float(final):.2f}", seconds))
                print(one, final, f"{seconds} s", flush=True)


def append(file: Path, row: Sequence[str]) -> None:
    """One row more, under a header if it is the first."""
    new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow(row)


def numbers(rows: Sequence[dict[str, str]], env: str, library: str, column: str) -> np.ndarray:
    """A column of the runs of one library, a number a run."""
    return np.array([float(row[column]) for row in rows if (row["env"], row["library"]) == (env, library)])


def report(rows: Sequence[dict[str, str]], envs: Sequence[str], libraries: Sequence[str]) -> str:
    """The table of the runs, with Welch's test where both libraries have two runs or more."""
    from scipy import stats

    lines = ["| environment | library | seeds | final return | 95% interval | median steps/s |", "|---|---|---|---|---|---|"]
    notes = []
    for env in envs:
        finals = {}
        for library in libraries:
            values = numbers(rows, env, library, "final_return")
            if len(values) < 2:
                continue
            finals[library] = values
            mean, low, high = student_interval(values)
            rate = np.median(numbers(rows, env, library, "steps") / numbers(rows, env, library, "seconds"))
            lines.append(f"| {env} | {library} | {len(values)} | {mean:.0f} | {low:.0f} to {high:.0f} | {rate:.0f} |")
        if len(finals) == 2:
            test = stats.ttest_ind(*finals.values(), equal_var=False)
            notes.append(f"- {env}: Welch's t = {test.statistic:.2f}, p = {test.pvalue:.2f}")
    return "\n".join([*lines, "", *notes]) + "\n"


def plot(rows: Sequence[dict[str, str]], envs: Sequence[str], libraries: Sequence[str], alg: str, path: Path) -> None:
    """A panel a task: every run as a point, means with their intervals; the algorithm in its colour, the peer in grey."""
    from wng_tf.plots.style import METHODS, in_style, method_name, new_figure, task_name

    with in_style():
        figure = new_figure(3.2 * len(envs), 2.8)
        for axis, env in zip(figure.subplots(1, len(envs), squeeze=False)[0], envs, strict=True):
            for x, (library, color) in enumerate(zip(libraries, (METHODS[alg][1], "#444444"), strict=True)):
                finals = numbers(rows, env, library, "final_return")
                if len(finals) > 1:
                    mean, low, high = student_interval(finals)
                    axis.errorbar(
                        [x], [mean], yerr=[[mean - low], [high - mean]], fmt="o", markersize=4.5, capsize=4, color=color
                    )
                axis.plot(np.full(len(finals), x + 0.15), finals, "o", markersize=3.5, alpha=0.45, color=color)
            axis.set_xticks(range(len(libraries)), libraries)
            axis.set_xlim(-0.5, len(libraries) - 0.5)
            axis.grid(axis="x", visible=False)
            axis.set_title(f"{task_name(env)}, {method_name((alg, ''))}", loc="left")
            axis.set_ylabel("Return, last 100 episodes")
        figure.savefig(path, dpi=200)
