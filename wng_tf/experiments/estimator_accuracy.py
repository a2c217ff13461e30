"""How exact the estimated natural gradient is: error, direction and time against closed forms.

    python -m wng_tf.experiments.estimator_accuracy

For q = N(μ, diag(exp(2v))) the Wasserstein information matrix is diag(1, exp(2v)); for evolution strategies with the
embedding X = A θ̃ + b it is AᵀA. The truth is the damped natural gradient (G + ε I)⁻¹ g of a random g. Samples N,
basis functions M, dimension d, damping ε and bandwidth are varied one at a time around a default, for the three
Jacobians. Writes a figure, CSVs and a README.md. About three minutes on one core.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from absl import flags

from wng_tf.cli.app import load_tensorflow, run_app
from wng_tf.cli.flags import define_number
from wng_tf.errors import UserError
from wng_tf.runtime import output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS

Form = Literal["reparameterised", "score", "evolution"]
FORMS: tuple[Form, ...] = ("reparameterised", "score", "evolution")


@dataclasses.dataclass(frozen=True)
class Case:
    """One setting of the estimator; the defaults are what is varied around."""

    samples: int = 5000
    basis: int = 50
    dimension: int = 5
    epsilon: float = 1e-3
    log_bandwidth: float = 0.0


#: Field of `Case` -> values, and how it is called.
SWEEPS: Mapping[str, tuple[float, ...]] = {
    "samples": (100, 300, 1000, 5000, 20_000),
    "basis": (2, 5, 10, 20, 50, 100),
    "dimension": (1, 2, 5, 10, 20),
    "epsilon": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
    "log_bandwidth": (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0),
}
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
#: The settings of the reference table in the paper's notation: d, N, M.
REFERENCE: tuple[Case, ...] = (
    Case(5000, 50, 1),
    Case(5000, 50, 2),
    Case(20_000, 200, 5),
    Case(20_000, 200, 10),
)
#: What policy gradients use by default.
FEW = 5
#: Numbers of basis functions whose slowed directions are counted.
DIRECTIONS_OF = (FEW, 10, 20, 50, 100)
#: The perturbation's scale of evolution strategies.
SIGMA = 0.02


class Truth(NamedTuple):
    """A problem whose metric is known. P parameters."""

    gradient: np.ndarray
    """g [P], standard normal."""
    metric: np.ndarray
    """G [P, P]."""


class Outcome(NamedTuple):
    """One estimate against the truth."""

    cosine: float
    """Between the estimated and the exact damped natural gradient."""
    error: float
    """|difference| / |exact|."""
    seconds: float
    """Of embeddings, Jacobian, similarity and solve in one compiled call, without compilation."""


def direction_of(truth: Truth, epsilon: float) -> np.ndarray:
    """The exact damped natural gradient (G + ε I)⁻¹ g [P]."""
    return np.linalg.solve(truth.metric + epsilon * np.eye(len(truth.gradient)), truth.gradient)


def compare(estimate: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Cosine and relative error of an estimate [P]."""
    cosine = estimate @ exact / (np.linalg.norm(estimate) * np.linalg.norm(exact))
    return float(cosine), float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))


class Estimator:
    """The estimator of one form, for cases of one shape (N, M, d); compiled once."""

    def __init__(self, form: Form, samples: int, basis: int, dimension: int):
        import tensorflow as tf

        self._form, self._samples, self._basis, self._dimension = form, samples, basis, dimension
        d = dimension
        self._variables = [tf.Variable(tf.zeros(d))] if form == "evolution" else [tf.Variable(tf.zeros(d)) for _ in "μv"]
        self._matrix, self._offset = tf.Variable(tf.zeros([d, d])), tf.Variable(tf.zeros(d))
        self._call = tf.function(self._estimate, autograph=False)

    def problem(self, seed: int) -> Truth:
        """Draw the problem of a seed: μ ~ N(0, 1), v ~ U(-1, 0.5), or A ~ N(0, 1/d) and θ, b ~ N(0, 1)."""
        rng = np.random.default_rng(seed)
        d = self._dimension
        if self._form == "evolution":
            matrix = rng.normal(size=(d, d)).astype(np.float32) / np.float32(np.sqrt(d))
            self._matrix.assign(matrix)
            self._offset.assign(rng.normal(size=d).astype(np.float32))
            self._variables[0].assign(rng.normal(size=d).astype(np.float32))
            metric = matrix.T.astype(np.float64) @ matrix
        else:
            mean, v = rng.normal(size=d).astype(np.float32), rng.uniform(-1.0, 0.5, d).astype(np.float32)
            self._variables[0].assign(mean)
            self._variables[1].assign(v)
            metric = np.diag(np.concatenate([np.ones(d), np.exp(2.0 * v.astype(np.float64))]))
        return Truth(rng.normal(size=len(metric)).astype(np.float32).astype(np.float64), metric)

    def __call__(self, gradient: np.ndarray, seed: int, epsilon: float, log_bandwidth: float) -> tuple[np.ndarray, float]:
        """The estimated direction [P] from the samples and basis of the seed, and the seconds it took."""
        import tensorflow as tf

        arguments = (
            tf.constant(gradient, tf.float32),
            tf.constant([seed, 1], tf.int32),
            tf.constant(epsilon, tf.float64),
            tf.constant(log_bandwidth, tf.float32),
        )
        if not self._call.experimental_get_tracing_count():
            self._call(*arguments)
        begun = time.perf_counter()
        direction = self._call(*arguments).numpy()
        return direction.astype(np.float64), time.perf_counter() - begun

    def _estimate(self, gradient, seed, epsilon, log_bandwidth):
        import tensorflow as tf

        from wng_tf.natural_gradient import (
            KernelBasis,
            evolution_jacobian,
            natural_gradient,
            reparameterised_jacobian,
            score_jacobian,
            similarity,
        )

        variables = self._variables
        noise_seed, basis_seed = tf.unstack(tf.random.split(seed, num=2))
        noise = tf.random.stateless_normal([self._samples, self._dimension], noise_seed)
        with tf.GradientTape(persistent=True) as tape:
            if self._form == "evolution":
                # Mirrored pairs: half as many perturbations.
                noise = noise[: self._samples // 2]
                points = variables[0] + SIGMA * tf.concat([noise, -noise], axis=0)
                embeddings = tf.matmul(points, self._matrix, transpose_b=True) + self._offset
            else:
                mean, v = variables
                embeddings = mean + tf.exp(v) * noise
                if self._form == "score":
                    embeddings = tf.stop_gradient(embeddings)
                    log_probs = -tf.reduce_sum(0.5 * tf.square((embeddings - mean) * tf.exp(-v)) + v, axis=1)
        basis = KernelBasis.sample(embeddings, self._basis, seed=basis_seed, log_bandwidth=log_bandwidth)
        slopes = basis.gradients(embeddings)
        if self._form == "reparameterised":
            jacobian = reparameterised_jacobian(tape, embeddings, slopes, variables)
        elif self._form == "score":
            jacobian = score_jacobian(tape, log_probs, basis(embeddings), variables)
        else:
            jacobian = evolution_jacobian(noise, basis(embeddings), SIGMA, mirrored=True)
        return natural_gradient(gradient, jacobian, similarity(slopes), epsilon).direction


@functools.lru_cache(maxsize=8)
def _estimator(form: Form, samples: int, basis: int, dimension: int) -> Estimator:
    return Estimator(form, samples, basis, dimension)


def measure(form: Form, case: Case, seeds: Sequence[int]) -> list[Outcome]:
    """One outcome for each seed: a new problem, new samples and a new basis."""
    estimator = _estimator(form, case.samples, case.basis, case.dimension)
    outcomes = []
    for seed in seeds:
        truth = estimator.problem(seed)
        estimate, seconds = estimator(truth.gradient, seed, case.epsilon, case.log_bandwidth)
        outcomes.append(Outcome(*compare(estimate, direction_of(truth, case.epsilon)), seconds))
    return outcomes


class Damped(NamedTuple):
    """How many directions M basis functions slow down, of P; medians over seeds."""

    basis: int
    slowed: float
    """Directions that the estimate slows down to less than half of 1/ε."""
    slowed_exactly: float
    """The same with the exact metric."""
    overlap: float
    """Share of a random gradient's squared length in the directions that are slowed down."""
    shrunk_within: float
    """By what factor the slowed directions are slower than the exact metric makes them: 1 is exact."""


def damping_of_directions(case: Case, basis_sizes: Sequence[int], seeds: Sequence[int]) -> list[Damped]:
    """The spectrum of ε (Ĝ + ε I)⁻¹, found column by column, in the reparameterised form.

    An eigenvalue is ε / (ε + Ĝ) where the metric was seen and 1 where it was not.
    """
    rows = []
    for size in basis_sizes:
        estimator = _estimator("reparameterised", case.samples, size, case.dimension)
        measured = []
        for seed in seeds:
            truth = estimator.problem(seed)
            identity = np.eye(len(truth.gradient))
            columns = [estimator(column, seed, case.epsilon, case.log_bandwidth)[0] for column in identity]
            damped = np.stack(columns, axis=1) * case.epsilon
            spectrum, directions = np.linalg.eigh((damped + damped.T) / 2)
            slow = spectrum < 0.5
            # In its own direction u, the exact answer is slowed down by ε (G + ε I)⁻¹ too.
            exact = case.epsilon * np.linalg.inv(truth.metric + case.epsilon * identity)
            ratio = spectrum[slow] / np.einsum("pi,pq,qi->i", directions[:, slow], exact, directions[:, slow])
            projected = directions[:, slow].T @ truth.gradient
            measured.append(
                (
                    slow.sum(),
                    (np.linalg.eigvalsh(exact) < 0.5).sum(),
                    projected @ projected / (truth.gradient @ truth.gradient),
                    np.median(ratio) if slow.any() else np.nan,
                )
            )
        rows.append(Damped(size, *(float(value) for value in np.median(measured, axis=0))))
    return rows


class Row(NamedTuple):
    """Outcomes of one case over seeds: medians, and the lower and upper quartile."""

    form: Form
    varied: str
    value: float
    case: Case
    cosine: tuple[float, float, float]
    error: tuple[float, float, float]
    milliseconds: float


def summarise(form: Form, varied: str, value: float, case: Case, outcomes: Sequence[Outcome]) -> Row:
    """Medians and quartiles (25%, 50%, 75%)."""
    quartiles = np.percentile(np.array(outcomes), [25, 50, 75], axis=0).T
    cosine, error, seconds = (tuple(float(x) for x in of) for of in quartiles)
    return Row(form, varied, value, case, cosine, error, 1e3 * seconds[1])


def cases() -> list[tuple[str, float, Case]]:
    """What is varied, its value, and the case; sweeps that end in `_few` have only FEW basis functions."""
    found = []
    for varied, values in SWEEPS.items():
        for value in values:
            case = dataclasses.replace(Case(), **{varied: value})
            found.append((varied, value, case))
            if varied not in ("samples", "basis"):
                found.append((f"{varied}_few", value, dataclasses.replace(case, basis=FEW)))
    found += [("reference", place, case) for place, case in enumerate(REFERENCE)]
    # Cases of one shape follow each other, so that each is compiled once.
    return sorted(found, key=lambda item: (item[2].samples, item[2].basis, item[2].dimension))


def sweep(seeds: Sequence[int]) -> list[Row]:
    """All cases in the three forms."""
    measured: dict[tuple[Form, Case], list[Outcome]] = {}
    rows = []
    for form in FORMS:
        for varied, value, case in cases():
            if (form, case) not in measured:
                measured[form, case] = measure(form, case, seeds)
            rows.append(summarise(form, varied, value, case, measured[form, case]))
    order = [*SWEEPS, *(f"{varied}_few" for varied in SWEEPS), "reference"]
    return sorted(rows, key=lambda row: (FORMS.index(row.form), order.index(row.varied), row.value))


def select(rows: Sequence[Row], form: Form, varied: str) -> list[Row]:
    """The rows of one sweep."""
    return [row for row in rows if (row.form, row.varied) == (form, varied)]


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
        handles += [
            Line2D([], [], color="#444444", linestyle=line, label=f"M = {size}")
            for line, size in (("-", Case().basis), (":", FEW))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


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
    shown = ("reparameterised", "score")
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
            cells = (numbers(at(form, varied, row.value)) for form in FORMS)
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
        "In every other direction the step keeps its length 1/ε, a plain gradient step, which dominates the sum where ε "
        "is small: the cosine can look fair while the length is far too large.",
        "For the Gaussian M = 5 can be trusted with one dimension (two parameters), not with two (four), or where "
        "ε exceeds the metric, when hardly anything needs to be slowed down.",
        "",
        "## Which bandwidth?",
        "",
        "| log₁₀ factor | " + " | ".join(f"{NAMES[form]}, M = {m}" for form in FORMS for m in (default.basis, FEW)) + " |",
        "|---" * 7 + "|",
    ]
    for value in SWEEPS["log_bandwidth"]:
        cells = (numbers(at(form, name, value)) for form in FORMS for name in ("log_bandwidth", "log_bandwidth_few"))
        lines.append(f"| {value:g} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Smallest error with M = {default.basis}: "
        + "; ".join(f"{NAMES[form]} at {best(form, 'log_bandwidth').value:g}" for form in FORMS)
        + f". With M = {FEW} no bandwidth helps: what is missing is directions.",
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
    sys.exit(app())
