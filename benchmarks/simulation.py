"""A generation on up to 1 000 workers, from costs measured on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wng_tf.plots import style

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
PAIRS = (50, 500, 5000)
BYTES_PER_SECOND = 125e6
"""Of the network card of the machine where the run is: 1 Gbit/s."""
GENERATIONS = 20
LONG = (800.0, 200.0, 1000)
"""Mean, deviation and bound of the lengths of rollouts of policies that have learnt to stay alive: assumed."""


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
      seconds_per_turn: of the loop over steps, whatever the number of its members.
      seconds_per_step: of one member.
      seconds_per_normal: of drawing one number of a perturbation.
      seconds_per_update_number: of the update, for each number of the perturbations.
      seconds_per_call: of an actor's method that does nothing, sent and gathered, where there are many.
      parameters: P.
      bytes_told: θ and normalizer.
      bytes_per_member: of what comes back.
      mean_length, deviation_of_length, longest: of rollouts, in steps.
    """

    seconds_per_turn: float
    seconds_per_step: float
    seconds_per_normal: float
    seconds_per_update_number: float
    seconds_per_call: float
    parameters: int
    bytes_told: int
    bytes_per_member: float
    mean_length: float
    deviation_of_length: float
    longest: int


def parts_of(lengths: NDArray[np.float64], workers: int) -> list[NDArray[np.float64]]:
    """The lengths of each part's rollouts; member i goes to part i mod parts."""
    return [lengths[k::workers] for k in range(min(workers, len(lengths)))]


def generation(
    costs: Costs, pairs: int, workers: int, rollout: tuple[float, float, int], rng: np.random.Generator
) -> dict[str, float]:
    """Seconds of one generation by what they go to; their sum is what it lasts.

    Calls are sent and gathered one after another by one process; every actor is on a machine of its own and gets θ from
    that process. An actor draws all perturbations up to its last member's. Meanwhile the process draws them itself.

    Args:
      rollout: mean, deviation and bound of the lengths.
    """
    mean, deviation, longest = rollout
    rollouts = 2 * pairs + 1
    lengths = np.clip(rng.normal(mean, deviation, rollouts), 1, longest)
    parts = parts_of(lengths, workers)
    work = [costs.seconds_per_turn * part.max() + costs.seconds_per_step * part.sum() for part in parts]
    share = float(np.mean(work))  # what an even division would give
    draw = costs.seconds_per_normal * pairs * costs.parameters
    traffic = (costs.bytes_told * len(parts) + costs.bytes_per_member * rollouts) / BYTES_PER_SECOND
    return {
        "rollouts": share,
        "waiting for the largest part": max(work) - share,
        "drawing perturbations": draw,
        "calls": costs.seconds_per_call * len(parts),
        "network": traffic,
        "update": costs.seconds_per_update_number * pairs * costs.parameters,
    }


def simulate(costs: Costs, seed: int = 0) -> list[dict[str, float | str]]:
    """A row for each size of a generation and number of workers, means over some generations.

    Efficiency is against one worker without calls and network, over the number of workers.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float | str]] = []
    cases = {"short": (costs.mean_length, costs.deviation_of_length, costs.longest), "long": LONG}
    for case, rollout in cases.items():
        for pairs in PAIRS:
            alone = 0.0
            for workers in WORKERS:
                several = [generation(costs, pairs, workers, rollout, rng) for _ in range(GENERATIONS)]
                mean = {name: float(np.mean([one[name] for one in several])) for name in several[0]}
                seconds = sum(mean.values())
                if workers == 1:
                    alone = seconds - mean["calls"] - mean["network"]
                losses = {name: value for name, value in mean.items() if name != "rollouts"}
                rows.append(
                    {
                        "lengths": case,
                        "rollouts": 2 * pairs + 1,
                        "workers": workers,
                        "seconds": seconds,
                        "efficiency": alone / seconds / workers,
                        "largest": max(losses, key=lambda name: losses[name]),
                        **{f"seconds of {name}": value for name, value in mean.items()},
                    }
                )
    return rows


def plot(rows: Sequence[dict], stem: Path) -> None:
    """Efficiency over the number of workers, a line for each size of a generation, a panel for each length of rollouts."""
    cases = list(dict.fromkeys(row["lengths"] for row in rows))
    sizes = sorted({row["rollouts"] for row in rows})
    look = style.Look([("wnes", f"{rollouts:,} rollouts") for rollouts in sizes])
    with style.in_style():
        figure = style.new_figure(6.5, 2.8)
        panels = figure.subplots(1, len(cases), sharey=True)
        for axes, case in zip(panels, cases, strict=True):
            ends = []
            for rollouts in sizes:
                method = "wnes", f"{rollouts:,} rollouts"
                own = [row for row in rows if row["rollouts"] == rollouts and row["lengths"] == case]
                efficiency = [row["efficiency"] for row in own]
                axes.plot([row["workers"] for row in own], efficiency, color=look.color(method), linestyle=look.line(method))
                ends.append(efficiency[-1])
            places = style.spread(ends, 0.07)
            lift = max(0.0, 0.03 - min(places))  # above the axis, where the numbers of workers are below it
            for rollouts, end in zip(sizes, places, strict=True):
                color = look.text_color(("wnes", f"{rollouts:,} rollouts"))
                place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
                axes.annotate(
                    f"{rollouts:,} rollouts", (WORKERS[-1], end + lift), color=color, annotation_clip=False, **place
                )
            axes.set_xscale("log")
            axes.set_ylim(0.0, 1.05)
            axes.set_xlim(1, WORKERS[-1])
            axes.set_xlabel("workers")
            axes.set_title(f"{case} rollouts", loc="left")
        panels[0].set_ylabel("efficiency")
    style.save(figure, stem)
