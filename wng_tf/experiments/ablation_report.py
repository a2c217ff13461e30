"""The ablation's tables: scores of metric x step rule, and the exact Wasserstein trust region against the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wng_tf.experiments.ablation_record import CELLS, METRICS, STEPS, Cell, Outcome

if TYPE_CHECKING:
    import numpy as np

    from wng_tf.plots.statistics import Interval


OURS = Cell("Wasserstein, exact", "trust region")
RIVALS = {
    "PPO": Cell("none", "Adam + clip"),
    "TRPO": Cell("Fisher, exact", "trust region"),
    "WNPG": Cell("Wasserstein, kernel", "Adam"),
    "no metric, trust region": Cell("none", "trust region"),
}


def scores_of(outcomes: Sequence[Outcome]) -> dict[str, dict[Cell, np.ndarray]]:
    """Task -> cell -> final returns, scaled so that a task's worst run is 0 and its best 1."""
    import numpy as np

    from wng_tf.plots.tables import normalized

    groups: dict[str, dict[Cell, list[float]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        if np.isfinite(outcome.final):
            groups[outcome.env][outcome.cell].append(outcome.final)
    return normalized({env: {c: np.array(v) for c, v in of.items()} for env, of in groups.items()})


def difference(scores: Mapping[str, Mapping[Cell, np.ndarray]], ours: Cell, theirs: Cell) -> Interval | None:
    """Interquartile mean of ours minus theirs over the tasks that both ran on, resampled task by task; None without any."""
    import numpy as np

    from wng_tf.plots.statistics import bootstrap, interquartile_mean

    tasks = [env for env, of in scores.items() if ours in of and theirs in of]
    if not tasks:
        return None

    def statistic(*samples: np.ndarray, axis: int) -> np.ndarray:
        halves = samples[: len(tasks)], samples[len(tasks) :]
        mine, other = (interquartile_mean(np.concatenate(half, axis=axis), axis) for half in halves)
        return mine - other

    return bootstrap([scores[env][cell] for cell in (ours, theirs) for env in tasks], statistic)


def report(outcomes: Sequence[Outcome], left_out: int = 0) -> str:
    """The tables, in Markdown."""
    import numpy as np

    from wng_tf.plots.style import task_name

    scores = scores_of(outcomes)
    parts = [
        "# Ablation: metric x step rule",
        "Mean return of the last hundred episodes. Scores scale each task from 0, its worst run, to 1, its best. "
        "Interquartile means with 95% bootstrap intervals, resampled task by task.",
    ]
    if left_out:
        parts.append(f"{left_out} runs are not finished and left out.")
    parts += ["## All tasks", _grid(scores), "## The exact Wasserstein trust region against the others", _rivals(scores)]
    for env, of in scores.items():
        returns = {cell: np.array([o.final for o in outcomes if (o.env, o.cell) == (env, cell)]) for cell in of}
        parts += [f"## {task_name(env)}", "Returns.", _grid({env: returns})]
    parts += [
        "## What else differs",
        "Median over runs: entropy of the policy at the end and its fall during training, the smallest "
        "and the largest standard deviation of an action's coordinate at the end, what an update moved the policy by, and "
        "environment steps per second (of runs side by side).",
        _habits(outcomes),
    ]
    return "\n\n".join(parts) + "\n"


def _grid(scores: Mapping[str, Mapping[Cell, np.ndarray]]) -> str:
    from wng_tf.plots.statistics import iqm_interval

    rows = []
    for metric in METRICS.values():
        cells = []
        for step in STEPS:
            samples = [of[Cell(metric, step)] for of in scores.values() if Cell(metric, step) in of]
            cells.append(_text(iqm_interval(*samples)) if samples else "")
        rows.append([metric, *cells])
    return _markdown(["metric", *STEPS], rows)


def _rivals(scores: Mapping[str, Mapping[Cell, np.ndarray]]) -> str:
    from wng_tf.plots.statistics import improvement_interval

    rows = []
    for name, rival in RIVALS.items():
        gap = difference(scores, OURS, rival)
        if gap is None:
            continue
        tasks = [env for env, of in scores.items() if OURS in of and rival in of]
        chance = improvement_interval([scores[e][OURS] for e in tasks], [scores[e][rival] for e in tasks])
        rows.append([name, str(len(tasks)), _text(gap), _text(chance)])
    return _markdown(["rival", "tasks", "difference of the interquartile means", "probability of improvement"], rows)


def _habits(outcomes: Sequence[Outcome]) -> str:
    import numpy as np

    from wng_tf.plots.style import task_name

    rows = []
    for env in dict.fromkeys(o.env for o in outcomes):
        for cell in CELLS:
            mine = [o for o in outcomes if (o.env, o.cell) == (env, cell)]
            if mine:
                entropy, fall, kl, w2, rate, low, high = (
                    float(np.median([getattr(o, name) for o in mine]))
                    for name in ("entropy", "entropy_fall", "kl", "w2", "rate", "std_low", "std_high")
                )
                small = [f"{x:.2g}" if np.isfinite(x) else "" for x in (low, high, kl, w2)]
                rows.append([task_name(env), *cell, str(len(mine)), f"{entropy:.2f}", f"{fall:.2f}", *small, f"{rate:.0f}"])
    identity, policy = ["task", "metric", "step rule", "runs"], ["entropy", "its fall", "smallest σ", "largest σ"]
    header = [*identity, *policy, "KL an update", "W2² an update", "steps/s"]
    return _markdown(header, rows)


def _text(interval: Interval) -> str:
    import numpy as np

    digits = 2 if abs(interval.value) < 10.0 else 0
    ends = "" if np.isnan(interval.low) else f" ({interval.low:.{digits}f} to {interval.high:.{digits}f})"
    return f"{interval.value:.{digits}f}{ends}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows])
