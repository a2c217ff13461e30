"""How well the Wasserstein penalty knows W2²: `python -m benchmarks.penalty_accuracy`.

Old and new policy are Gaussians in three dimensions, whose W2² and its gradient are known in closed form, on many states,
with K = 10 actions a state in pairs of the same noise: the penalty's settings and units. For the exact Gaussian kernel and
for random features, after the default number of inner steps and after many: bias and spread, over states and over draws of
the features, of the estimate and of its gradient in the new policy's mean. POT's `ot.emd2` on the same actions says what
part of that the samples are to blame for, and `ot.sinkhorn` what the dual over all pairs, which the penalty does not use,
goes to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from benchmarks import one_thread
from benchmarks.rows import write_rows

flags.DEFINE_list("features", ["25", "100", "400"], "Numbers of random features, beside the exact kernel.")
flags.DEFINE_list("steps", ["25", "2500"], "Numbers of inner steps.")
flags.DEFINE_list("shifts", ["0.05", "0.15", "0.5", "1.5"], "Shifts of the mean, in standard deviations.")
flags.DEFINE_list("ratios", ["1", "0.8"], "New standard deviation over the old one.")
flags.DEFINE_integer("states", 256, "States of a batch.", lower_bound=2)
flags.DEFINE_integer("draws", 20, "Draws of the features.", lower_bound=2)
flags.DEFINE_integer("solved", 256, "States whose transport POT solves.", lower_bound=1)
flags.DEFINE_string("output_dir", "runs/results/penalty_accuracy", "Where the CSV, the plot and the table go.")
FLAGS = flags.FLAGS

ACTIONS, DIMENSION = 10, 3
# σ in units of s, the root mean squared distance between two actions of the old policy.
STD = 1.0 / np.sqrt(2.0 * DIMENSION)
GAMMA, STEP_SIZE, BANDWIDTH = 1.0, 0.05, 1.0
EXACT = "exact kernel"


class Batch(NamedTuple):
    """States whose old and new policies are a shift of one length and a ratio apart, in units of s."""

    old: np.ndarray
    """Means [B, d]."""
    shift: np.ndarray
    """Of the means [B, d]."""
    noise: np.ndarray
    """[B, K, d]."""
    ratio: float

    @property
    def true(self) -> float:
        """W2²."""
        return float(np.sum(self.shift[0] ** 2) + DIMENSION * (STD * (1.0 - self.ratio)) ** 2)

    def actions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of both policies [B, K, d]."""
        mean = self.old[:, np.newaxis]
        return mean + STD * self.noise, mean + self.shift[:, np.newaxis] + STD * self.ratio * self.noise


def batch(states: int, shift: float, ratio: float) -> Batch:
    """The same noise for every shift and ratio."""
    rng = np.random.default_rng(7)
    old, direction = rng.normal(size=(2, states, DIMENSION))
    direction *= shift * STD / np.linalg.norm(direction, axis=1, keepdims=True)
    noise = rng.normal(size=(states, ACTIONS, DIMENSION))
    return Batch(*(a.astype(np.float32) for a in (2.0 * STD * old, direction, noise)), ratio)


def estimator(num_features: int, all_pairs: bool = False) -> Callable[..., Any]:
    """A compiled function of old and new actions, steps, Ω and b: the estimates [B], and gradients in the means [B, d]."""
    import tensorflow as tf

    from wng_tf.transport import GaussianKernel, RandomFeatures, transport_estimate

    def run(x: Any, y: Any, steps: Any, omega: Any, phase: Any) -> Any:
        kernel = RandomFeatures(omega, phase) if num_features else GaussianKernel(BANDWIDTH)
        settings = {"gamma": GAMMA, "step_size": STEP_SIZE, "steps": steps, "all_pairs": all_pairs}
        with tf.GradientTape() as tape:
            tape.watch(y)
            estimate = transport_estimate(x, y, kernel, **settings)
        # A shift of the mean moves all actions of its state.
        return estimate, tf.reduce_sum(tape.gradient(estimate, y), axis=1)

    return tf.function(run, jit_compile=True, autograph=False)


def measure(run: Callable[..., Any], num_features: int, data: Batch, steps: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimates [draws, B] and gradients [draws, B, d]; one draw where there are no features."""
    import tensorflow as tf

    from wng_tf.transport import RandomFeatures

    x, y = (tf.constant(a, tf.float32) for a in data.actions())
    estimates, gradients = [], []
    for seed in range(draws if num_features else 1):
        features = RandomFeatures.sample(DIMENSION, max(num_features, 1), BANDWIDTH, seed)
        estimate, gradient = run(x, y, tf.constant(steps), *features)
        estimates.append(estimate.numpy())
        gradients.append(gradient.numpy())
    return np.array(estimates, float), np.array(gradients, float)


def summary(estimates: np.ndarray, gradients: np.ndarray, data: Batch) -> dict[str, float]:
    """Bias and spread, relative to the true W2² and to the length of its true gradient 2 δ."""
    true_gradient = 2.0 * data.shift
    length = float(np.linalg.norm(true_gradient[0]))
    along = np.sum(gradients * true_gradient, axis=2) / length**2  # of each draw and state; 1 is right
    errors = gradients - true_gradient
    return {
        "estimate_bias": float(estimates.mean() / data.true - 1.0),
        "estimate_spread_states": float(estimates.std(axis=1).mean() / data.true),
        "estimate_spread_draws": float(estimates.mean(axis=1).std() / data.true),
        "gradient_bias": float(along.mean() - 1.0),
        "gradient_spread_states": float(along.std(axis=1).mean()),
        "gradient_spread_draws": float(along.mean(axis=1).std()),
        "gradient_error": float(np.sqrt((errors**2).sum(axis=2).mean()) / length),
    }


def solved(data: Batch, states: int) -> tuple[float, float]:
    """POT's W2² between the actions of a state, and its entropic cost at the penalty's γ; means over some states."""
    import ot

    weights = np.full(ACTIONS, 1.0 / ACTIONS)
    exact, entropic = [], []
    for x, y in zip(*(actions[:states].astype(float) for actions in data.actions()), strict=True):
        cost = ot.dist(x, y)
        exact.append(ot.emd2(weights, weights, cost))
        plan = ot.sinkhorn(weights, weights, cost, reg=GAMMA, stopThr=1e-10)
        entropic.append(np.sum(plan * cost) + GAMMA * np.sum(plan * np.log(plan * ACTIONS**2)))
    return float(np.mean(exact)), float(np.mean(entropic))


def rows_of_all() -> list[dict[str, Any]]:
    """A row for each kernel, number of steps, shift and ratio; and POT's own."""
    numbers = [0, *map(int, FLAGS.features)]
    cases = [(float(shift), float(ratio)) for ratio in FLAGS.ratios for shift in FLAGS.shifts]
    batches = {case: batch(FLAGS.states, *case) for case in cases}
    rows: list[dict[str, Any]] = []

    def add(what: str, steps: int | str, case: tuple[float, float], values: dict[str, float]) -> None:
        data = {"kernel": what, "steps": steps, "shift": case[0], "ratio": case[1], "true_w2_squared": batches[case].true}
        rows.append({**data, **values})

    empty = dict.fromkeys(summary(np.ones([1, 1]), np.ones([1, 1, DIMENSION]), batches[cases[0]]), float("nan"))
    for number in numbers:
        run = estimator(number)
        for steps in map(int, FLAGS.steps):
            for case, data in batches.items():
                found = summary(*measure(run, number, data, steps, FLAGS.draws), data)
                add(f"{number} features" if number else EXACT, steps, case, found)
    every = estimator(0, all_pairs=True)
    for case, data in batches.items():
        exact, entropic = solved(data, FLAGS.solved)
        add("POT, emd2 on the actions", "", case, {**empty, "estimate_bias": exact / data.true - 1.0})
        add("POT, entropic, all pairs", "", case, {**empty, "estimate_bias": entropic / data.true - 1.0})
        for steps in map(int, FLAGS.steps):
            add(f"{EXACT}, all pairs", steps, case, summary(*measure(every, 0, data, steps, 1), data))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Of all rows, in percent."""
    lines = [
        "| new σ / old σ | shift, σ | test functions | steps | estimate: bias, spread of states, of draws "
        "| gradient in the mean: bias along δ, spread of states, of draws | its root mean squared error |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (-row["ratio"], row["shift"])):

        def percent(*names: str, row: dict[str, Any] = row) -> str:
            values = [row[name] for name in names]
            return ", ".join("" if np.isnan(value) else f"{round(100.0 * value, 1) + 0.0:.1f} %" for value in values).rstrip(
                ", "
            )

        estimate = percent("estimate_bias", "estimate_spread_states", "estimate_spread_draws")
        gradient = percent("gradient_bias", "gradient_spread_states", "gradient_spread_draws")
        cells = [f"{row['ratio']:g}", f"{row['shift']:g}", row["kernel"], row["steps"], estimate, gradient]
        lines.append("| " + " | ".join(map(str, [*cells, percent("gradient_error")])) + " |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[dict[str, Any]]) -> Any:
    """Bias of the estimate, and error of the gradient, over the shift; by kernel, and at the first of the ratios."""
    from wng_tf.plots.style import in_style, new_figure

    ratio = float(FLAGS.ratios[0])
    shown = [row for row in rows if row["ratio"] == ratio and row["steps"] != "" and "all pairs" not in row["kernel"]]
    kernels = list(dict.fromkeys(row["kernel"] for row in shown))
    colors = dict(zip(kernels, ("#000000", "#56B4E9", "#0072B2", "#009E73", "#D55E00", "#CC79A7"), strict=False))
    panels = {"estimate_bias": "Bias of the estimate", "gradient_error": "RMS error of the gradient in the mean"}
    with in_style():
        figure = new_figure(8.0, 2.9)
        for ax, (name, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for kernel in kernels:
                for steps, line in zip(map(int, FLAGS.steps), ("-", "--", ":"), strict=False):
                    own = [row for row in shown if (row["kernel"], row["steps"]) == (kernel, steps)]
                    xs, ys = [row["shift"] for row in own], [100.0 * row[name] for row in own]
                    # Wide, so that it shows below the others, which may lie on it.
                    style = {"color": colors[kernel], "linewidth": 4.0 if kernel == EXACT else 1.2}
                    ax.plot(xs, ys, line, marker="o", markersize=3, label=f"{kernel}, {steps} steps", **style)
            ax.set_xscale("log")
            ax.set_xticks([float(x) for x in FLAGS.shifts], FLAGS.shifts)
            ax.minorticks_off()
            ax.set_xlabel("Shift of the mean, standard deviations")
            ax.set_ylabel("% of the true value")
            ax.set_title(title, loc="left")
        ax.legend(frameon=False, fontsize=7.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def main(argv: Sequence[str]) -> None:
    del argv
    os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")
    try:
        import ot  # noqa: F401
    except ImportError:
        raise SystemExit(
            "benchmarks.penalty_accuracy compares with POT, which is not installed: pip install 'wng_tf[test]', or POT."
        ) from None
    one_thread.load()
    started = time.perf_counter()
    rows = rows_of_all()
    folder = Path(FLAGS.output_dir)
    write_rows(folder / "penalty_accuracy.csv", rows)
    (folder / "table.md").write_text(table(rows), encoding="utf-8")
    draw(rows).savefig(folder / "penalty_accuracy.png", dpi=200)
    print(table(rows), end="")
    print(f"{time.perf_counter() - started:.0f} s; written to {folder}")


if __name__ == "__main__":
    app.run(main)
