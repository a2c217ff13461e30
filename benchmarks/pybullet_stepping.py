"""Steps per second of the PyBullet tasks: the packaged environments, ours, and the engine by itself.

    python -m benchmarks.pybullet_stepping
    python -m benchmarks.pybullet_stepping --tasks=Hopper,Ant --repetitions=20

Everything runs in one process, in turns, with the same random actions; medians over the rounds, in CPU seconds, so that
other programs on the machine count as little as possible. Resets are timed apart. The table also goes to
--output_dir/pybullet_stepping.csv.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks.rows import write_rows

flags.DEFINE_list(
    "tasks", ["Hopper", "Walker2d", "HalfCheetah", "Ant", "Humanoid", "Reacher", "DoublePendulum"], "Short names."
)
flags.DEFINE_integer("steps", 1000, "Steps of each contender in a round.", lower_bound=1)
flags.DEFINE_integer("repetitions", 9, "Rounds.", lower_bound=1)
flags.DEFINE_string("output_dir", "runs/results/throughput", "Where the table goes.")
FLAGS = flags.FLAGS

PACKAGED = {
    "Hopper": "HopperBulletEnv-v0",
    "Walker2d": "Walker2DBulletEnv-v0",
    "HalfCheetah": "HalfCheetahBulletEnv-v0",
    "Ant": "AntBulletEnv-v0",
    "Humanoid": "HumanoidBulletEnv-v0",
    "Reacher": "ReacherBulletEnv-v0",
    "DoublePendulum": "InvertedDoublePendulumBulletEnv-v0",
}
Seconds = tuple[float, float]  # of a step, of a reset (nan where the round had none)
Contender = Callable[[np.ndarray], Seconds]


def whole_steps(name: str) -> Contender:
    """`env.step` as a training loop calls it."""
    env = _world(name)

    def run(actions: np.ndarray) -> Seconds:
        resets, resetting = 0, 0.0
        started = time.process_time()
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                paused = time.process_time()
                env.reset()
                resetting += time.process_time() - paused
                resets += 1
        stepping = time.process_time() - started - resetting
        return stepping / len(actions), resetting / resets if resets else np.nan

    return run


def engine_steps(name: str) -> Contender:
    """`stepSimulation` alone, on the packaged environment's trajectory."""
    from wng_tf.envs.pybullet_quiet import pybullet

    env = _world(name)
    spent = 0.0

    def timed_step() -> None:
        nonlocal spent
        started = time.process_time()
        pybullet.stepSimulation(env.unwrapped.physicsClientId)
        spent += time.process_time() - started

    env.unwrapped.scene.global_step = timed_step
    clock = _cost_of_the_clock()

    def run(actions: np.ndarray) -> Seconds:
        nonlocal spent
        spent = 0.0
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return spent / len(actions) - clock, np.nan

    return run


def _world(name: str) -> Any:
    from wng_tf.envs import tasks
    from wng_tf.envs.pybullet_quiet import quiet

    env = tasks.make(name)
    with quiet():
        env.reset(seed=0)
    return env


def _cost_of_the_clock() -> float:
    """Seconds that an interval between two readings shows when nothing happens."""
    empty = []
    for _ in range(1000):
        started = time.process_time()
        empty.append(time.process_time() - started)
    return float(np.median(empty))


def megabytes_per_world(name: str, count: int = 4) -> float:
    """Resident memory of each of `count` further worlds; call it in a fresh process, on Linux."""
    from wng_tf.envs import tasks

    worlds, sizes = [], []
    for number in range(count + 1):
        worlds.append(tasks.make(name))
        worlds[-1].reset(seed=number)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        sizes.append(pages * resource.getpagesize() / 2**20)
    return (sizes[-1] - sizes[0]) / count


def measure(name: str, steps: int, repetitions: int) -> dict[str, str | float]:
    """One row of the table."""
    from wng_tf.envs import tasks

    contenders = {
        "packaged": whole_steps(PACKAGED[name]),
        "fast": whole_steps(name),
        "engine": engine_steps(PACKAGED[name]),
    }
    space = tasks.make(name).action_space
    actions = np.random.default_rng(0).uniform(space.low, space.high, (steps, *space.shape)).astype(space.dtype)
    rounds: dict[str, list[Seconds]] = {key: [] for key in contenders}
    for number in range(repetitions + 1):
        for key, run in contenders.items():
            seconds = run(actions)
            if number > 0:  # the first round warms up
                rounds[key].append(seconds)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        memory = pool.apply(megabytes_per_world, (name,))
    step, reset = ({key: np.array(values)[:, part] for key, values in rounds.items()} for part in (0, 1))
    return {
        "task": name,
        **{f"{key}_steps_per_s": round(1 / float(np.median(step[key]))) for key in contenders},
        "fast_over_packaged": round(float(np.median(step["packaged"] / step["fast"])), 2),
        "engine_over_packaged": round(float(np.median(step["packaged"] / step["engine"])), 2),
        "packaged_reset_us": round(1e6 * float(np.nanmedian(reset["packaged"]))),
        "fast_reset_us": round(1e6 * float(np.nanmedian(reset["fast"]))),
        "megabytes_per_world": round(memory, 1),
    }


def main(_: list[str]) -> None:
    rows = []
    for name in FLAGS.tasks:
        rows.append(measure(name, FLAGS.steps, FLAGS.repetitions))
        if len(rows) == 1:
            print("  ".join(f"{key:>14}" for key in rows[0]))
        print("  ".join(f"{value:>{max(14, len(key))}}" for key, value in rows[-1].items()), flush=True)
    path = Path(FLAGS.output_dir) / "pybullet_stepping.csv"
    write_rows(path, rows)
    print(f"Written to {path}")


if __name__ == "__main__":
    app.run(main)
