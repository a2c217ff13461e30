"""Our PPO beside Stable-Baselines3's, with the same hyper-parameters: do final returns agree?

    pip install -e '.[peers]'
    python -m benchmarks.ppo_vs_sb3

Every run is a process of its own and leaves one row in `returns.csv`; rows that are there are not run again, so the command
can be interrupted and repeated. At the end: a table with 95% intervals (Student) and a plot.
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

LIBRARIES = ("wng_tf", "stable-baselines3")
COLUMNS = ("env", "library", "seed", "steps", "final_return", "seconds")

flags.DEFINE_list("envs", ["Hopper-v5", "InvertedDoublePendulum-v5"], "Gymnasium ids.")
flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds.")
flags.DEFINE_integer("num_timesteps", 300_000, "Environment steps per run.")
flags.DEFINE_list("libraries", list(LIBRARIES), "Which libraries to run.")
flags.DEFINE_string("output_dir", "runs/results/ppo_vs_sb3", "Where the table and the plot go.")
flags.DEFINE_string("one", None, "Used by the command itself: 'library,env,seed,steps' runs one and prints its returns.")
FLAGS = flags.FLAGS


def train_wng_tf(env: str, seed: int, steps: int) -> list[float]:
    """Returns of all training episodes, in order."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from baselines_compat.monitor import load_results
    from wng_tf.policy_gradient.learn import learn

    with tempfile.TemporaryDirectory() as folder:
        log_path = os.path.join(folder, "run")
        # Our value loss is ½ (V - R)², as in Baselines; Stable-Baselines3's has no ½ and a coefficient of 0.5.
        learn(env=env, alg="ppo", seed=seed, total_timesteps=steps, log_path=log_path, lr="3e-4", vf_coef=1.0,
              num_env=1, nsteps=2048, nminibatches=32, noptepochs=10, cliprange=0.2, save_interval=0)  # fmt: skip
        return [float(r) for r in load_results(log_path)["r"]]


def train_stable_baselines3(env: str, seed: int, steps: int) -> list[float]:
    """Returns of all training episodes, in order."""
    import gymnasium as gym
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    monitor = Monitor(gym.make(env))
    venv = VecNormalize(DummyVecEnv([lambda: monitor]))
    model = PPO("MlpPolicy", venv, n_steps=2048, batch_size=64, n_epochs=10, learning_rate=3e-4, clip_range=0.2,
                gamma=0.99, gae_lambda=0.95, ent_coef=0.0, vf_coef=0.5, max_grad_norm=0.5, seed=seed,
                device="cpu")  # fmt: skip
    model.learn(steps)
    return [float(r) for r in monitor.get_episode_rewards()]


TRAIN = dict(zip(LIBRARIES, (train_wng_tf, train_stable_baselines3), strict=True))


def run_one(text: str) -> None:
    library, env, seed, steps = text.split(",")
    started = time.time()
    returns = TRAIN[library](env, int(seed), int(steps))
    print(f"RESULT,{np.mean(returns[-100:])},{time.time() - started:.1f}", flush=True)


def read_rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def measure(file: Path) -> None:
    """Run what is missing from `file`."""
    done = {(row["env"], row["library"], row["seed"], row["steps"]) for row in read_rows(file)}
    for env in FLAGS.envs:
        for seed in FLAGS.seeds:
            for library in FLAGS.libraries:
                key = (env, library, seed, str(FLAGS.num_timesteps))
                if key in done:
                    continue
                one = ",".join((library, env, seed, str(FLAGS.num_timesteps)))
                command = [sys.executable, "-m", "benchmarks.ppo_vs_sb3", f"--one={one}"]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
                out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                result = [line for line in out.stdout.splitlines() if line.startswith("RESULT,")]
                if not result:
                    raise SystemExit(f"{one} failed:\n{out.stderr[-2000:]}")
                _, final, seconds = result[0].split(",")
                append(file, (env, library, seed, str(FLAGS.num_timesteps), f"{float(final):.2f}", seconds))
                print(one, final, f"{seconds} s", flush=True)


def append(file: Path, row: Sequence[str]) -> None:
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


def report(file: Path, folder: Path) -> None:
    """Table and plot from the rows."""
    from scipy import stats

    rows = read_rows(file)
    lines = [
        "| environment | library | seeds | final return | 95% interval | median steps/s |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for env in FLAGS.envs:
        finals = {}
        for library in LIBRARIES:
            mine = [row for row in rows if row["env"] == env and row["library"] == library]
            if len(mine) < 2:
                continue
            finals[library] = [float(row["final_return"]) for row in mine]
            mean, low, high = interval(finals[library])
            rate = np.median([float(row["steps"]) / float(row["seconds"]) for row in mine])
            lines.append(f"| {env} | {library} | {len(mine)} | {mean:.0f} | {low:.0f} to {high:.0f} | {rate:.0f} |")
        if len(finals) == 2:
            test = stats.ttest_ind(*finals.values(), equal_var=False)
            notes.append(f"- {env}: Welch's t = {test.statistic:.2f}, p = {test.pvalue:.2f}")
    (folder / "table.md").write_text("\n".join([*lines, "", *notes]) + "\n")
    print("\n".join([*lines, "", *notes]))
    plot(rows, folder)


def plot(rows: list[dict[str, str]], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(FLAGS.envs), figsize=(4 * len(FLAGS.envs), 3.2), squeeze=False)
    for axis, env in zip(axes[0], FLAGS.envs, strict=True):
        for x, (library, colour) in enumerate(zip(LIBRARIES, ("#0072B2", "#D55E00"), strict=True)):
            finals = [float(r["final_return"]) for r in rows if r["env"] == env and r["library"] == library]
            if len(finals) < 2:
                continue
            mean, low, high = interval(finals)
            axis.errorbar([x], [mean], yerr=[[mean - low], [high - mean]], fmt="o", capsize=6, color=colour)
            axis.scatter(np.full(len(finals), x + 0.15), finals, s=14, alpha=0.6, color=colour)
        axis.set_xticks(range(len(LIBRARIES)), LIBRARIES)
        axis.set_xlim(-0.5, len(LIBRARIES) - 0.5)
        axis.set_title(env)
        axis.set_ylabel("mean return, last 100 episodes")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "returns.png", dpi=150)


def main(argv: Sequence[str]) -> None:
    del argv
    if FLAGS.one:
        run_one(FLAGS.one)
        return
    folder = Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    measure(folder / "returns.csv")
    report(folder / "returns.csv", folder)


if __name__ == "__main__":
    app.run(main)
