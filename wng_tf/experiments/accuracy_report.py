"""The figure and the README.md of `estimator_accuracy`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wng_tf.experiments.accuracy_measurements import (
    FEW,
    FORMS,
    REFERENCE,
    SWEEPS,
    Case,
    Damped,
    Form,
    Row,
    select,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Median relative error up to which an estimate counts as exact enough.
TOLERANCE = 0.2

NAMES: Mapping[str, str] = {
    "samples": "Samples N",
    "basis": "Basis functions M",
    "dimension": "Dimension d",
    "epsilon": "Damping ε",
    "log_bandwidth": "log₁₀ bandwidth factor",
    "reparameterised": "reparameterised",
    "score": "score function",
    "evolution": "evolution strategies",
}


def draw(rows: Sequence[Row]) -> Figure:
    """Relative error above, one minus cosine below; a column for each quantity varied. Bands are quartiles."""
    from matplotlib.lines import Line2D

    from wng_tf.plots.style import in_style, new_figure

    colors = {"reparameterised": "#0072B2", "score": "#D55E00", "evolution": "#009E73"}
    with in_style():
        figure = new_figure(9.2, 4.4)
        grid = figure.subplots(2, len(SWEEPS), sharey="row", sharex="col")
        for column, varied in enumerate(SWEEPS):
            for form, (suffix, line) in itertools.product(FORMS, (("", "-"), ("_few", ":"))):
                chosen = select(rows, form, varied + suffix)
                values = [row.value for row in chosen]
                errors = np.array([row.error for row in chosen]).reshape(-1, 3)
                gaps = np.maximum(1.0 - np.array([row.cosine for row in chosen]).reshape(-1, 3), 1e-8)
                for ax, numbers in zip(grid[:, column], (errors, gaps), strict=True):
                    ax.plot(values, numbers[:, 1], line, color=colors[form], marker="o", markersize=2.5)
                    if not suffix:
                        low, high = np.sort(numbers[:, [0, 2]], axis=1).T
                        ax.fill_between(values, low, high, color=colors[form], alpha=0.18, linewidth=0)
            for ax in grid[:, column]:
                ax.set_yscale("log")
                if varied != "log_bandwidth":
                    ax.set_xscale("log")
            grid[1, column].set_xlabel(NAMES[varied])
        grid[0, 0].set_ylabel("Relative error")
        grid[1, 0].set_ylabel("1 - cosine")
        handles = [Line2D([], [], color=colors[form], label=NAMES[form]) for form in FORMS]
        handles += [Line2D([], [], color="#444444", linestyle="-", label=f"M = {Case().basis}")]
        handles += [Line2D([], [], color="#444444", linestyle=":", label=f"M = {FEW}")]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def trusted(rows: Sequence[Row], form: Form) -> str:
    """Where, among dimensions and dampings, few basis functions are exact enough."""
    places = []
    for varied, label in (("dimension_few", "d"), ("epsilon_few", "ε")):
        values = [f"{row.value:g}" for row in select(rows, form, varied) if row.error[1] <= TOLERANCE]
        if values:
            places.append(f"{label} = {', '.join(values)}")
    return "with " + " and with ".join(places) if places else "nowhere"


def readme(rows: Sequence[Row], damped: Sequence[Damped], seeds: Sequence[int]) -> str:
    """The tables and what follows from them."""
    default = Case()

    def best(form: Form, varied: str) -> Row:
        return min(select(rows, form, varied), key=lambda row: row.error[1])

    def at(form: Form, varied: str, value: float) -> Row:
        return next(row for row in select(rows, form, varied) if row.value == value)

    def numbers(row: Row) -> str:
        return f"{row.cosine[1]:.4f}, {row.error[1]:.3f}"

    few, many = damped[0], damped[-1]
    parameters = 2 * default.dimension
    shown: tuple[Form, ...] = ("reparameterised", "score")
    lines = [
        "# How exact is the estimated natural gradient?",
        "",
        "    python -m wng_tf.experiments.estimator_accuracy",
        "",
        "Estimates against the closed form (damping included) for q = N(μ, diag(exp 2v)) and a random gradient; for "
        "evolution strategies X = A θ̃ + b, whose exact metric is AᵀA.",
        f"Around N = {default.samples}, M = {default.basis}, d = {default.dimension}, ε = {default.epsilon:g} and the mean "
        f"squared distance as bandwidth, one at a time. Medians over {len(seeds)} seeds (new problem, samples and basis "
        "each); quartiles and time per call in `accuracy.csv`.",
        "",
        "![Accuracy](estimator_accuracy.png)",
        "",
        "Full lines M = 50, dotted lines M = 5; bands are quartiles.",
        "",
        "## Many basis functions: cosine, relative error (quartiles of the error)",
        "",
        "| d | N | M | reparameterised | score function | evolution strategies |",
        "|---|---|---|---|---|---|",
    ]
    for place, case in enumerate(REFERENCE):
        cells = []
        for form in FORMS:
            row = at(form, "reference", place)
            cells.append(f"{numbers(row)} ({row.error[0]:.3f} to {row.error[2]:.3f})")
        lines.append(f"| {case.dimension} | {case.samples} | {case.basis} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## When can M = 5 be trusted?",
        "",
        "Cosine, relative error with M = 5:",
        "",
        "| | " + " | ".join(NAMES[form] for form in FORMS) + " |",
        "|---|---|---|---|",
    ]
    for varied, label in (("dimension_few", "d"), ("epsilon_few", "ε")):
        for row in select(rows, FORMS[0], varied):
            cells = [numbers(at(form, varied, row.value)) for form in FORMS]
            lines.append(f"| {label} = {row.value:g} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"With d = {default.dimension} ({parameters} parameters) and ε = {default.epsilon:g}, reparameterised:",
        "",
        "| M | directions slowed down | exact metric | share of a random gradient in them | their pace / exact pace |",
        "|---|---|---|---|---|",
        *(
            f"| {row.basis} | {row.slowed:g} of {parameters} | {row.slowed_exactly:g} | {row.overlap:.2f} "
            f"| {row.shrunk_within:.2f} |"
            for row in damped
        ),
        "",
        f"M basis functions slow down at most M directions: {few.slowed:g} of {parameters} with M = {few.basis}, "
        f"{many.slowed:g} with M = {many.basis}. These are combinations of parameters that move the embedding along the "
        "sampled kernels' gradients.",
        "In every other direction the step keeps its length 1/ε, that of a plain gradient step.",
        f"Median relative error of at most {TOLERANCE:.0%} with M = {FEW}: "
        + "; ".join(f"{NAMES[form]} {trusted(rows, form)}" for form in FORMS)
        + ".",
        "",
        "## Which bandwidth?",
        "",
        "| log₁₀ factor | " + " | ".join(f"{NAMES[form]}, M = {m}" for form in FORMS for m in (default.basis, FEW)) + " |",
        "|---" * 7 + "|",
    ]
    for value in SWEEPS["log_bandwidth"]:
        cells = [numbers(at(form, name, value)) for form in FORMS for name in ("log_bandwidth", "log_bandwidth_few")]
        lines.append(f"| {value:g} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Smallest error with M = {default.basis}: "
        + "; ".join(f"{NAMES[form]} at {best(form, 'log_bandwidth').value:g}" for form in FORMS)
        + f". With M = {FEW}: "
        + "; ".join(
            f"{NAMES[form]} at {best(form, 'log_bandwidth_few').value:g}, error "
            f"{best(form, 'log_bandwidth_few').error[1]:.3g}"
            for form in FORMS
        )
        + ".",
        "",
        "## Score function or reparameterised?",
        "",
        "| N | " + " | ".join(NAMES[form] for form in shown) + " | milliseconds a call |",
        "|---|---|---|---|",
    ]
    for value in SWEEPS["samples"]:
        pair = [at(form, "samples", value) for form in shown]
        lines.append(
            f"| {value:g} | {numbers(pair[0])} | {numbers(pair[1])} | "
            f"{pair[0].milliseconds:.1f}, {pair[1].milliseconds:.1f} |"
        )
    few_samples, many_samples = (
        [at(form, "samples", value) for form in shown] for value in (SWEEPS["samples"][0], SWEEPS["samples"][-1])
    )
    lines += [
        "",
        f"The score form's error is {few_samples[1].error[1] / few_samples[0].error[1]:.1f} times the reparameterised one's "
        f"with {SWEEPS['samples'][0]} samples and {many_samples[1].error[1] / many_samples[0].error[1]:.1f} times with "
        f"{SWEEPS['samples'][-1]}. Take it where no gradient passes through the embedding.",
        "Times are of this table's runs, on a machine that did other things: compare them with each other only.",
    ]
    return "\n".join(lines) + "\n"
