"""How exact the estimated natural gradient is: error, direction and time against closed forms.

    python -m wng_tf.experiments.estimator_accuracy

For q = N(μ, diag(exp(2v))) the Wasserstein information matrix is diag(1, exp(2v)); for evolution strategies with the
embedding X = A θ̃ + b it is AᵀA. The truth is the damped natural gradient (G + ε I)⁻¹ g of a random g. Samples N,
basis functions M, dimension d, damping ε and bandwidth are varied one at a time around a default, for the three
Jacobians. Writes a figure, CSVs and a README.md. About three minutes on one core.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from wng_tf.cli.app import load_tensorflow, run_app
from wng_tf.cli.flags import define_number
from wng_tf.errors import UserError
from wng_tf.experiments.accuracy_measurements import DIRECTIONS_OF, Case, Damped, Row, damping_of_directions, sweep
from wng_tf.experiments.accuracy_report import draw, readme
from wng_tf.runtime import output

if TYPE_CHECKING:
    pass

FLAGS = flags.FLAGS


def write(rows: Sequence[Row], damped: Sequence[Damped], seeds: Sequence[int], folder: Path) -> list[Path]:
    """Figure, CSVs and README.md. Returns the files."""
    from wng_tf.plots.style import save
    from wng_tf.plots.tables import to_csv

    folder.mkdir(parents=True, exist_ok=True)
    columns = ("form", "varied", *(field.name for field in dataclasses.fields(Case)))
    columns += tuple(f"{name}_{quartile}" for name in ("cosine", "error") for quartile in ("q25", "median", "q75"))
    table = [
        (row.form, row.varied, *dataclasses.astuple(row.case), *row.cosine, *row.error, round(row.milliseconds, 2))
        for row in rows
    ]
    texts = {
        "accuracy.csv": to_csv((*columns, "milliseconds"), table),
        "directions.csv": to_csv(Damped._fields, damped),
        "README.md": readme(rows, damped, seeds),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [*save(draw(rows), folder / "estimator_accuracy"), *(folder / name for name in texts)]


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("output_dir", "runs/results/estimator_accuracy", "Folder for the figure, CSVs and README.md.")
    define_number("seed", 0, "The first seed.")
    define_number("num_seeds", 5, "How many seeds: a new problem, samples and basis each.")


def main(argv: Sequence[str]) -> int:
    """Measure everything and write it."""
    del argv
    if FLAGS.num_seeds < 1:
        raise UserError(f"--num_seeds is {FLAGS.num_seeds}, but must be at least 1.")
    load_tensorflow()
    seeds = range(FLAGS.seed, FLAGS.seed + FLAGS.num_seeds)
    rows = sweep(seeds)
    damped = damping_of_directions(Case(), DIRECTIONS_OF, seeds)
    out = Path(FLAGS.output_dir)
    for path in output.into(out, lambda folder: write(rows, damped, seeds, folder), "--output_dir"):
        print(path)
    return 0


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main)


if __name__ == "__main__":
    app()
