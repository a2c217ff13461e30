"""The figures: data in, a matplotlib Figure out. Nothing is computed here that a table does not also hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from wng_tf.plots.curves import Band, Bands
from wng_tf.plots.statistics import Interval
from wng_tf.plots.style import Look, Method, in_style, method_name, new_figure, ordered, spread, task_name

PANEL = (3.1, 2.2)
STEPS, MINUTES = "Environment steps", "Minutes"

_LABEL_POINTS = 7.0
#: Of a panel's height, what its axes take.
_AXES_SHARE = 0.72


def draw_curves(
    tasks: Mapping[str, Bands],
    *,
    ylabel: str,
    xlabel: str = STEPS,
    log_y: bool = False,
    rows: Sequence[Sequence[str]] = (),
    colors: Mapping[str, str] = MappingProxyType({}),
) -> Figure:
    """A panel a task: mean and standard deviation over runs, each line named at its end (Figure 2 of the paper).

    Where no run has a value below zero (a return, a divergence, a distance) the band has none either. `colors`: see `Look`.

    With `rows`, of one length and with every task in one of them, the panels stand in these rows, each row with one range of
    values; a name in them that is no task leaves its place empty.
    """
    places = [name for row in rows for name in row] or list(tasks)
    look = Look((method for bands in tasks.values() for method in bands), colors)
    height = max(PANEL[1], _height_for(max(map(len, tasks.values()))))
    with in_style():
        figure, axes = new_panels(len(places), columns=len(rows[0]) if rows else None, height=height)
        panels = dict(zip(places, axes, strict=True))
        for empty in [name for name in places if name not in tasks]:
            panels.pop(empty).remove()
        for env, bands in tasks.items():
            ax = panels[env]
            for method in reversed(ordered(bands)):  # the first of the legend is drawn on top
                band = bands[method]
                ax.plot(band.x, band.mean, color=look.color(method), linestyle=look.line(method))
                low, high = _edges(band)
                ax.fill_between(band.x, low, high, color=look.color(method), alpha=0.13, linewidth=0)
            if log_y:
                ax.set_yscale("log")
            ax.set_title(task_name(env), loc="left")
            ax.set_xlabel(xlabel)
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.set_xlim(min(band.x[0] for band in bands.values()), max(band.x[-1] for band in bands.values()))
            ax.set_ylabel(ylabel)
        for row in rows:
            together = [panels[name] for name in row if name in panels]
            limits = [ax.get_ylim() for ax in together]
            for ax in together:
                ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        for env, bands in tasks.items():
            _name_lines(panels[env], {method: (band.x, band.mean) for method, band in bands.items()}, look, height)
    return figure


def draw_profile(thresholds: np.ndarray, profiles: Mapping[Method, Interval], *, xlabel: str) -> Figure:
    """Share of runs above each score, with pointwise intervals (Agarwal et al. 2021)."""
    look = Look(profiles)
    with in_style():
        figure, (ax,) = new_panels(1)
        for method in reversed(ordered(profiles)):
            profile = profiles[method]
            color = look.color(method)
            ax.plot(thresholds, profile.value, color=color, linestyle=look.line(method), drawstyle="steps-post")
            ax.fill_between(thresholds, profile.low, profile.high, color=color, alpha=0.13, linewidth=0, step="post")
        ax.set_xlim(thresholds[0], thresholds[-1])
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel(xlabel)
        ax.set_ylabel("Share of runs above")
        _legend_beside(ax, thresholds, profiles, look)
    return figure


def draw_improvement(pairs: Sequence[tuple[Method, Method]], intervals: Sequence[Interval]) -> Figure:
    """Probability that the first of each pair scores higher than the second, with intervals."""
    with in_style():
        figure = new_figure(4.2, 0.6 + 0.2 * len(pairs))
        ax = figure.subplots()
        look = Look(method for pair in pairs for method in pair)
        for row, ((ours, _), interval) in enumerate(zip(pairs, intervals, strict=True)):
            color = look.color(ours)
            ax.plot([interval.low, interval.high], [row, row], color=color, linewidth=3.5, alpha=0.45)
            ax.plot(interval.value, row, "o", color=color, markersize=4.5)
        ax.axvline(0.5, color="#444444", linewidth=0.8, linestyle="--")
        ax.set_yticks(range(len(pairs)), [f"{method_name(ours)} > {method_name(theirs)}" for ours, theirs in pairs])
        ax.set_ylim(len(pairs) - 0.4, -0.6)
        ax.set_xlim(-0.03, 1.03)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Probability of improvement, 95% interval")
    return figure


def draw_efficiency(tasks: Mapping[str, Mapping[Method, np.ndarray]]) -> Figure:
    """Total reward over wall-clock minutes, a row a method: every run, and their mean (Figure 5 of the paper)."""
    look = Look(method for rates in tasks.values() for method in rates)
    with in_style():
        most = max(len(rates) for rates in tasks.values())
        figure, panels = new_panels(len(tasks), height=0.75 + 0.22 * most)
        for ax, (env, rates) in zip(panels, tasks.items(), strict=True):
            methods = ordered(rates)
            for row, method in enumerate(methods):
                color = look.color(method)
                ax.plot(rates[method], np.full(len(rates[method]), row), "o", color=color, markersize=3.5, alpha=0.45)
                ax.plot([np.mean(rates[method])] * 2, [row - 0.3, row + 0.3], color=color, linewidth=2.5)
            ax.set_yticks(range(len(methods)), [method_name(method) for method in methods])
            for label, method in zip(ax.get_yticklabels(), methods, strict=True):
                label.set_color(look.text_color(method))
            ax.set_ylim(len(methods) - 0.5, -0.5)
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.set_title(task_name(env), loc="left")
            ax.set_xlabel("Reward per minute")
    return figure


def new_panels(count: int, *, columns: int | None = None, height: float = PANEL[1]) -> tuple[Figure, list[Axes]]:
    """So many panels with room for names at their right, three a row (four: two) unless `columns` are given."""
    if columns is None:
        columns = min(count, 3) if count != 4 else 2
    rows = math.ceil(count / columns)
    figure = new_figure((PANEL[0] + 0.9) * columns, height * rows + 0.2)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, list(axes[:count])


def _edges(band: Band) -> tuple[np.ndarray, np.ndarray]:
    """Mean less and plus standard deviation; not below zero where no run has been."""
    low, high = band.mean - band.sd, band.mean + band.sd
    return (np.maximum(low, 0.0) if np.nanmin(band.values, initial=np.inf) >= 0.0 else low), high


def _height_for(lines: int) -> float:
    """Inches of a panel with room for the names of so many lines."""
    return 1.25 * _LABEL_POINTS * lines / (_AXES_SHARE * 72.0)


def _name_lines(ax: Axes, lines: Mapping[Method, tuple[np.ndarray, np.ndarray]], look: Look, panel: float) -> None:
    """Names beside the right end of the lines, moved apart where they would overlap, with a thin leader."""
    ends = {}
    for method, (x, y) in lines.items():
        there = np.flatnonzero(np.isfinite(y))
        if len(there):
            ends[method] = (float(x[there[-1]]), float(y[there[-1]]))
    if not ends:
        return
    ax.autoscale_view()
    ax.set_ylim(ax.get_ylim())  # what follows must not move the axes
    to_fraction = (ax.transData + ax.transAxes.inverted()).transform
    places = {method: to_fraction(end) for method, end in ends.items()}
    height = panel * _AXES_SHARE * 72.0  # points of an axes, about
    methods = list(places)
    heights = spread([float(places[method][1]) for method in methods], 1.25 * _LABEL_POINTS / height, 0.0, 1.0)
    for method, label_height in zip(methods, heights, strict=True):
        ax.annotate(
            method_name(method),
            xy=ends[method],
            xycoords="data",
            xytext=(1.05, label_height),
            textcoords="axes fraction",
            va="center",
            fontsize=_LABEL_POINTS,
            color=look.text_color(method),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look.color(method),
                "linewidth": 0.5,
                "relpos": (0.0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def _legend_beside(ax: Axes, thresholds: np.ndarray, profiles: Mapping[Method, Interval], look: Look) -> None:
    """A legend in the order in which the profiles fall, since they all end at zero."""
    area = {method: float(np.sum(profile.value)) for method, profile in profiles.items()}
    for place, method in enumerate(sorted(area, key=lambda method: -area[method])):
        ax.annotate(
            method_name(method),
            xy=(1.03, 0.97 - 0.1 * place),
            xycoords="axes fraction",
            va="top",
            fontsize=_LABEL_POINTS,
            color=look.text_color(method),
            annotation_clip=False,
        )
