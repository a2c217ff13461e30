"""Figure 1: natural gradients, penalties and plain gradient descent on a Gaussian with an exact objective.

    python -m wng_tf.experiments.figure1

Six panels, as in the paper: (a) Wasserstein penalties of several strengths beside WNG; (b) final loss against the
penalty's strength; (c) the path of the first mean and standard deviation; (d), (e) all methods in the two
parameterisations; (f) final loss against step size. Writes the figure, the curves as CSV and a README.md that says
which of the paper's findings hold. About a minute; no TensorFlow. The problem is in `sinc_gaussian`.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.cli.flags import define_number
from wng_tf.experiments.sinc_gaussian import (
    METHODS,
    PARAMETERISATIONS,
    History,
    Method,
    Parameterisation,
    optimise,
    start,
)
from wng_tf.runtime import output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS

PENALTIES: tuple[Method, ...] = ("w2_penalty", "kl_penalty")
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
STEP_SIZES = (0.01, 0.03, 0.1, 0.3, 0.9, 3.0, 10.0, 30.0)
#: Panel (a) draws these of STRENGTHS.
DRAWN_STRENGTHS = (0.01, 0.1, 1.0, 3.0)

NAMES: Mapping[str, str] = {
    "sgd": "SGD",
    "wng": "WNG",
    "fng": "FNG",
    "w2_penalty": "W₂ penalty",
    "kl_penalty": "KL penalty",
    "log_diagonal": "log-diagonal",
    "diagonal": "diagonal",
}
_COLORS = {"sgd": "#6E6E6E", "wng": "#0072B2", "fng": "#A6761D", "w2_penalty": "#009E73", "kl_penalty": "#CC79A7"}
_LINES = {"sgd": (0, (5, 1.5)), "wng": "-", "fng": "-.", "w2_penalty": (0, (3, 1, 1, 1)), "kl_penalty": (0, (1, 1))}
#: Losses below are drawn here: double precision has nothing more to say beside a loss of order one.
_FLOOR = 1e-16


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all panels share; the paper's λ, β, iterations and dimensions."""

    seed: int = 0
    dimensions: int = 100
    iterations: int = 4000
    step_size: float = 0.9
    penalty: float = 0.1
    inner_steps: int = 10


@dataclasses.dataclass(frozen=True)
class Results:
    """Runs by method and parameterisation; histories of sweeps have one run for each value swept."""

    settings: Settings
    runs: Mapping[tuple[Method, Parameterisation], History]
    by_strength: Mapping[tuple[Method, Parameterisation], History]
    by_step_size: Mapping[tuple[Method, Parameterisation], History]


def run(settings: Settings) -> Results:
    """All runs of the figure; losses in the histories are divided by the number of dimensions."""
    mean, variance = start(settings.dimensions, settings.seed)
    single, by_strength, by_step_size = {}, {}, {}
    for method, parameterisation in itertools.product(METHODS, PARAMETERISATIONS):
        strengths = STRENGTHS if method in PENALTIES else ()
        # The run of the other panels, then the two sweeps, side by side.
        history = optimise(
            method,
            parameterisation,
            mean,
            variance,
            step_size=np.array([settings.step_size] * (1 + len(strengths)) + list(STEP_SIZES)),
            penalty=np.array([settings.penalty, *strengths] + [settings.penalty] * len(STEP_SIZES)),
            iterations=settings.iterations,
            inner_steps=settings.inner_steps,
        )
        history = history._replace(loss=history.loss / settings.dimensions)
        key = method, parameterisation
        single[key] = history.select(slice(0, 1))
        if strengths:
            by_strength[key] = history.select(slice(1, 1 + len(strengths)))
        by_step_size[key] = history.select(slice(1 + len(strengths), None))
    return Results(settings, single, by_strength, by_step_size)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A statement of Section 3.1 and what was measured."""

    claim: str
    measured: str
    holds: bool


def findings(results: Results) -> list[Finding]:
    """The paper's findings, each with its numbers; losses per dimension."""
    final = {key: float(history.loss[0, -1]) for key, history in results.runs.items()}
    log, diagonal = PARAMETERISATIONS
    wng, fng = results.runs["wng", log], results.runs["fng", log]
    early, late = np.searchsorted(wng.iterations, [10, results.settings.iterations // 2])
    w2 = results.by_strength["w2_penalty", log].loss[:, -1]
    return [
        Finding(
            "FNG is faster at first, then slows down and stalls near 1e-4, in both parameterisations",
            f"after 10 iterations FNG {fng.loss[0, early]:.2g}, WNG {wng.loss[0, early]:.2g}; after half of them FNG "
            f"{fng.loss[0, late]:.1e}; at the end {final['fng', log]:.1e} and {final['fng', diagonal]:.1e}",
            bool(fng.loss[0, early] < wng.loss[0, early])
            and all(1e-5 < final["fng", parameterisation] < 1e-3 for parameterisation in PARAMETERISATIONS),
        ),
        Finding(
            "WNG reaches an error of 1e-8, in both parameterisations",
            f"{_tiny(final['wng', log])} and {_tiny(final['wng', diagonal])}; below 1e-8 after "
            + " and ".join(str(_below(results.runs["wng", p], 1e-8)) for p in PARAMETERISATIONS)
            + " iterations",
            all(final["wng", parameterisation] < 1e-8 for parameterisation in PARAMETERISATIONS),
        ),
        Finding(
            "The W₂ penalty stalls in the log-diagonal parameterisation, whatever β is",
            f"between {w2.min():.1e} and {w2.max():.1e} for β from {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}: it stalls, "
            "at the level of plain gradient descent (the paper prints 'of order 1e-0')",
            bool(w2.min() > 1e-6),
        ),
        Finding(
            "In the diagonal parameterisation W₂ penalty and WNG reach a similar error",
            f"W₂ penalty {final['w2_penalty', diagonal]:.1e} with β = {results.settings.penalty:g}, "
            f"{results.by_strength['w2_penalty', diagonal].loss[:, -1].min():.1e} with the best β of the sweep; "
            f"WNG {_tiny(final['wng', diagonal])}",
            bool(final["w2_penalty", diagonal] < 1e-6),
        ),
        Finding(
            "WNG tolerates the widest range of step sizes (log-diagonal): to reach 1e-8",
            _counts(results, log, 1e-8),
            usable(results, "wng", log, 1e-8) > max(usable(results, m, log, 1e-8) for m in METHODS if m != "wng"),
        ),
        Finding(
            "The same, to reach only 1e-3",
            _counts(results, log, 1e-3),
            usable(results, "wng", log, 1e-3) > max(usable(results, m, log, 1e-3) for m in METHODS if m != "wng"),
        ),
    ]


def usable(results: Results, method: Method, parameterisation: Parameterisation, below: float = 1e-3) -> int:
    """With how many of STEP_SIZES the final loss per dimension lies below the bound."""
    history = results.by_step_size[method, parameterisation]
    return int(((history.loss[:, -1] < below) & ~history.diverged).sum())


def _counts(results: Results, parameterisation: Parameterisation, below: float) -> str:
    counts = ", ".join(f"{NAMES[method]} {usable(results, method, parameterisation, below)}" for method in METHODS)
    return f"of {len(STEP_SIZES)} step sizes from {STEP_SIZES[0]:g} to {STEP_SIZES[-1]:g}: {counts}"


def _below(history: History, bound: float) -> int:
    """The first recorded iteration with a loss below."""
    reached = history.loss[0] < bound
    return int(history.iterations[reached.argmax()]) if reached.any() else -1


def _tiny(value: float) -> str:
    return "below 1e-16" if value < 1e-16 else f"{value:.1e}"


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
        handles += [
            Line2D([], [], color="#444444", linestyle=line, label=NAMES[p]) for p, line in ((log, "-"), (diagonal, "--"))
        ]
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


def readme(results: Results) -> str:
    """What the figure shows, in words and numbers."""
    settings = results.settings
    lines = [
        "# Figure 1: Wasserstein natural gradient on a Gaussian, exactly",
        "",
        f"    python -m wng_tf.experiments.figure1 --seed={settings.seed}",
        "",
        f"The Gaussian q = N(μ, Σ) of {settings.dimensions} dimensions, Σ diagonal, minimises E[Σ_i (1 - sin x_i / x_i)] "
        "(Section 3.1, Appendix D.3).",
        f"μ₀ ~ N(0, 3²) for each coordinate, Σ₀ = 9 I, λ = {settings.step_size:g}, β = {settings.penalty:g}, "
        f"{settings.iterations} gradient steps. Loss and gradients by Gauss-Legendre quadrature, exact to rounding.",
        "All losses below are per dimension; the sum is "
        f"{settings.dimensions} times as large. Values below 1e-16 are drawn there.",
        "",
        f"Penalty methods take {settings.inner_steps} gradient steps on L(θ) + (β/2) D(q_θk, q_θ) before θ_k moves on; "
        "each counts as an iteration (with a single one the penalty's gradient is zero).",
        "In the diagonal parameterisation a step may shrink a variance at most to a tenth, and not below 1e-30, "
        "for gradient steps do not know that Σ_ii > 0.",
        "A run whose mean or standard deviation passes 60 has diverged: it stops there, and is drawn as a cross.",
        "",
        "![Figure 1](figure1.png)",
        "",
        "| Finding of the paper | Measured | Holds |",
        "|---|---|---|",
        *(f"| {f.claim} | {f.measured} | {'yes' if f.holds else 'no'} |" for f in findings(results)),
        "",
        "Final loss per dimension at the default settings:",
        "",
        "| | " + " | ".join(NAMES[method] for method in METHODS) + " |",
        "|---" * (len(METHODS) + 1) + "|",
    ]
    for parameterisation in PARAMETERISATIONS:
        cells = (_tiny(results.runs[method, parameterisation].loss[0, -1]) for method in METHODS)
        lines.append(f"| {NAMES[parameterisation]} | " + " | ".join(cells) + " |")
    lines += ["", "Step sizes (of " + ", ".join(f"{value:g}" for value in STEP_SIZES) + ") that end below 1e-3 and 1e-8:", ""]
    lines += ["| | " + " | ".join(NAMES[method] for method in METHODS) + " |", "|---" * (len(METHODS) + 1) + "|"]
    for p in PARAMETERISATIONS:
        cells = (f"{usable(results, m, p)}, {usable(results, m, p, 1e-8)}" for m in METHODS)
        lines.append(f"| {NAMES[p]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
    sys.exit(app())
