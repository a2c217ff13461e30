"""Interleaved timing: contenders take turns, so that a machine whose speed drifts drifts for all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    repetitions: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of one call of each contender, over `repetitions` rounds in which every one is called once."""
    for contender in contenders.values():
        for _ in range(warm_up):
            contender()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, contender in contenders.items():
            started = clock()
            contender()
            times[name].append(clock() - started)
    return {name: float(np.median(t)) for name, t in times.items()}
