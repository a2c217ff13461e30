"""What Figure 1 shows, in words and numbers, beside what the paper says of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from wng_tf.experiments.figure1_runs import NAMES, STEP_SIZES, STRENGTHS, Results
from wng_tf.experiments.sinc_gaussian import METHODS, PARAMETERISATIONS, History, Method, Parameterisation


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
            f"after 10 iterations FNG {fng.loss[0, early]:.2g}, WNG {wng.loss[0, early]:.2g}; after "
            f"{wng.iterations[late]} FNG {fng.loss[0, late]:.1e}; at the end {final['fng', log]:.1e} and "
            f"{final['fng', diagonal]:.1e}",
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
