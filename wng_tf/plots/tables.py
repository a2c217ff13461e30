"""Tables of final returns: what is drawn as CSV, and a report in Markdown with the paper's numbers beside ours."""

from __future__ import annotations

import csv
import io
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from wng_tf.plots.curves import Bands
from wng_tf.plots.paper import CLAIMED_ORDER, PaperReturn, paper_row
from wng_tf.plots.runs import LoadedRun
from wng_tf.plots.statistics import Interval, improvement_interval, iqm_interval, mean_interval
from wng_tf.plots.style import Method, method_name, ordered, task_name

#: Task -> method -> final returns of its runs, in order of their seeds.
Returns = Mapping[str, Mapping[Method, np.ndarray]]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Summary:
    """Final returns of one method on one task: n runs, mean with its interval, sd (n - 1), interquartile mean."""

    count: int
    mean: Interval
    sd: float
    iqm: Interval


#: Task -> method -> what its runs come to.
Summaries = Mapping[str, Mapping[Method, Summary]]


def collect_returns(finals: Iterable[tuple[LoadedRun, float]]) -> dict[str, dict[Method, np.ndarray]]:
    """Final returns by task and method; runs without one (no episode ended) are left out."""
    groups: dict[str, dict[Method, list]] = defaultdict(lambda: defaultdict(list))
    for run, value in finals:
        if np.isfinite(value):
            groups[run.env][run.method].append((run.seed, value))
    return {
        env: {method: np.array([value for _, value in sorted(pairs)]) for method, pairs in methods.items()}
        for env, methods in groups.items()
    }


def summarise(returns: Returns) -> Summaries:
    """Of every method on every task, in the order of tables."""
    return {env: {method: _summary(of[method]) for method in ordered(of)} for env, of in returns.items()}


def _summary(scores: np.ndarray) -> Summary:
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
    return Summary(len(scores), mean_interval(scores), sd, iqm_interval(scores))


def normalized(returns: Mapping[str, Mapping[Key, np.ndarray]]) -> dict[str, dict[Key, np.ndarray]]:
    """Returns of each task from 0, its worst run of any method, to 1, its best: comparable between tasks."""
    scaled = {}
    for env, methods in returns.items():
        every = np.concatenate(list(methods.values()))
        low, width = every.min(), np.ptp(every)
        scaled[env] = {method: (scores - low) / (width or 1.0) for method, scores in methods.items()}
    return scaled


def shared_tasks(returns: Returns, *methods: Method) -> list[str]:
    """Tasks that every one of the methods ran on."""
    return [env for env, by_method in returns.items() if all(method in by_method for method in methods)]


def improvement(returns: Returns, ours: Method, theirs: Method) -> Interval | None:
    """Probability of improvement over the tasks that both ran on; None if there are none."""
    tasks = shared_tasks(returns, ours, theirs)
    if not tasks:
        return None
    return improvement_interval([returns[env][ours] for env in tasks], [returns[env][theirs] for env in tasks])


def all_pairs(returns: Returns) -> list[tuple[Method, Method]]:
    """Every pair of methods with a task in common, the first before the second in the order of tables."""
    methods = ordered(method for by_method in returns.values() for method in by_method)
    pairs = [(ours, theirs) for place, ours in enumerate(methods) for theirs in methods[place + 1 :]]
    return [pair for pair in pairs if shared_tasks(returns, *pair)]


def best_variants(returns: Returns) -> dict[tuple[str, str], Method]:
    """(task, algorithm) -> its variant with the highest mean return, where there are several to choose from."""
    best = {}
    for env, methods in returns.items():
        for alg in dict.fromkeys(alg for alg, _ in ordered(methods)):
            variants = [method for method in ordered(methods) if method[0] == alg]
            if len(variants) > 1:
                best[env, alg] = max(variants, key=lambda method: np.mean(methods[method]))
    return best


def best_flags(returns: Returns) -> str:
    """The best variants as lines for a flagfile of `wng_tf.sweep`; empty if there was nothing to choose."""
    lines = []
    for (env, alg), (_, variant) in best_variants(returns).items():
        mean = np.mean(returns[env][alg, variant])
        lines += [f"# {mean:.2f}", f"--override=env={env},alg={alg}:{variant.replace(', ', ',')}"]
    return "".join(line + "\n" for line in lines)


# ---- CSV ------------------------------------------------------------------------------------------------------------


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a header; floats with nine digits, NaN as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def curves_csv(tasks: Mapping[str, Bands], axis: str) -> str:
    """What `draw_curves` draws."""
    rows = (
        (env, *method, x, mean, sd, len(band.values))
        for env, bands in tasks.items()
        for method in ordered(bands)
        for band in [bands[method]]
        for x, mean, sd in zip(band.x, band.mean, band.sd, strict=True)
    )
    return to_csv(("env", "alg", "variant", axis, "mean", "sd", "runs"), (row for row in rows if np.isfinite(row[4])))


def summary_csv(summaries: Summaries, paper: Mapping | None = None) -> str:
    """One row for each task and method."""
    columns = ("env", "alg", "variant", "runs", "mean", "sd", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high",
               "paper_mean", "paper_sd")  # fmt: skip
    rows = []
    for env, methods in summaries.items():
        for method, of in methods.items():
            theirs = _paper(paper, env, method) or PaperReturn(float("nan"))
            rows.append((env, *method, of.count, of.mean.value, of.sd, of.mean.low, of.mean.high, *of.iqm, *theirs))
    return to_csv(columns, rows)


# ---- Markdown -------------------------------------------------------------------------------------------------------


def report(
    returns: Returns,
    summaries: Summaries,
    *,
    window: int,
    notes: Sequence[str] = (),
    paper: Mapping | None = None,
    evaluated: Summaries | None = None,
) -> str:
    """The whole report: final returns, intervals, probabilities of improvement, and the paper's claims if asked for.

    `evaluated` are returns of deterministic policies, of those runs that were evaluated.
    """
    parts = [
        "# Final returns",
        f"Mean return of the last {window} episodes of training; mean ± standard deviation over runs (seeds). The best "
        "mean of a task is bold, the second best has a star.",
        _wide_table(summaries, paper),
        "## Intervals",
        "95% percentile bootstrap intervals over runs; IQM is the interquartile mean.",
        _long_table(summaries, paper),
    ]
    if evaluated:
        parts += [
            "## Deterministic policies",
            "Mean return of the deterministic policy of each run's last checkpoint (`evaluation.json`); mean ± standard "
            "deviation over runs. Noise is part of the returns above, and not of these.",
            _wide_table(evaluated, None),
            _long_table(evaluated, None),
        ]
    pairs = all_pairs(returns)
    if pairs:
        parts += [
            "## Probability of improvement",
            "That a run of the first method ends higher than a run of the second; mean over tasks, 95% stratified bootstrap.",
            _improvement_table(returns, pairs),
        ]
    if paper is not None:
        parts += ["## The paper's order", _claims(returns)]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _wide_table(summaries: Summaries, paper: Mapping | None) -> str:
    methods = ordered(method for by_method in summaries.values() for method in by_method)
    rows = []
    for env, by_method in summaries.items():
        means = {method: of.mean.value for method, of in by_method.items()}
        cells = {method: _mean_sd(of.mean.value, of.sd) for method, of in by_method.items()}
        rows.append([task_name(env), *_marked(methods, cells, means)])
        row = {method: entry for method in methods if (entry := _paper(paper, env, method))}
        if row:
            means = {method: entry.mean for method, entry in row.items()}
            cells = {method: _mean_sd(*entry) for method, entry in row.items()}
            rows.append(["— paper", *_marked(methods, cells, means)])
    return markdown(["Task", *map(method_name, methods)], rows)


def _long_table(summaries: Summaries, paper: Mapping | None) -> str:
    header = ["Task", "Method", "Runs", "Mean", "95%", "sd", "IQM", "95%"] + (["Paper"] if paper is not None else [])
    rows = []
    for env, by_method in summaries.items():
        for method, of in by_method.items():
            row = [task_name(env), method_name(method), str(of.count), _number(of.mean.value), _range(of.mean)]
            row += [_number(of.sd), _number(of.iqm.value), _range(of.iqm)]
            if paper is not None:
                theirs = _paper(paper, env, method)
                row.append(_mean_sd(*theirs) if theirs else "")
            rows.append(row)
    return markdown(header, rows)


def _improvement_table(returns: Returns, pairs: Sequence[tuple[Method, Method]]) -> str:
    several = len(returns) > 1
    header = ["First", "Second", "All tasks" if several else task_name(next(iter(returns)))]
    header += [task_name(env) for env in returns] if several else []
    rows = []
    for ours, theirs in pairs:
        row = [method_name(ours), method_name(theirs), _probability(improvement(returns, ours, theirs))]
        if several:
            row += [_probability(improvement({env: returns[env]}, ours, theirs)) for env in returns]
        rows.append(row)
    return markdown(header, rows)


def _claims(returns: Returns) -> str:
    """BG-WNPG > WNPG > BGPG > PPO > None, link by link, then the pairs further apart, on each task and over all."""
    present = {method for by_method in returns.values() for method in by_method}
    chain = [(alg, "") for alg in CLAIMED_ORDER if (alg, "") in present]
    if len(chain) < 2:
        return "None of the paper's comparisons can be made with these runs."
    scopes = [(task_name(env), {env: returns[env]}) for env in returns]
    if len(returns) > 1:
        scopes.append(("All tasks", dict(returns)))
    rows = []
    links = list(itertools.pairwise(chain))
    for ours, theirs in [*links, *(pair for pair in itertools.combinations(chain, 2) if pair not in links)]:
        row = [f"{method_name(ours)} > {method_name(theirs)}"]
        for _, scope in scopes:
            row.append(_verdict(improvement(scope, ours, theirs)))
        rows.append(row)
    legend = (
        "A link holds where the interval of its probability lies above one half, is reversed where it lies below, and "
        "is open otherwise."
    )
    return legend + "\n\n" + markdown(["Link", *(name for name, _ in scopes)], rows)


def _verdict(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval.low > 0.5:
        word = "holds"
    elif interval.high < 0.5:
        word = "reversed"
    else:
        word = "open"
    return f"{word}: {_probability(interval)}"


def _marked(methods: Sequence[Method], cells: Mapping[Method, str], means: Mapping[Method, float]) -> list[str]:
    ranking = sorted(means, key=lambda method: -means[method])
    marked = dict(cells)
    if len(ranking) > 1:
        marked[ranking[0]] = f"**{cells[ranking[0]]}**"
        marked[ranking[1]] = f"{cells[ranking[1]]}\\*"
    return [marked.get(method, "") for method in methods]


def _paper(paper: Mapping | None, env: str, method: Method) -> PaperReturn | None:
    alg, variant = method
    return None if paper is None or variant else paper_row(paper, env).get(alg)


def _mean_sd(mean: float, sd: float | None) -> str:
    return _number(mean) if sd is None or np.isnan(sd) else f"{_number(mean)} ± {_number(sd)}"


def _range(interval: Interval) -> str:
    return "" if np.isnan(interval.low) else f"{_number(interval.low)} to {_number(interval.high)}"


def _probability(interval: Interval | None) -> str:
    if interval is None:
        return ""
    ends = "" if np.isnan(interval.low) else f" ({interval.low:.2f} to {interval.high:.2f})"
    return f"{interval.value:.2f}{ends}"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.9g}"
    return value


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
