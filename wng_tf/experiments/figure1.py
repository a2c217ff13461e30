"""Figure 1: natural gradients, penalties and plain gradient descent on a Gaussian with an exact objective.

    python -m wng_tf.experiments.figure1

Six panels, as in the paper: (a) Wasserstein penalties of several strengths beside WNG; (b) final loss against the
penalty's strength; (c) the path of the first mean and standard deviation; (d), (e) all methods in the two
parameterisations; (f) final loss against step size. Writes the figure, the curves as CSV and a README.md that says
which of the paper's findings hold. About a minute; no TensorFlow. The problem is in `sinc_gaussian`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.cli.flags import define_number
from wng_tf.experiments.figure1_findings import findings, readme
from wng_tf.experiments.figure1_runs import NAMES, PENALTIES, STEP_SIZES, STRENGTHS, Results, Settings, run
from wng_tf.experiments.sinc_gaussian import (
    METHODS,
    PARAMETERISATIONS,
    History,
)
from wng_tf.runtime import output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS

#: Panel (a) draws these of STRENGTHS.
DRAWN_STRENGTHS = (0.01, 0.1, 1.0, 3.0)

_COLORS = {"sgd": "#6E6E6E", "wng": "#0072B2", "fng": "#A6761D", "w2_penalty": "#009E73", "kl_penalty": "#CC79A7"}
_LINES: dict[str, Any] = {
    "sgd": (0, (5, 1.5)),
    "wng": "-",
    "fng": "-.",
    "w2_penalty": (0, (3, 1, 1, 1)),
    "kl_penalty": (0, (1, 1)),
}
#: Losses below are drawn here: double precision has nothing more to say beside a loss of order one.
_FLOOR = 1e-16


def draw(results: Results) -> Figure:
    """The six panels."""
    from matplotlib.lines import Line2D

    from wng_tf.plots.style import in_style, new_figure

    log, diagonal = PARAMETERISATIONS
    iterations = results.runs["wng", log].iterations[1:]

    def curve(ax, history: History, index: int = 0, **look) -> None:
        ax.plot(iterations, np.maximum(history.loss[index, 1:], _FLOOR), **look)

    with in_style():
        figure = new_figure(7.4, 5.0)
        panels = figure.subplots(2, 3).ravel()
        a, b, c, d, e, f = panels

        shades = ("#B8E3D4", "#5CBFA0", "#009E73", "#00563F")
        for strength, shade in zip(DRAWN_STRENGTHS, shades, strict=True):
            history = results.by_strength["w2_penalty", log]
            curve(a, history, STRENGTHS.index(strength), color=shade, label=f"W₂, β = {strength:g}")
        curve(a, results.runs["sgd", log], color=_COLORS["sgd"], linestyle=_LINES["sgd"], label="SGD", linewidth=1.0)
        curve(a, results.runs["wng", log], color=_COLORS["wng"], label="WNG")
        a.legend(loc="lower left", frameon=False, fontsize=6.5)
        a.set_title("(a) W₂ penalty, log-diagonal", loc="left")

        for method in PENALTIES:
            for parameterisation, line in ((log, "-"), (diagonal, "--")):
                history = results.by_strength[method, parameterisation]
                _sweep(b, STRENGTHS, history, color=_COLORS[method], linestyle=line)
        b.set_title("(b) Penalty strength", loc="left")
        b.set_xlabel("β")
        handles = [Line2D([], [], color=_COLORS[method], label=NAMES[method]) for method in PENALTIES]
        handles += [Line2D([], [], color="#444444", linestyle="-", label=NAMES[log])]
        handles += [Line2D([], [], color="#444444", linestyle="--", label=NAMES[diagonal])]
        b.legend(handles=handles, frameon=False, fontsize=6.5)

        for method in METHODS:
            history = results.runs[method, log]
            c.plot(history.first_mean[0], history.first_std[0], color=_COLORS[method], linestyle=_LINES[method])
        c.plot(history.first_mean[0, 0], history.first_std[0, 0], "o", color="#222222", markersize=4)
        c.plot(0.0, 0.0, "*", color="#222222", markersize=8)
        c.set_title("(c) Path, log-diagonal", loc="left")
        c.set_xlabel("μ₁")
        c.set_ylabel("σ₁")

        for ax, letter, parameterisation in ((d, "d", log), (e, "e", diagonal)):
            for method in METHODS:
                history = results.runs[method, parameterisation]
                curve(ax, history, color=_COLORS[method], linestyle=_LINES[method])
            ax.set_title(f"({letter}) {NAMES[parameterisation].capitalize()}", loc="left")
        handles = [Line2D([], [], color=_COLORS[m], linestyle=_LINES[m], label=NAMES[m]) for m in METHODS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(METHODS), frameon=False)

        for method in METHODS:
            _sweep(f, STEP_SIZES, results.by_step_size[method, log], color=_COLORS[method], linestyle=_LINES[method])
        f.set_title("(f) Step size, log-diagonal", loc="left")
        f.set_xlabel("λ")

        for ax in (a, d, e):
            ax.set_xscale("log")
            ax.set_xlabel("Iterations")
            ax.set_ylabel("Loss per dimension")
        for ax in (b, f):
            ax.set_xscale("log")
            ax.set_ylabel("Final loss per dimension")
        for ax in (a, b, d, e, f):
            ax.set_yscale("log")
        for ax in (a, d, e, f):
            ax.set_ylim(_FLOOR / 3, 5.0)
    return figure


def _sweep(ax, values: Sequence[float], history: History, **look) -> None:
    """Final loss against the value swept; crosses where the run diverged."""
    final = np.maximum(history.loss[:, -1], _FLOOR)
    ax.plot(values, final, marker="o", markersize=2.5, **look)
    ax.plot(np.array(values)[history.diverged], final[history.diverged], "x", color=look["color"], markersize=6)


def write(results: Results, folder: Path) -> list[Path]:
    """Figure, CSVs and README.md. Returns the files."""
    from wng_tf.plots.style import save
    from wng_tf.plots.tables import to_csv

    folder.mkdir(parents=True, exist_ok=True)
    curves = [
        (method, parameterisation, int(iteration), *(f"{number:.6g}" for number in numbers))
        for (method, parameterisation), history in results.runs.items()
        for iteration, *numbers in zip(
            history.iterations, history.loss[0], history.first_mean[0], history.first_std[0], strict=True
        )
    ]
    history = results.by_strength["w2_penalty", "log_diagonal"]
    strengths = [
        (strength, int(iteration), f"{value:.6g}")
        for strength, losses in zip(STRENGTHS, history.loss, strict=True)
        for iteration, value in zip(history.iterations, losses, strict=True)
    ]
    texts = {
        "curves.csv": to_csv(
            ("method", "parameterisation", "iteration", "loss_per_dimension", "first_mean", "first_std"), curves
        ),
        "w2_penalty_curves.csv": to_csv(("beta", "iteration", "loss_per_dimension"), strengths),
        "final_loss_by_beta.csv": to_csv(_SWEEP_COLUMNS, _final("beta", STRENGTHS, results.by_strength)),
        "final_loss_by_step_size.csv": to_csv(_SWEEP_COLUMNS, _final("step_size", STEP_SIZES, results.by_step_size)),
        "README.md": readme(results),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [*save(draw(results), folder / "figure1"), *(folder / name for name in texts)]


_SWEEP_COLUMNS = ("method", "parameterisation", "swept", "value", "loss_per_dimension", "diverged")


def _final(swept: str, values: Sequence[float], histories: Mapping) -> Iterable[tuple]:
    for (method, parameterisation), history in histories.items():
        for value, loss, diverged in zip(values, history.loss[:, -1], history.diverged, strict=True):
            yield method, parameterisation, swept, value, f"{loss:.6g}", bool(diverged)


def define_flags() -> None:
    """The flags of this command."""
    default = Settings()
    flags.DEFINE_string("output_dir", "runs/results/figure1", "Folder for the figure, the CSVs and the README.md.")
    define_number("seed", default.seed, "Seed of the start, μ₀.")
    define_number("inner_steps", default.inner_steps, "Gradient steps of the penalty methods before θ_k moves on.")


def main(argv: Sequence[str]) -> int:
    """Run everything and write it."""
    del argv
    results = run(Settings(seed=FLAGS.seed, inner_steps=FLAGS.inner_steps))
    for path in output.into(Path(FLAGS.output_dir), lambda folder: write(results, folder), "--output_dir"):
        print(path)
    for finding in findings(results):
        print(f"{'holds' if finding.holds else 'DOES NOT HOLD'}: {finding.claim}: {finding.measured}")
    return 0


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main)


if __name__ == "__main__":
    app()
