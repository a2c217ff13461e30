"""How many basis points does the kernel estimator need to see the Wasserstein matrix of a policy?

    python -m wng_tf.run --alg=wtrpo --env=Hopper-v5 --num_timesteps=1e5 --log_path=runs/out/exact_matrix
    python -m wng_tf.experiments.exact_matrix runs/out/exact_matrix --out=runs/results/exact_matrix

On the policy at the end of each run and the states that it visits next, the estimate with M basis points is compared with the
exact matrix E_s[J_μᵀJ_μ + J_σᵀJ_σ]: its trace, its error, and the angle between the two natural gradients of the surrogate.
Writes exact_matrix (PNG, SVG, CSV) and README.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from wng_tf.cli.app import load_tensorflow, run_app
from wng_tf.cli.flags import define_number
from wng_tf.cli.parse import trusted
from wng_tf.errors import UserError
from wng_tf.runtime import output

if TYPE_CHECKING:
    import numpy as np

    from wng_tf.experiments.final_batch import FinalBatch
    from wng_tf.experiments.metric_rows import Agreement

FLAGS = flags.FLAGS


class Kind(NamedTuple):
    """One way to estimate: see `metric_rows.KernelRows`."""

    name: str
    color: str
    num_actions: int
    embedding: str
    score: bool = False


KINDS = (
    Kind("10 actions of a state, as in the paper", "#0072B2", 10, "actions"),
    Kind("1 action of a state", "#E69F00", 1, "actions"),
    Kind("1 action of a state, score function", "#6E6E6E", 1, "actions", score=True),
    Kind("1 action with its state", "#5B3A8C", 1, "state_actions"),
)
COLUMNS = ("env", "alg", "seed", "estimate", "basis_points", "draw", "trace", "error", "cosine", "rank")


class Row(NamedTuple):
    """One estimate compared with the exact matrix."""

    run: tuple[str, str, int]
    kind: str
    num_basis: int
    draw: int
    agreement: Agreement


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_list("basis", ["5", "10", "20", "50", "100", "200", "500", "1000"], "Numbers of basis points M.")
    define_number("num_states", 512, "States that the metric is averaged over.", low=2)
    define_number("draws", 3, "Bases drawn for each M.", low=1)
    flags.DEFINE_float("cg_damping", 0.01, "Damping of the natural gradients, relative as in the trust region.")
    flags.DEFINE_string("out", "runs/results/exact_matrix", "Folder for the figure.")


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    if len(argv) < 2:
        raise UserError("Name the folders of runs: python -m wng_tf.experiments.exact_matrix runs/out/exact_matrix.")
    try:
        basis = sorted({int(text) for text in FLAGS.basis})
    except ValueError:
        raise UserError(f"--basis={','.join(FLAGS.basis)} must be whole numbers.") from None
    if basis[0] < 1:
        raise UserError("--basis must be at least 1.")
    if FLAGS.cg_damping <= 0.0:
        raise UserError(f"--cg_damping must be above 0, not {FLAGS.cg_damping}.")
    from wng_tf.plots.runs import load_runs

    runs, _ = load_runs(argv[1:])
    load_tensorflow()
    from wng_tf.experiments.final_batch import final_batch
    from wng_tf.policies import heads

    rows: list[Row] = []
    against: dict[tuple[str, str, int], float] = {}
    for run in runs:
        final = final_batch(run, nsteps=max(FLAGS.num_states, 2048), trust=trusted())
        if not heads.of_policy(final.policy).reparameterised:
            raise UserError(f"{run.folder}: the exact matrix that is compared here is that of continuous actions.")
        name = (run.env, run.alg, run.seed)
        found, against[name] = measure(
            final, basis, FLAGS.draws, FLAGS.num_states, FLAGS.cg_damping, functools.partial(print, *name)
        )
        rows += [Row(name, *row) for row in found]

    def write_to(folder: Path) -> list[Path]:
        return write(rows, against, folder, FLAGS.num_states, FLAGS.cg_damping)

    for path in output.into(Path(FLAGS.out), write_to):
        print(path)
    return 0


def measure(
    final: FinalBatch,
    basis: Sequence[int],
    draws: int,
    num_states: int,
    damping: float,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[list[tuple[str, int, int, Agreement]], float]:
    """Every kind of estimate with every number of basis points, on `num_states` states spread over the batch.

    Returns:
      rows of kind, M, draw and agreement; and the cosine between the plain gradient and the exact natural one.
    """
    import numpy as np

    from wng_tf.experiments import metric_rows

    observations = final.batch.observations
    observations = observations[np.linspace(0, len(observations) - 1, num_states).round().astype(int)]
    gradient = metric_rows.policy_gradient(final.policy, final.theta, final.batch)
    compare = metric_rows.Comparison(metric_rows.exact_rows(final.policy, final.theta, observations), gradient, damping)
    plain = metric_rows.cosine(compare.natural, gradient)
    rows = []
    for kind in KINDS:
        estimate = metric_rows.KernelRows(
            final.policy,
            final.theta,
            observations,
            num_actions=kind.num_actions,
            embedding=kind.embedding,
            score=kind.score,
        )
        for count in basis:
            for draw in range(draws):
                agreement = compare(estimate(count, seed=draw))
                rows.append((kind.name, count, draw, agreement))
            tell(f"{kind.name}, M = {count}: trace {agreement.trace:.3f}, error {agreement.error:.3f}, "
                 f"cosine {agreement.cosine:.3f}, rank {agreement.rank}")  # fmt: skip
    return rows, plain


def write(
    rows: Sequence[Row], against: Mapping[tuple[str, str, int], float], out: Path, num_states: int, damping: float
) -> list[Path]:
    """Writes figure, table and text; returns the paths."""
    from wng_tf.plots.style import save
    from wng_tf.plots.tables import to_csv

    out.mkdir(parents=True, exist_ok=True)
    table = out / "exact_matrix.csv"
    table.write_text(
        to_csv(COLUMNS, [(*row.run, row.kind, row.num_basis, row.draw, *row.agreement) for row in rows]),
        encoding="utf-8",
    )
    readme = out / "README.md"
    readme.write_text(_text(rows, against, num_states, damping), encoding="utf-8")
    return [*save(_draw(rows, against), out / "exact_matrix"), table, readme]


def _means(rows: Sequence[Row], kind: str) -> tuple[list[int], np.ndarray]:
    """M and the mean agreement [len(M), 4] over runs and draws."""
    import numpy as np

    counts = sorted({row.num_basis for row in rows if row.kind == kind})
    of = [[row.agreement for row in rows if (row.kind, row.num_basis) == (kind, count)] for count in counts]
    return counts, np.array([np.mean(agreements, axis=0) for agreements in of])


def _draw(rows: Sequence[Row], against: Mapping[tuple[str, str, int], float]):
    import numpy as np

    from wng_tf.plots.style import in_style, new_figure, readable

    panels = (
        ("Trace, over that of the exact matrix", 0, 1.0),
        ("Error, over the norm of the exact matrix", 1, None),
        ("Cosine to the exact natural gradient", 2, float(np.mean(list(against.values())))),
    )
    with in_style():
        figure = new_figure(9.6, 3.1)
        axes = figure.subplots(1, len(panels))
        for ax, (title, column, reference) in zip(axes, panels, strict=True):
            for kind in KINDS:
                counts, means = _means(rows, kind.name)
                ax.plot(counts, means[:, column], "o-", color=kind.color, markersize=3.0, label=kind.name)
            if reference is not None:
                ax.axhline(reference, color="#444444", linewidth=0.8, linestyle="--")
            ax.set_xscale("log")
            ax.set_title(title, loc="left")
            ax.set_xlabel("Basis points M")
            ax.set_ylim(bottom=0.0)
        axes[2].annotate(
            "plain gradient", (counts[-1], panels[2][2]), xytext=(0, -3), textcoords="offset points", fontsize=7.0,
            ha="right", va="top",
        )  # fmt: skip
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(KINDS), frameon=False,
            labelcolor=[readable(kind.color) for kind in KINDS],
        )  # fmt: skip
    return figure


def _text(rows: Sequence[Row], against: Mapping[tuple[str, str, int], float], num_states: int, damping: float) -> str:
    import numpy as np

    runs = sorted(against)
    lines = [
        "# How many basis points does it take to see the matrix?",
        "",
        "    python -m wng_tf.experiments.exact_matrix RUN... "
        f"--num_states={num_states} --draws={1 + max(row.draw for row in rows)} --cg_damping={damping:g} "
        f"--basis={','.join(str(count) for count in sorted({row.num_basis for row in rows}))}",
        "",
        "Runs: "
        + "; ".join(f"{alg} on {env}, seed {seed}" for env, alg, seed in runs)
        + f". {num_states} states of the policy at the end of each; natural gradients of its surrogate, relative damping "
        f"{damping:g}. The exact matrix is E_s[J_μᵀJ_μ + J_σᵀJ_σ]; estimates are divided by the number of actions K.",
        "",
        "The exact matrix says what it costs to move the actions of every state, each state apart. Embeddings of actions "
        "alone do not tell states apart: where two states take the same action one basis function moves both, and what "
        "moves them in opposite directions is not seen. With the state beside the action, and no way to move a state, "
        "basis functions of both see it.",
        "",
        "![Agreement of the estimate with the exact matrix](exact_matrix.png)",
        "",
        "| estimate | M | trace | error | cosine | rank |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        counts, means = _means(rows, kind.name)
        lines += [
            f"| {kind.name} | {count} | {trace:.3f} | {error:.3f} | {cosine:.3f} | {rank:.0f} |"
            for count, (trace, error, cosine, rank) in zip(counts, means, strict=True)
        ]
    plain = np.mean(list(against.values()))
    lines += ["", f"The plain gradient's cosine to the exact natural gradient is {plain:.3f}.", ""]
    return "\n".join(lines)


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main, positionals=True)


if __name__ == "__main__":
    app()
