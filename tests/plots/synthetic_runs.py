"""Run folders shaped like real ones, with known returns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def write_run(
    folder: Path,
    *,
    alg: str,
    env: str,
    seed: int,
    returns,
    lengths=None,
    num_env: int = 1,
    nsteps: int = 2048,
    seconds_per_step: float = 1e-3,
    total: int | None = None,
    finished: bool = True,
    columns=None,
    **settings: str,
) -> Path:
    """Writes flags, monitor files, log and summary.

    Args:
      returns: of the episodes [n]; episode i belongs to environment i % num_env.
      lengths: of the episodes [n]; default 100 each.
      total: steps of the run; default: those of the episodes, rounded up to whole updates of `nsteps`.
      columns: more columns of progress.csv, name to a function of the step.
    """
    folder.mkdir(parents=True)
    returns = np.asarray(returns, float)
    lengths = np.full(len(returns), 100) if lengths is None else np.asarray(lengths)
    flags = {"alg": alg, "env": env, "seed": seed, "log_path": folder, **settings}
    (folder / "flags.txt").write_text("".join(f"--{name}={value}\n" for name, value in flags.items()))
    ends = np.zeros(len(returns), int)
    for i in range(num_env):
        mine = slice(i, None, num_env)
        ends[mine] = num_env * np.cumsum(lengths[mine])
        episodes = zip(returns[mine], lengths[mine], ends[mine], strict=True)
        rows = [f"{r},{n},{end * seconds_per_step}" for r, n, end in episodes]
        header = f"#{json.dumps({'t_start': 0.0, 'env_id': env})}"
        (folder / f"{i}.monitor.csv").write_text("\n".join([header, "r,l,t", *rows]) + "\n")
    last = max(ends.max(initial=0), 1) if total is None else total
    steps = np.arange(nsteps, last + nsteps, nsteps)
    order = np.argsort(ends, kind="stable")
    extra = columns or {}
    lines = [",".join(["misc/total_timesteps", "misc/time_elapsed", "eprewmean", "eplenmean", *extra])]
    mean = float("nan")
    for step in steps:
        done = order[ends[order] <= step][-100:]
        mean, length = (returns[done].mean(), lengths[done].mean()) if len(done) else ("", "")
        more = [str(function(step)) for function in extra.values()]
        lines.append(",".join([str(step), str(step * seconds_per_step), str(mean), str(length), *more]))
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")
    if finished:
        summary = {"status": "finished", "alg": alg, "env": env, "seed": seed, "total_timesteps": int(steps[-1])}
        summary |= {"eprewmean": mean or None, "episodes": len(returns), "time_elapsed": steps[-1] * seconds_per_step}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def learning_returns(rng: np.random.Generator, *, final: float, start: float, total: int, tau: float, noise: float):
    """Returns and lengths of episodes that get better, like those of a hopping robot: longer ones pay more."""
    returns, lengths, step = [], [], 0
    ceiling = final * (1 + 0.12 * rng.standard_normal())
    while step < total:
        level = start + (ceiling - start) * (1 - np.exp(-step / tau))
        value = level + noise * abs(level) * rng.standard_normal()
        length = int(np.clip(abs(value) / 3.0, 20, 1000))
        step += length
        returns.append(value)
        lengths.append(length)
    return np.array(returns), np.array(lengths)
