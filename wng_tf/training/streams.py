"""Everything random in a run and its evaluation: the purposes, and the key of each of their streams.

| purpose | index | numbers |
|---|---|---|
| weights | | initial weights of policy and value, policy gradients |
| environment start | environment | seed of the first reset of a training environment |
| environment actions | environment | exploration in that environment |
| update | update | order of minibatches, basis points, actions of penalty and metric |
| penalty features | | random features of the Wasserstein penalty |
| population ... | generation | perturbations, start states, actions, basis, features; in generation 0 the initial θ |
| evaluation start, evaluation actions | episode | start state of an episode of an evaluation, and its sampled actions |
| training evaluation start | episode | start state of an episode of the evaluations during training |

No two streams of different (seed, purpose, index) share a key, however large seed and index are (`baselines_compat.streams`
says how). No TensorFlow is imported here.
"""

from __future__ import annotations

import numpy as np

from baselines_compat.streams import ENVIRONMENT_ACTIONS, ENVIRONMENT_START, WEIGHTS, Purpose

__all__ = ["PURPOSES", "Purpose", "generator"]


def _population(name: str, number: int) -> Purpose:
    """A purpose of evolution strategies: Philox with key (seed, generation), the purpose's number in its counter."""

    def small(seed: int, generation: int) -> np.random.BitGenerator:
        key = np.array([seed, generation], np.uint64)
        return np.random.Philox(key=key, counter=np.array([0, 0, 0, number], np.uint64))

    return Purpose(f"population {name}", ("generation",), small, limit=2**64)


UPDATE = Purpose("update", ("update",), lambda seed, number: np.random.SeedSequence([seed, number, 1]))
PENALTY_FEATURES = Purpose("penalty features")
POPULATION_PERTURBATIONS = _population("perturbations", 1)
POPULATION_STARTS = _population("starts", 2)
POPULATION_ACTIONS = _population("actions", 3)
POPULATION_BASIS = _population("basis", 4)
POPULATION_FEATURES = _population("features", 5)
POPULATION_PARAMETERS = _population("parameters", 6)
EVALUATION_START = Purpose("evaluation start", ("episode",))
EVALUATION_ACTIONS = Purpose("evaluation actions", ("episode",))
TRAINING_EVALUATION_START = Purpose("training evaluation start", ("episode",))

PURPOSES = (
    WEIGHTS,
    ENVIRONMENT_START,
    ENVIRONMENT_ACTIONS,
    UPDATE,
    PENALTY_FEATURES,
    POPULATION_PERTURBATIONS,
    POPULATION_STARTS,
    POPULATION_ACTIONS,
    POPULATION_BASIS,
    POPULATION_FEATURES,
    POPULATION_PARAMETERS,
    EVALUATION_START,
    EVALUATION_ACTIONS,
    TRAINING_EVALUATION_START,
)


def generator(seed: int, purpose: Purpose, *index: int) -> np.random.Generator:
    """The stream of a purpose.

    Args:
      seed: of the run, or of the evaluation; from 0.
      purpose: one of `PURPOSES`.
      index: what the purpose is counted by.

    Raises:
      ValueError: a negative number, or more or fewer indices than the purpose has.
    """
    return purpose.generator(seed, *index)
