"""Figures of a search for hyper-parameters: how it went, and which flags mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wng_tf.plots.figures import new_panels
from wng_tf.plots.style import Look, in_style, method_name, task_name

#: (task, algorithm).
Name = tuple[str, str]


def draw_history(studies: Mapping[Name, Sequence[tuple[int, float, bool]]], *, ylabel: str) -> Figure:
    """A panel a study: the value of every trial, a cross for those that were given up, and the best so far as a line.

    Args:
      studies: (number, value, whether it was given up) of each trial.
    """
    look = Look((alg, "") for _, alg in studies)
    with in_style():
        figure, axes = new_panels(len(studies))
        for ax, ((env, alg), trials) in zip(axes, studies.items(), strict=True):
            color = look.color((alg, ""))
            for given_up, marker, label in ((False, "o", "complete"), (True, "x", "pruned")):
                numbers = [number for number, _, pruned in trials if pruned == given_up]
                values = [value for _, value, pruned in trials if pruned == given_up]
                if numbers:
                    tint = "#999999" if given_up else color
                    ax.plot(numbers, values, marker, color=tint, markersize=4.0, alpha=0.8, label=label)
            whole = sorted((number, value) for number, value, pruned in trials if not pruned)
            if whole:
                best = np.maximum.accumulate([value for _, value in whole])
                last = max(number for number, *_ in trials)
                numbers = [*(number for number, _ in whole), last]
                ax.plot(numbers, [*best, best[-1]], color=color, drawstyle="steps-post", label="best so far")
            ax.set_title(f"{task_name(env)}, {method_name((alg, ''))}", loc="left")
            ax.set_xlabel("Trial")
            ax.set_ylabel(ylabel)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.legend(frameon=False, fontsize=7.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_importance(studies: Mapping[Name, Mapping[str, float]]) -> Figure:
    """A panel a study: the share of each flag, the largest on top."""
    look = Look((alg, "") for _, alg in studies)
    with in_style():
        most = max(len(shares) for shares in studies.values())
        figure, axes = new_panels(len(studies), height=0.75 + 0.22 * most)
        for ax, ((env, alg), shares) in zip(axes, studies.items(), strict=True):
            names = sorted(shares, key=lambda name: -shares[name])
            ax.barh(range(len(names)), [shares[name] for name in names], color=look.color((alg, "")), height=0.6)
            ax.set_yticks(range(len(names)), names)
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.set_xlim(0.0, 1.0)
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
            ax.set_title(f"{task_name(env)}, {method_name((alg, ''))}", loc="left")
            ax.set_xlabel("Importance")
    return figure
