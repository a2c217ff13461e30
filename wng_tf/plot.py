"""`python -m wng_tf.plot DIR...`: learning curves, tables with intervals, and comparisons of the runs in some folders.

    python -m wng_tf.plot runs/out/table1 --paper=table1

In --out: curves, wallclock, improvement, profile, efficiency (PNG, SVG, and the CSV of what is drawn), returns.csv,
summary.csv, evidence.csv (what the updates did: KL, W2, cosine, ...) and table.md; where runs of one algorithm differ in a
flag, best.flags with the best value for a sweep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.cli.flags import define_number
from wng_tf.errors import UserError
from wng_tf.runtime.paths import expanded

FLAGS = flags.FLAGS
FIGURES = ("curves", "wallclock", "improvement", "profile", "efficiency")


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("out", None, "Folder for the plots; default: DIR/plots of the first DIR.")
    flags.DEFINE_multi_enum("figures", list(FIGURES), list(FIGURES), "Which figures. Repeatable; default: all.")
    flags.DEFINE_list("metrics", [], "Also draw these columns of progress.csv: wng/cosine,loss/kl_moved.")
    flags.DEFINE_enum(
        "source",
        "auto",
        ["auto", "monitor", "progress"],
        "Where returns come from: the monitor files, progress.csv, or what suits the algorithm.",
    )
    define_number("window", 100, "Episodes that a return is the mean of (monitor files).", low=1)
    flags.DEFINE_list("algs", [], "Only these algorithms.")
    flags.DEFINE_list("envs", [], "Only these tasks.")
    flags.DEFINE_bool("unfinished", False, "Plot unfinished runs too.")
    flags.DEFINE_float("max_steps", None, "Leave out what came after so many environment steps.", lower_bound=1.0)
    flags.DEFINE_string(
        "rates",
        None,
        "Folder of steps per second by task and algorithm, as benchmarks.throughput writes them: the efficiency figure then "
        "takes its minutes from them, where the runs' own clock went on beside other work.",
    )
    flags.DEFINE_enum("paper", None, ["table1"], "Put the paper's numbers beside ours.")


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    folders = argv[1:]
    if not folders:
        raise UserError("Name the folders of the runs: python -m wng_tf.plot runs/out/table1.")
    if FLAGS.max_steps is not None and math.isnan(FLAGS.max_steps):
        raise UserError(f"--max_steps must be a number of steps, not {FLAGS.max_steps}.")
    from wng_tf.plots.report import Options, write_report

    options = Options(
        figures=tuple(FLAGS.figures),
        metrics=tuple(FLAGS.metrics),
        source=FLAGS.source,
        window=FLAGS.window,
        algs=tuple(FLAGS.algs),
        envs=tuple(FLAGS.envs),
        unfinished=FLAGS.unfinished,
        max_steps=FLAGS.max_steps,
        paper=FLAGS.paper,
        rates=expanded(FLAGS.rates) if FLAGS.rates else None,
    )
    out = expanded(FLAGS.out) if FLAGS.out else expanded(folders[0]) / "plots"
    for path in write_report(folders, out, options):
        print(path)
    return 0


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main, positionals=True)


if __name__ == "__main__":
    app()
