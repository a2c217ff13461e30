"""Load the runs under a folder and plot their learning curves, as Baselines' `plot_util` does.

    results = load_results("runs")
    plot_results(results, average_group=True, split_fn=lambda r: "", xlabel="steps", ylabel="return")
    matplotlib.pyplot.show()

Columns are NumPy arrays in a `Table` (`result.monitor.r`, `result.progress["eprewmean"]`); pandas is not
needed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from baselines_compat import monitor, whole_rows
from baselines_compat.files import absolute
from baselines_compat.smoothing import EMA_SAMPLES, one_sided_ema, smooth, symmetric_ema
from baselines_compat.table import Table, read_csv, read_json

__all__ = [
    "COLORS",
    "Result",
    "default_split_fn",
    "default_xy_fn",
    "load_results",
    "one_sided_ema",
    "plot_results",
    "smooth",
    "symmetric_ema",
]

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# fmt: off
COLORS = [
    "blue", "green", "red", "cyan", "magenta", "gold", "black", "purple", "pink", "brown", "orange", "teal",
    "lightblue", "lime", "lavender", "turquoise", "darkgreen", "tan", "salmon", "darkred", "darkblue",
]
# fmt: on


class Result(NamedTuple):
    """One run.

    Attributes:
      monitor: its episodes in the order in which they ended (columns `r`, `l`, `t`), or None.
      progress: its log, the columns of progress.json or progress.csv, or None.
      dirname: its folder.
      metadata: what metadata.json says, else summary.json, else None.
    """

    monitor: Table | None = None
    progress: Table | None = None
    dirname: str | None = None
    metadata: dict[str, Any] | None = None


# Loading.


def load_results(
    root_dir_or_dirs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    enable_progress: bool = True,
    enable_monitor: bool = True,
    verbose: bool = False,
) -> list[Result]:
    """Every run in the given folders and in the folders inside them, in order of their names.

    A folder is a run if it holds progress.json, progress.csv or monitor files; `enable_...` say which of them
    are read. What is not whole is left out with a `whole_rows.DamagedFileWarning`. Raises FileNotFoundError for a
    folder that is not there.
    """
    roots = [root_dir_or_dirs] if isinstance(root_dir_or_dirs, (str, os.PathLike)) else root_dir_or_dirs
    results = []
    for root in map(absolute, roots):
        if not root.is_dir():
            raise FileNotFoundError(f"There is no folder '{root}' to load results from.")
        for dirname, folders, _ in os.walk(root):
            folders.sort()
            result = _load_result(Path(dirname), enable_progress, enable_monitor)
            if result.monitor is not None or result.progress is not None:
                results.append(result)
                if verbose:
                    print(f"loaded {dirname}")
    if verbose:
        print(f"loaded {len(results)} results")
    return results


def _load_result(folder: Path, enable_progress: bool, enable_monitor: bool) -> Result:
    episodes = progress = None
    if enable_monitor and monitor.get_monitor_files(folder):
        try:
            episodes = monitor.load_results(folder)
        except monitor.LoadMonitorResultsError as error:
            whole_rows.warn(folder, f"its episodes are left out ({error})")
    if enable_progress:
        for name, read in (("progress.json", read_json), ("progress.csv", read_csv)):
            if not progress and (folder / name).is_file():
                table = _read(read, folder / name)
                # A file without a row says no more than the one of the other format.
                progress = table if table or progress is None else progress
    return Result(monitor=episodes, progress=progress, dirname=str(folder), metadata=_load_metadata(folder))


def _load_metadata(folder: Path) -> dict[str, Any] | None:
    for file in (folder / "metadata.json", folder / "summary.json"):
        if file.is_file():
            try:
                return json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                whole_rows.warn(file, f"left out ({error})")
    return None


def _read(read: Callable[[Path], Table], file: Path) -> Table | None:
    try:
        return read(file)
    except OSError as error:
        whole_rows.warn(file, f"left out ({error.strerror})")
        return None


# Plotting.


def default_xy_fn(r: Result) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the episodes' returns smoothed over 21 of them; without monitor files, `eprewmean`."""
    if r.monitor is None:
        assert r.progress is not None, "a run has a monitor file or a log"
        return r.progress["misc/total_timesteps"], r.progress["eprewmean"]
    return np.cumsum(r.monitor.l), smooth(r.monitor.r, radius=10)


def default_split_fn(r: Result) -> str:
    """Name of the run's folder without the `-<seed>` at its end: "runs/Hopper/ppo-3" -> "ppo"."""
    match = re.search(r"[^/-]+(?=(-\d+)?\Z)", (r.dirname or "").replace(os.sep, "/"))
    return match[0] if match else ""


def plot_results(
    allresults: Sequence[Result],
    *,
    xy_fn: Callable[[Result], tuple[Any, Any]] = default_xy_fn,
    split_fn: Callable[[Result], str] | None = default_split_fn,
    group_fn: Callable[[Result], str] | None = default_split_fn,
    average_group: bool = False,
    shaded_std: bool = True,
    shaded_err: bool = True,
    figsize: tuple[float, float] | None = None,
    legend_outside: bool = False,
    resample: int = 0,
    smooth_step: float = 1.0,
    tiling: str | None = "vertical",
    xlabel: str | None = None,
    ylabel: str | None = None,
) -> tuple[Figure, np.ndarray]:
    """Plot runs against steps: one panel for each `split_fn`, one colour for each `group_fn`.

    Args:
      allresults: what `load_results` returned.
      xy_fn: x and y of a run's curve; x None counts 0, 1, 2, ... Points where either is not finite are left
        out.
      split_fn: the panel a run belongs to; None: one panel for all.
      group_fn: the group it belongs to, and its name in the legend; None: one group for all.
      average_group: plot the mean of each group, over the steps that all its runs have; runs are resampled to
        `resample` points (0: 512) by `symmetric_ema`.
      shaded_std, shaded_err: shade one standard deviation (light), one standard error of the mean (dark).
      figsize: width and height in inches; by default 6 by 6 a panel.
      legend_outside: put the legends to the right of the panels.
      resample: without `average_group`, resample each curve to this many points (0: plot the points
        themselves).
      smooth_step: `decay_steps` of the resampling.
      tiling: panels "vertical", "horizontal" or "symmetric" (a grid as near to a square as divides their
        number).
      xlabel, ylabel: under the lowest panels, left of the leftmost ones.

    Returns:
      figure, axes [rows, columns].

    Raises:
      ValueError: no results, or another `tiling`.
    """
    if not allresults:
        raise ValueError("There are no results to plot.")
    import matplotlib.pyplot as plt

    panels: dict[str, list[Result]] = defaultdict(list)
    for result in allresults:
        panels[split_fn(result) if split_fn else ""].append(result)
    groups = sorted({group_fn(result) if group_fn else "" for result in allresults})
    colors = dict(zip(groups, itertools.cycle(COLORS)))
    rows, columns = _tiles(len(panels), tiling)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=figsize or (6 * columns, 6 * rows), layout="tight")
    for ax, panel in zip(axes.flat, sorted(panels), strict=True):
        curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        for result in panels[panel]:
            curves[group_fn(result) if group_fn else ""].append(_curve(xy_fn(result)))
        for group in sorted(curves):
            label = f"{group} ({len(curves[group])})" if average_group else group
            drawn = [(x, y) for x, y in curves[group] if len(x)]
            if not drawn:
                continue
            if average_group:
                samples = resample or EMA_SAMPLES
                _plot_mean(ax, drawn, colors[group], label, samples, smooth_step, shaded_std, shaded_err)
            else:
                _plot_each(ax, drawn, colors[group], label, resample, smooth_step)
        ax.set_title(panel)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(**({"loc": "upper left", "bbox_to_anchor": (1, 1)} if legend_outside else {}))
    for ax in axes[-1]:
        ax.set_xlabel(xlabel or "")
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel or "")
    return figure, axes


def _tiles(panels: int, tiling: str | None) -> tuple[int, int]:
    """Rows and columns."""
    if tiling in ("vertical", None):
        return panels, 1
    if tiling == "horizontal":
        return 1, panels
    if tiling == "symmetric":
        rows = max(divisor for divisor in range(1, int(panels**0.5) + 1) if panels % divisor == 0)
        return rows, panels // rows
    raise ValueError(f"tiling is 'vertical', 'horizontal' or 'symmetric', not '{tiling}'.")


def _curve(xy: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    x, y = xy
    y = np.asarray(y, np.float64)
    x = np.arange(len(y), dtype=np.float64) if x is None else np.asarray(x, np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]


def _plot_each(ax: Any, curves: list, color: str, label: str, resample: int, smooth_step: float) -> None:
    for number, (x, y) in enumerate(curves):
        if resample:
            x, y, _ = symmetric_ema(x, y, n=resample, decay_steps=smooth_step)
        ax.plot(x, y, color=color, label=None if number else label)


def _plot_mean(
    ax: Any, curves: list, color: str, label: str, resample: int, smooth_step: float, std: bool, err: bool
) -> None:
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if low > high:
        raise ValueError(f"The runs of '{label}' have no steps in common: they cannot be averaged.")
    ys = np.array([symmetric_ema(x, y, low, high, resample, smooth_step)[1] for x, y in curves])
    x, mean, deviation = np.linspace(low, high, resample), ys.mean(axis=0), ys.std(axis=0)
    ax.plot(x, mean, color=color, label=label)
    if err:
        error = deviation / np.sqrt(len(ys))
        ax.fill_between(x, mean - error, mean + error, color=color, alpha=0.4, linewidth=0)
    if std:
        ax.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.2, linewidth=0)
