"""TRPO here and in sb3-contrib, the same settings and seeds: do final returns agree?

    pip install -e '.[peers]'
    python -m benchmarks.trpo_vs_sb3

Settings are sb3-contrib's defaults, of which two mean something else there: its damping of 0.1 is absolute, ours relative to
the curvature along the gradient; and its line search accepts any distance up to the radius, ours starts on the radius.

Every run is a process of its own and leaves one row in `returns.csv`; rows that are there are not run again, so the command
can be interrupted and repeated. At the end: a table with 95% intervals (Student).
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

LIBRARIES = ("wng_tf", "sb3-contrib")
COLUMNS = ("env", "library", "seed", "steps", "final_return", "seconds")
FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_list("envs", ["Hopper-v5"], "Gymnasium ids.")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds.")
    flags.DEFINE_integer("num_timesteps", 300_000, "Environment steps per run.")
    flags.DEFINE_list("libraries", list(LIBRARIES), "Which libraries to run.")
    flags.DEFINE_string("output_dir", "runs/results/trpo_vs_sb3", "Where the table goes.")
    flags.DEFINE_string("one", None, "Used by the command itself: 'library,env,seed,steps' runs one and prints its return.")


def train_wng_tf(env: str, seed: int, steps: int) -> list[float]:
    """Returns of all training episodes, in order."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from baselines_compat.monitor import load_results
    from wng_tf.policy_gradient.learn import learn

    with tempfile.TemporaryDirectory() as folder:
        log_path = os.path.join(folder, "run")
        learn(env=env, alg="trpo", seed=seed, total_timesteps=steps, log_path=log_path, save_interval=0,
              num_env=1, nsteps=2048, nminibatches=16, vf_iters=10, lr="1e-3", gamma=0.99, lam=0.95,
              trust_radius=0.01, cg_iters=15)  # fmt: skip
        return [float(r) for r in load_results(log_path)["r"]]


def train_sb3_contrib(env: str, seed: int, steps: int) -> list[float]:
    """Returns of all training episodes, in order."""
    import gymnasium as gym
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    monitor = Monitor(gym.make(env))
    venv = VecNormalize(DummyVecEnv([lambda: monitor]))
    model = TRPO("MlpPolicy", venv, n_steps=2048, batch_size=128, n_critic_updates=10, learning_rate=1e-3, gamma=0.99,
                 gae_lambda=0.95, target_kl=0.01, cg_max_steps=15, cg_damping=0.1, seed=seed,
                 device="cpu")  # fmt: skip
    model.learn(steps)
    return [float(r) for r in monitor.get_episode_rewards()]


TRAIN = dict(zip(LIBRARIES, (train_wng_tf, train_sb3_contrib), strict=True))


def run_one(text: str) -> None:
    """Train once and print the result."""
    library, env, seed, steps = text.split(",")
    started = time.time()
    returns = TRAIN[library](env, int(seed), int(steps))
    print(f"RESULT,{np.mean(returns[-100:])},{time.time() - started:.1f}", flush=True)


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of the table, none if there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def measure(file: Path) -> None:
    """Run what is missing from `file`."""
    done = {(row["env"], row["library"], row["seed"], row["steps"]) for row in read_rows(file)}
    steps = str(FLAGS.num_timesteps)
    for env in FLAGS.envs:
        for seed in FLAGS.seeds:
            for library in FLAGS.libraries:
                if (env, library, seed, steps) in done:
                    continue
                one = ",".join((library, env, seed, steps))
                command = [sys.executable, "-m", "benchmarks.trpo_vs_sb3", f"--one={one}"]
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


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95% Student interval."""
    from scipy import stats

    values = np.asarray(values)
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, mean - half, mean + half


def report(rows: Sequence[dict[str, str]], envs: Sequence[str], steps: str) -> str:
    """The table of the runs of that many steps, with Welch's test where both libraries have two runs or more."""
    from scipy import stats

    lines = ["| environment | library | seeds | final return | 95% interval | median steps/s |", "|---|---|---|---|---|---|"]
    notes = []
    for env in envs:
        finals = {}
        for library in LIBRARIES:
            mine = [r for r in rows if (r["env"], r["library"], r["steps"]) == (env, library, steps)]
            if len(mine) < 2:
                continue
            finals[library] = [float(row["final_return"]) for row in mine]
            mean, low, high = interval(finals[library])
            rate = np.median([float(row["steps"]) / float(row["seconds"]) for row in mine])
            lines.append(f"| {env} | {library} | {len(mine)} | {mean:.0f} | {low:.0f} to {high:.0f} | {rate:.0f} |")
        if len(finals) == 2:
            test = stats.ttest_ind(*finals.values(), equal_var=False)
            notes.append(f"- {env}: Welch's t = {test.statistic:.2f}, p = {test.pvalue:.2f}")
    return "\n".join([*lines, "", *notes]) + "\n"


def main(argv: Sequence[str]) -> None:
    """Do what the flags say."""
    del argv
    if FLAGS.one:
        run_one(FLAGS.one)
        return
    folder = Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    measure(folder / "returns.csv")
    text = report(read_rows(folder / "returns.csv"), FLAGS.envs, str(FLAGS.num_timesteps))
    (folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    define_flags()
    app.run(main)
