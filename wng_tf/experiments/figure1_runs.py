"""The runs of Figure 1: every method in both parameterisations, and the sweeps over penalty strength and step size."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from wng_tf.experiments.sinc_gaussian import METHODS, PARAMETERISATIONS, History, Method, Parameterisation, optimise, start

PENALTIES: tuple[Method, ...] = ("w2_penalty", "kl_penalty")
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
STEP_SIZES = (0.01, 0.03, 0.1, 0.3, 0.9, 3.0, 10.0, 30.0)
NAMES: Mapping[str, str] = {
    "sgd": "SGD",
    "wng": "WNG",
    "fng": "FNG",
    "w2_penalty": "W₂ penalty",
    "kl_penalty": "KL penalty",
    "log_diagonal": "log-diagonal",
    "diagonal": "diagonal",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all panels share; the paper's λ, β, iterations and dimensions."""

    seed: int = 0
    dimensions: int = 100
    iterations: int = 4000
    step_size: float = 0.9
    penalty: float = 0.1
    inner_steps: int = 10


@dataclasses.dataclass(frozen=True)
class Results:
    """Runs by method and parameterisation; histories of sweeps have one run for each value swept."""

    settings: Settings
    runs: Mapping[tuple[Method, Parameterisation], History]
    by_strength: Mapping[tuple[Method, Parameterisation], History]
    by_step_size: Mapping[tuple[Method, Parameterisation], History]


def run(settings: Settings) -> Results:
    """All runs of the figure; losses in the histories are divided by the number of dimensions."""
    mean, variance = start(settings.dimensions, settings.seed)
    single, by_strength, by_step_size = {}, {}, {}
    for method, parameterisation in itertools.product(METHODS, PARAMETERISATIONS):
        strengths = STRENGTHS if method in PENALTIES else ()
        # The run of the other panels, then the two sweeps, side by side.
        history = optimise(
            method,
            parameterisation,
            mean,
            variance,
            step_size=np.array([settings.step_size] * (1 + len(strengths)) + list(STEP_SIZES)),
            penalty=np.array([settings.penalty, *strengths] + [settings.penalty] * len(STEP_SIZES)),
            iterations=settings.iterations,
            inner_steps=settings.inner_steps,
        )
        history = history._replace(loss=history.loss / settings.dimensions)
        key = method, parameterisation
        single[key] = history.select(slice(0, 1))
        if strengths:
            by_strength[key] = history.select(slice(1, 1 + len(strengths)))
        by_step_size[key] = history.select(slice(1 + len(strengths), None))
    return Results(settings, single, by_strength, by_step_size)
