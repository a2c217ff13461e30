"""What tests of whole runs share: settings small enough for a test, and how to look at what a run wrote."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wng_tf import algorithms
from wng_tf.policy_gradient.config import resolve
from wng_tf.training.settings import has_effect

TINY = {"nsteps": 64, "nminibatches": 2, "noptepochs": 2, "num_hidden": 8, "num_actions": 4, "inner_steps": 5}
"""Settings of a policy-gradient run whose updates take milliseconds."""

TIMES = {"fps", "misc/time_elapsed", "es/cpu_seconds"}
"""Columns of progress.csv that differ between runs that are otherwise the same."""


def as_flags(**settings: Any) -> list[str]:
    """Settings as the flags of `wng_tf.run`, without those of TINY that the algorithm has no use for."""
    row = algorithms.find(settings["alg"]) if "alg" in settings else None
    if isinstance(row, algorithms.PolicyGradientAlgorithm):
        parts = {part: settings[part] for part in ("penalty", "metric", "preconditioner", "step_rule") if part in settings}
        config = resolve(row, "other", parts)
        settings = {
            name: value
            for name, value in settings.items()
            if TINY.get(name) != value or has_effect(config, name, network=settings.get("network", "mlp"))
        }
    return [f"--{name}={value}" for name, value in settings.items()]


RUNS = {
    "ppo on CartPole": dict(alg="ppo", env="CartPole-v1", total_timesteps=384),
    "wnpg on CartPole": dict(alg="wnpg", env="CartPole-v1", total_timesteps=128),
    "ppo on Hopper": dict(alg="ppo", env="Hopper-v5", total_timesteps=768, num_env=2),
    "bg_wnpg on pendulum": dict(alg="bg_wnpg", env="InvertedDoublePendulum-v5", total_timesteps=768, num_env=2),
    "wnes on Point": dict(alg="wnes", env="Point", total_timesteps=1200, population=4, num_hidden=4),
}
"""Runs that tests share; every checkpoint is kept."""


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Graphs without XLA, whose compilation is most of what a short run costs."""
    import tensorflow as tf

    original = tf.function

    def without_xla(*args: Any, jit_compile: bool | None = None, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    tf.function = without_xla
    try:
        yield
    finally:
        tf.function = original


def train(name: str, folder: Path | None, *, xla: bool = False, **changes: Any) -> None:
    """Train one of RUNS to `folder`, with changed settings, with XLA or without."""
    settings = {"save_interval": 1, "keep_checkpoints": 100, **RUNS[name], **changes}
    if settings["alg"] in algorithms.POLICY_GRADIENTS:
        from wng_tf.policy_gradient.learn import learn

        settings = {**TINY, **settings}
    else:
        from wng_tf.evolution.learn import learn
    with contextlib.nullcontext() if xla else uncompiled():
        learn(log_path=folder, **settings)


def progress(folder: Path) -> list[dict[str, str]]:
    """Rows of progress.csv as text, to the last digit, without the columns of time."""
    with open(Path(folder) / "progress.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def episodes(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return and length of every episode, by monitor file."""
    rows = {}
    for path in sorted(Path(folder).glob("*.monitor.csv")):
        with open(path, newline="") as file:
            file.readline()
            rows[path.name] = [(row["r"], row["l"]) for row in csv.DictReader(file)]
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def assert_same_state(one: Any, other: Any, place: str = "state") -> None:
    """Equal to the last bit, types included, all the way down; names the place where not."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same_state(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_state(a, b, f"{place}/{i}")
    elif isinstance(one, np.ndarray | np.generic):
        assert one.dtype == other.dtype and one.shape == other.shape, place
        assert one.tobytes() == other.tobytes(), place
    else:
        assert one == other, place
