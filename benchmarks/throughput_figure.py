"""The figure of `benchmarks.throughput`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from wng_tf.plots.style import METHODS, in_style, method_name, new_figure, task_name

Row = tuple[str, str, float, str]


def draw(rows: Sequence[Row], env: str, scaling: Mapping[str, tuple[str, Sequence[int]]]) -> Figure | None:
    """A panel with the steps per second of every subject, and one with what an update costs by the size of a setting.

    Args:
      rows: section, what, value and note of each measurement.
      scaling: setting -> the algorithm that it was measured with, and its values.

    Returns:
      a figure with the panels that there are measurements for; None if there are for neither.
    """
    times = {what: value for section, what, value, _ in rows if section == "scaling"}
    lines = {
        (alg, setting): (values, [times[f"{alg} {setting}={value}"] for value in values])
        for setting, (alg, values) in scaling.items()
        if all(f"{alg} {setting}={value}" in times for value in values)
    }
    measured = sorted(((what, value) for section, what, value, _ in rows if section == "rates"), key=lambda x: x[1])
    if not measured and not lines:
        return None
    with in_style():
        figure = new_figure(4.4 * (bool(measured) + bool(lines)), 3.0)
        axes = iter(figure.subplots(1, bool(measured) + bool(lines), squeeze=False)[0])
        if measured:
            ax = next(axes)
            for row, (what, value) in enumerate(measured):
                alg = what.rpartition(" ")[2]
                peer = what.startswith("sb3")
                color = METHODS[alg][1] if alg in METHODS else "#BBBBBB"
                style = {"facecolor": "white", "edgecolor": color, "hatch": "////"} if peer else {"color": color}
                ax.barh(row, value, height=0.7, **style)
            ax.set_yticks(range(len(measured)), [_subject(what) for what, _ in measured])
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
            ax.set_xlabel("Environment steps per second")
            ax.set_title(f"{task_name(env)}, one thread", loc="left")
        if lines:
            ax = next(axes)
            for ((alg, setting), (values, series)), line in zip(lines.items(), ("-", "--", "-", "-"), strict=False):
                color = METHODS[alg][1]
                name = f"{method_name((alg, ''))}: {setting}"
                ax.plot(values, series, line, marker="o", markersize=3.5, color=color, label=name)
            for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
                scale("log", base=2)
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.legend(frameon=False, fontsize=7.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
            ax.set_xlabel("Value of the setting")
            ax.set_ylabel("Milliseconds per update")
            ax.set_title(f"{task_name(env)}, cost of an update", loc="left")
    return figure


def _subject(what: str) -> str:
    """A row of the rates, for people."""
    alg = what.rpartition(" ")[2]
    name = method_name((alg, "")) if alg in METHODS else what
    return f"{name}, sb3" if what.startswith("sb3") else name
