"""The measured curve of each algorithm, from what `runs/results` has: its own line, the others of its task behind it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from repository import ROOT

from wng_tf.plots.style import METHODS, in_style, new_figure, readable

RESULTS = ROOT / "runs" / "results"
BEHIND = "#9A9A9A"


class Band(NamedTuple):
    """Mean and standard deviation over runs, by environment steps."""

    steps: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def drawn() -> Iterator[tuple[str, bytes]]:
    """Every algorithm that has been measured, and its figure as PNG."""
    point = of_figure4(RESULTS / "figure4" / "point_published" / "curves.csv")
    gradients = {
        **of_plots(RESULTS / "curves" / "curves.csv"),
        **of_ablation(RESULTS / "ablation" / "million" / "returns.csv"),
    }
    gradients |= of_plots(RESULTS / "table1" / "curves.csv")
    for bands, task in ((gradients, "Hopper-v5"), (point, "Point, the released code's start")):
        for name in bands:
            buffer = io.BytesIO()
            with in_style():
                draw(name, bands, task).savefig(buffer, format="png", dpi=160, metadata={"Software": None})
            yield name, buffer.getvalue()


def draw(name: str, bands: Mapping[str, Band], task: str) -> Figure:
    """The curve of one algorithm before those of the others."""
    figure = new_figure(5.2, 2.6)
    axes = figure.add_subplot()
    for other, band in bands.items():
        if other != name:
            axes.plot(band.steps, band.mean, color=BEHIND, linewidth=0.7)
    band, (label, color) = bands[name], METHODS[name]
    axes.fill_between(band.steps, band.mean - band.sd, band.mean + band.sd, color=color, alpha=0.2, linewidth=0)
    axes.plot(band.steps, band.mean, color=color, linewidth=2.0)
    axes.set_title(f"{label} on {task}", loc="left", color=readable(color))
    axes.set_xlabel("Environment steps")
    axes.set_ylabel("Return")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(0, max(each.steps[-1] for each in bands.values()))
    return figure


def of_plots(path: Path) -> dict[str, Band]:
    """Hopper-v5's curves from what `wng_tf.plot` wrote."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for row in _rows(path):
        if row["env"] == "Hopper-v5" and not row["variant"]:
            rows.setdefault(row["alg"], []).append((float(row["steps"]), float(row["mean"]), float(row["sd"])))
    return {alg: Band(*np.array(of_alg).T) for alg, of_alg in rows.items()}


def of_ablation(path: Path) -> dict[str, Band]:
    """Hopper-v5's curves of the trust regions from the ablation's record: a row a run, a column a number of steps."""
    names = {"Wasserstein, exact": "wtrpo", "Fisher": "trpo"}
    found: dict[str, list[list[float]]] = {}
    steps: list[float] = []
    for row in _rows(path):
        if row["env"] == "Hopper-v5" and row["step_rule"] == "trust region" and row["metric"] in names:
            steps = [float(name) for name in row if name.isdecimal()]
            found.setdefault(names[row["metric"]], []).append([float(v) for name, v in row.items() if name.isdecimal()])
    return {alg: Band(np.array(steps), np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1)) for alg, runs in found.items()}


def of_figure4(path: Path) -> dict[str, Band]:
    """The curves of evolution strategies, without variants of one method."""
    runs: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in _rows(path):
        if not row["variant"]:
            of_seed = runs.setdefault(row["alg"], {}).setdefault(row["seed"], [])
            of_seed.append((float(row["steps"]), float(row["return"])))
    bands = {}
    for alg, seeds in runs.items():
        steps = np.array([step for step, _ in next(iter(seeds.values()))])
        returns = np.array([[value for _, value in of_seed] for of_seed in seeds.values()])
        bands[alg] = Band(steps, returns.mean(axis=0), returns.std(axis=0, ddof=1))
    return bands


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
