"""What an ablation keeps of its runs: a row of outcomes for each, and its learning curve. Enough to write the report again,
with later runs beside them, when the runs themselves are gone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wng_tf.algorithms import POLICY_GRADIENTS
from wng_tf.errors import UserError

if TYPE_CHECKING:
    from baselines_compat.table import Table
    from wng_tf.plots.curves import Curve

METRICS = {
    "identity": "none",
    "fisher_empirical": "Fisher, empirical",
    "fisher_exact": "Fisher, exact",
    "wasserstein_exact": "Wasserstein, exact",
    "wasserstein_kernel": "Wasserstein, kernel",
}
STEPS = ("Adam", "Adam + clip", "trust region")

OUTCOMES = "runs.csv"
RETURNS = "returns.csv"
_POINTS = 75


class Cell(NamedTuple):
    """A place in the grid, in the words of the tables."""

    metric: str
    step: str

    def __str__(self) -> str:
        return f"{self.metric} / {self.step}"


CELLS = tuple(Cell(metric, step) for step in STEPS for metric in METRICS.values())


def cell_of_parts(metric: str, step_rule: str, surrogate: str) -> Cell:
    """The cell of an algorithm's parts, by their words in the registries."""
    step = "Adam + clip" if surrogate == "clipped" else "Adam"
    return Cell(METRICS[metric], "trust region" if step_rule == "trust_region" else step)


#: The algorithms that are a cell, whose name and colour they have in every figure.
ALGORITHMS = {
    cell_of_parts(row.metric, row.step_rule, row.surrogate): name
    for name, row in POLICY_GRADIENTS.items()
    if row.penalty == "none"
}
_SHORT = {"none": "no metric", "Fisher, empirical": "Fisher emp.", "Fisher, exact": "Fisher",
          "Wasserstein, exact": "W exact", "Wasserstein, kernel": "W kernel"}  # fmt: skip
_PALETTE = ("#332288", "#44AA99", "#882255", "#999933", "#DDAA33", "#117733", "#CC6677", "#88CCEE", "#AA4499")


def name_of(cell: Cell) -> str:
    """What the cell is called in figures: the algorithm, or short words."""
    return ALGORITHMS.get(cell) or f"{_SHORT[cell.metric]}, {cell.step}"


#: The same colour in every figure for those that are no algorithm.
COLORS = dict(zip([name_of(cell) for cell in CELLS if cell not in ALGORITHMS], _PALETTE, strict=False))


class Outcome(NamedTuple):
    """What one run came to.

    Attributes:
      final: mean return of its last hundred episodes.
      rate: environment steps per second.
      entropy: of the policy at the end, in nats, and how much it fell from its first value.
      kl, w2: median over updates of KL(old, new) and W2² per state that an update moved the policy by.
      std_low, std_high: the smallest and the largest standard deviation of an action's coordinate at the end; NaN
        without a checkpoint of then.
    """

    env: str
    cell: Cell
    seed: int
    final: float
    rate: float
    entropy: float
    entropy_fall: float
    kl: float
    w2: float
    std_low: float
    std_high: float


class Measured(NamedTuple):
    """A run of the ablation: what it came to, and its curve of mean returns, if that is known."""

    outcome: Outcome
    curve: Curve | None

    @property
    def place(self) -> tuple[str, Cell]:
        """Its task and cell."""
        return self.outcome.env, self.outcome.cell


#: What earlier records call the Fisher matrix of either step rule: the exact one of a trust region, else the empirical.
_FISHER = "Fisher"

_IDENTITY = ("env", "metric", "step_rule", "seed")
_COLUMNS = (*_IDENTITY, *Outcome._fields[3:])


def write_record(measured: Sequence[Measured], folder: Path) -> list[Path]:
    """Writes both tables into a folder that is there; returns their paths."""
    import numpy as np

    from wng_tf.plots.curves import interpolate
    from wng_tf.plots.tables import to_csv

    outcomes, returns = folder / OUTCOMES, folder / RETURNS
    rows = [(o.env, *o.cell, *o[2:]) for o, _ in measured]
    outcomes.write_text(to_csv(_COLUMNS, rows), encoding="utf-8")
    curves = [
        (row[: len(_IDENTITY)], curve)
        for row, (_, curve) in zip(rows, measured, strict=True)
        if curve is not None and len(curve.steps)
    ]
    if not curves:
        return [outcomes]
    longest = max(curve.steps[-1] for _, curve in curves)
    steps = np.linspace(0, longest, _POINTS + 1).astype(int)[1:]
    lines = []
    for identity, curve in curves:
        values = interpolate(steps, curve.steps, curve.values)
        lines.append((*identity, *(float(f"{value:.5g}") for value in values)))
    returns.write_text(to_csv((*_IDENTITY, *map(str, steps)), lines), encoding="utf-8")
    return [outcomes, returns]


def read_record(path: str | os.PathLike[str]) -> list[Measured]:
    """The runs of a record by the path of its outcomes, in its order; without curves where none lie beside it.

    Raises:
      UserError: it is not there, or not an ablation's.
    """
    from baselines_compat.table import read_csv

    def identities(table: Table) -> list[tuple]:
        columns = zip(*(table[name].tolist() for name in _IDENTITY), strict=True)
        return [(env, *_cell(metric, step), seed) for env, metric, step, seed in columns]

    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file '{path}'.")
    outcomes = read_csv(path)
    if tuple(outcomes.columns) != _COLUMNS:
        raise UserError(f"{path} is not an ablation's: its columns are not {', '.join(_COLUMNS)}.")
    curves = {}
    if path.with_name(RETURNS).is_file():
        returns = read_csv(path.with_name(RETURNS))
        curves = {identity: _curve(returns, row) for row, identity in enumerate(identities(returns))}
    values = zip(*(outcomes[name].tolist() for name in _COLUMNS[4:]), strict=True)
    return [
        Measured(Outcome(identity[0], Cell(*identity[1:3]), identity[3], *numbers), curves.get(identity))
        for identity, numbers in zip(identities(outcomes), values, strict=True)
    ]


def _cell(metric: str, step: str) -> Cell:
    if metric == _FISHER:
        metric = METRICS["fisher_exact" if step == "trust region" else "fisher_empirical"]
    return Cell(metric, step)


def _curve(returns: Table, row: int) -> Curve:
    import numpy as np

    from wng_tf.plots.curves import Curve

    names = returns.columns[len(_IDENTITY) :]
    steps, values = np.array(names, int), np.array([returns[name][row] for name in names], float)
    there = np.isfinite(values)
    return Curve(steps[there], values[there])
