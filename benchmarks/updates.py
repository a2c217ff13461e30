"""What an update costs beside PPO's: `python -m benchmarks.updates`.

The compiled `learner.update` of one batch (2048 samples, minibatches of 64, ten epochs; on Hopper-v5 networks of
11-64-64-3) for each contender, in turns in one process on one thread. Ratios are to the first contender: the median over
rounds of the ratio within a round, and the ratio of the shortest times. Other work on the machine makes both contenders of a
round slow, and leaves the shortest times nearly alone.

    python -m benchmarks.updates --contenders=ppo,wnpg,wnpg:num_basis=40,bg_wnpg:num_features=0:num_actions=40

A contender is an algorithm, with settings after colons.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import one_thread
from benchmarks.rows import write_rows

flags.DEFINE_string("env", "Hopper-v5", "Environment.")
flags.DEFINE_list(
    "contenders",
    [
        "ppo",
        "pg",
        "bgpg:num_features=100",
        "bgpg:num_features=0",
        "wnpg",
        "wnpg:num_basis=1",
        "bg_wnpg:num_features=100",
        "bg_wnpg:num_features=0",
        "npg",
        "trpo",
        "wtrpo",
    ],
    "Algorithms, each with its settings: alg:name=value:name=value.",
)
flags.DEFINE_integer("repetitions", 15, "Rounds.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")
FLAGS = flags.FLAGS


def measure(env: str, contenders: Sequence[str], repetitions: int) -> dict[str, np.ndarray]:
    """Seconds of an update over its samples, [repetitions], by contender."""
    from benchmarks.subjects import Trainer

    trainers = {}
    for contender in contenders:
        trainers[contender] = trainer = Trainer.of(contender, env)
        trainer.run()
        trainer.update()
    seconds = {name: np.empty(repetitions) for name in trainers}
    for repetition in range(repetitions):
        for name, trainer in trainers.items():
            started = time.process_time()
            trainer.update()
            seconds[name][repetition] = (time.process_time() - started) / trainer.config.batch_size
    for trainer in trainers.values():
        trainer.close()
    return seconds


def summarise(seconds: dict[str, np.ndarray]) -> list[dict[str, str | float]]:
    """A row for each contender: median and shortest µs a step, and both ratios to the first contender."""
    first = next(iter(seconds.values()))
    return [
        {
            "contender": name,
            "median_us": round(1e6 * float(np.median(own)), 2),
            "shortest_us": round(1e6 * float(own.min()), 2),
            "median_ratio": round(float(np.median(own / first)), 3),
            "shortest_ratio": round(float(own.min() / first.min()), 3),
        }
        for name, own in seconds.items()
    ]


def main(argv: Sequence[str]) -> None:
    del argv
    one_thread.load()
    rows = summarise(measure(FLAGS.env, FLAGS.contenders, FLAGS.repetitions))
    print(f"{FLAGS.env:34}{'median':>10}{'shortest':>10}{'ratio':>9}{'of shortest':>13}")
    for row in rows:
        print(
            f"{row['contender']:34}{row['median_us']:7.1f} µs{row['shortest_us']:7.1f} µs"
            f"{row['median_ratio']:9.2f}{row['shortest_ratio']:13.2f}"
        )
    if FLAGS.output:
        write_rows(Path(FLAGS.output), rows)


if __name__ == "__main__":
    app.run(main)
