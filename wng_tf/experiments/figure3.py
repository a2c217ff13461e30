"""Figure 3: how ill-conditioned is the loss at the end of training?

    python -m wng_tf.experiments.figure3 runs/out/table1 --num_eigenvalues=1000

For every finished policy-gradient run in the folders: the largest eigenvalues λ_i (by magnitude) of the Hessian of the
loss, on the batch that the next update would have used, and the ratios λ_1 / λ_i. Writes figure3 (PNG, SVG) and
eigenvalues.csv to --out. The loss is what all methods share: importance-weighted surrogate, value loss and entropy,
without penalties, whose Hessian at the policy that acted is a metric and not the task's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from wng_tf.cli.app import run_app
from wng_tf.cli.flags import define_number
from wng_tf.cli.parse import trusted
from wng_tf.errors import UserError
from wng_tf.experiments.final_batch import final_batch
from wng_tf.runtime import output
from wng_tf.runtime.paths import expanded

if TYPE_CHECKING:
    import numpy as np

    from wng_tf.experiments.hessian import Spectrum
    from wng_tf.plots.runs import LoadedRun

FLAGS = flags.FLAGS

LOSSES = ("total", "policy")


def define_flags() -> None:
    """The flags of this command."""
    define_number("num_eigenvalues", 100, "How many eigenvalues of each run (the paper: 1000).", low=2)
    flags.DEFINE_enum(
        "loss",
        "total",
        list(LOSSES),
        "total: the whole loss over all parameters; policy: surrogate and entropy over the policy's.",
    )
    define_number("nsteps", None, "Steps of the batch per environment; default: the run's own.", low=2)
    flags.DEFINE_list("algs", [], "Only these algorithms.")
    flags.DEFINE_list("envs", [], "Only these tasks.")
    flags.DEFINE_string("out", None, "Folder for the figure; default: DIR/plots of the first DIR.")


def final_loss(
    run: LoadedRun,
    *,
    loss: str = "total",
    nsteps: int | None = None,
    which: str | int = "latest",
    trust: bool = False,
) -> tuple[Callable, np.ndarray]:
    """The loss of a finished run on the batch that its next update would have used.

    Args:
      run: of a policy gradient.
      loss: `total`, a function of all parameters; `policy`, of the policy's alone.
      nsteps: length of the batch per environment; None: the run's.
      which: checkpoint, `latest` or the one of a given step.
      trust: see `final_batch`.

    Returns:
      a function [P] -> [] of TensorFlow tensors, and the run's final parameters [P] (NumPy, float32).

    Raises:
      UserError: not a policy-gradient run, or one without a checkpoint.
    """
    import tensorflow as tf

    from wng_tf.policy_gradient import objectives

    policy, theta, batch, config = final_batch(run, nsteps=nsteps, which=which, trust=trust)
    observations, actions = tf.constant(batch.observations), tf.constant(batch.actions)
    log_probs, returns, values = (tf.constant(x) for x in (batch.log_probs, batch.returns, batch.values))
    advantages = objectives.normalized(tf.constant(batch.advantages))

    def policy_loss(weights: Sequence[tf.Tensor]) -> tf.Tensor:
        pd = policy.pd(weights, observations)
        ratio = objectives.importance_ratio(pd.logp(actions), log_probs)
        return objectives.importance_surrogate(ratio, advantages) - config.ent_coef * tf.reduce_mean(pd.entropy())

    def total(parameters: tf.Tensor) -> tf.Tensor:
        weights = policy.unflatten(parameters)
        fit = objectives.value_loss(policy.value(weights, observations), returns, values, config.value_cliprange)
        return policy_loss(weights) + config.vf_coef * fit

    def policy_alone(parameters: tf.Tensor) -> tf.Tensor:
        return policy_loss(policy.unflatten(tf.concat([parameters, theta[policy.policy_size :]], axis=0)))

    return (total, theta) if loss == "total" else (policy_alone, theta[: policy.policy_size])


def main(argv: Sequence[str]) -> int:
    """Do what the flags say. Returns the exit code."""
    folders = argv[1:]
    if not folders:
        raise UserError("Name the folders of the runs: python -m wng_tf.experiments.figure3 runs/out/table1.")
    from wng_tf.cli.app import load_tensorflow
    from wng_tf.plots.runs import load_runs

    runs, _ = load_runs(folders)
    runs = [run for run in runs if not run.is_evolution]
    runs = [run for run in runs if run.alg in (FLAGS.algs or [run.alg]) and run.env in (FLAGS.envs or [run.env])]
    if not runs:
        raise UserError("There is no finished policy-gradient run among those folders that --algs and --envs allow.")
    print("Loading TensorFlow", flush=True)
    load_tensorflow()
    from wng_tf.experiments.hessian import largest_eigenvalues

    found = []
    for number, run in enumerate(runs, start=1):
        loss, parameters = final_loss(run, loss=FLAGS.loss, nsteps=FLAGS.nsteps, trust=trusted())
        if FLAGS.num_eigenvalues > len(parameters):
            raise UserError(f"--num_eigenvalues={FLAGS.num_eigenvalues} is more than the {len(parameters)} parameters.")
        try:
            spectrum = largest_eigenvalues(loss, parameters, FLAGS.num_eigenvalues)
        except ValueError as error:
            raise UserError(f"{run.folder}: {error}") from error
        found.append((run, spectrum))
        print(
            f"[{number}/{len(runs)}] {run.folder}: largest eigenvalue {spectrum.eigenvalues[0]:.4g}, "
            f"ratio to the last {spectrum.ratios[-1]:.4g}, {spectrum.products} products, "
            f"largest residual {spectrum.residuals.max():.1e}",
            flush=True,
        )
    out = expanded(FLAGS.out) if FLAGS.out else expanded(folders[0]) / "plots"
    for path in output.into(out, lambda folder: write_figure(found, folder)):
        print(path)
    return 0


def write_figure(found: Sequence[tuple[LoadedRun, Spectrum]], out: Path) -> list[Path]:
    """Writes the ratio plot and the eigenvalues; returns the paths."""
    import numpy as np

    from wng_tf.plots import figures, tables
    from wng_tf.plots.curves import Band
    from wng_tf.plots.style import save, task_name

    ratios: dict = defaultdict(lambda: defaultdict(list))
    rows = []
    for run, spectrum in found:
        ratios[run.env][run.method].append(spectrum.ratios)
        columns = zip(spectrum.eigenvalues, spectrum.ratios, spectrum.residuals, strict=True)
        rows += [(run.env, *run.method, run.seed, i, *row) for i, row in enumerate(columns, start=1)]
    bands = {
        env: {
            method: Band(np.arange(1, len(several[0]) + 1, dtype=float), np.array(several))
            for method, several in methods.items()
        }
        for env, methods in ratios.items()
    }
    methods = {method for by_method in bands.values() for method in by_method}
    if len(methods) == 1:  # the paper's figure: one method, the tasks compared
        (method,) = methods
        bands = {"": {(task_name(env), ""): by_method[method] for env, by_method in bands.items()}}
    out.mkdir(parents=True, exist_ok=True)
    figure = figures.draw_curves(bands, xlabel="Index i of the eigenvalue", ylabel="λ₁ / λᵢ", log_y=True)
    table = out / "eigenvalues.csv"
    header = ("env", "alg", "variant", "seed", "i", "eigenvalue", "ratio", "residual")
    table.write_text(tables.to_csv(header, rows), encoding="utf-8")
    return [*save(figure, out / "figure3"), table]


def app() -> None:
    """Console entry point."""
    define_flags()
    run_app(main, positionals=True)


if __name__ == "__main__":
    app()
