"""Hot spots of a run: `python -m benchmarks.profile --alg=bg_wnpg --env=Hopper-v5`.

Some updates run under cProfile after a warm-up (compilation is not counted); the functions with the most time of
their own are printed. What runs inside the compiled update shows as one line.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Sequence

from absl import app, flags

from benchmarks import one_thread

flags.DEFINE_string("alg", "bg_wnpg", "Algorithm.")
flags.DEFINE_string("env", "Hopper-v5", "Environment.")
flags.DEFINE_integer("updates", 5, "Updates to profile.")
flags.DEFINE_integer("rows", 25, "Functions to print.")
FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> None:
    del argv
    one_thread.load()
    from benchmarks.subjects import Trainer

    trainer = Trainer.make(FLAGS.alg, FLAGS.env)
    trainer.step()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(FLAGS.updates):
        trainer.step()
    profiler.disable()
    trainer.close()
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(FLAGS.rows)


if __name__ == "__main__":
    app.run(main)
