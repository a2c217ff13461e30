"""Steps per second of Gymnasium's MuJoCo tasks: as packaged, as `tasks.make` makes them, and the engine by itself.

    python -m benchmarks.mujoco_stepping

Everything runs in one process, in turns, with the same random actions, resets included; medians over the rounds. The table
also goes to --output_dir/mujoco_stepping.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from benchmarks.rows import write_rows

TASKS = (
    "Hopper",
    "Walker2d",
    "HalfCheetah",
    "Swimmer",
    "InvertedPendulum",
    "InvertedDoublePendulum",
    "Ant",
    "Humanoid",
    "HumanoidStandup",
    "Reacher",
    "Pusher",
)

flags.DEFINE_list("tasks", [f"{name}-v5" for name in TASKS], "Gymnasium ids.")
flags.DEFINE_integer("steps", 1000, "Steps of each contender in a round.", lower_bound=1)
flags.DEFINE_integer("repetitions", 15, "Rounds.", lower_bound=1)
flags.DEFINE_string("output_dir", "runs/results/throughput", "Where the table goes.")
FLAGS = flags.FLAGS


def measure(name: str, steps: int, repetitions: int) -> dict[str, str | float]:
    """One row of the table."""
    from benchmarks import subjects
    from benchmarks.timing import interleaved
    from wng_tf.envs import tasks

    contenders = {
        "packaged": subjects.random_steps(subjects.packaged(name), steps),
        "fast": subjects.random_steps(tasks.make(name), steps),
        "engine": subjects.raw_physics(name, steps),
    }
    seconds = interleaved(contenders, repetitions)
    return {
        "task": name,
        **{f"{key}_steps_per_s": round(steps / time) for key, time in seconds.items()},
        "fast_over_packaged": round(seconds["packaged"] / seconds["fast"], 2),
        "fast_over_engine": round(seconds["engine"] / seconds["fast"], 2),
    }


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes."""
    del argv
    rows = [measure(name, FLAGS.steps, FLAGS.repetitions) for name in FLAGS.tasks]
    for row in rows:
        print(row)
    path = Path(FLAGS.output_dir) / "mujoco_stepping.csv"
    write_rows(path, rows)


if __name__ == "__main__":
    app.run(main)
