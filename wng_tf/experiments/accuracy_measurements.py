"""Estimated natural gradients against closed forms: the cases, the problems whose metric is known, and the measurements.

See `estimator_accuracy` for what is compared with what.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

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


#: Field of `Case` -> the values that it is swept over.
SWEEPS: Mapping[str, tuple[float, ...]] = {
    "samples": (100, 300, 1000, 5000, 20_000),
    "basis": (2, 5, 10, 20, 50, 100),
    "dimension": (1, 2, 5, 10, 20),
    "epsilon": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
    "log_bandwidth": (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0),
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
    quartiles = np.percentile(np.array(outcomes), [25, 50, 75], axis=0).T.tolist()
    cosine, error, seconds = ((low, middle, high) for low, middle, high in quartiles)
    return Row(form, varied, value, case, cosine, error, 1e3 * seconds[1])


def cases() -> list[tuple[str, float, Case]]:
    """What is varied, its value, and the case; sweeps that end in `_few` have only FEW basis functions."""
    found = []
    for varied, values in SWEEPS.items():
        for value in values:
            changed: dict[str, Any] = {varied: value}
            case = dataclasses.replace(Case(), **changed)
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
