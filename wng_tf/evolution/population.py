"""Everything random in a generation, from counter-based streams: a pure function of (seed, generation).

Nothing here depends on how the population is cut into chunks, nor on what ran before, so a resumed run draws what the
uninterrupted one would have drawn.

| symbol | meaning | shape |
|---|---|---|
| ξ | perturbations, N(0, I) | [n, P] |
| σ | their standard deviation in parameter space | |
| θ̃ | perturbed parameters, θ + σ ξ_1..n, then θ - σ ξ_1..n (mirrored) | [2n, P] |
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from wng_tf.training import streams


class Stream(Enum):
    """One stream a purpose: no two uses share a random number."""

    PERTURBATIONS = streams.POPULATION_PERTURBATIONS
    STARTS = streams.POPULATION_STARTS
    ACTIONS = streams.POPULATION_ACTIONS
    BASIS = streams.POPULATION_BASIS
    FEATURES = streams.POPULATION_FEATURES
    PARAMETERS = streams.POPULATION_PARAMETERS


def generator(seed: int, generation: int, stream: Stream) -> np.random.Generator:
    """The generator of one purpose in one generation."""
    return streams.generator(seed, stream.value, generation)


def perturbations(
    seed: int,
    generation: int,
    shape: tuple[int, int],
    *,
    unit_norm: bool = False,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """ξ of `shape` [n, P], rows N(0, I); with `unit_norm` uniform on the sphere of radius √P: E[ξ ξᵀ] is still I.

    Args:
      rows: in ascending order, the only ones that are wanted [k]: the same numbers, without the memory of the others.
    """
    rng = generator(seed, generation, Stream.PERTURBATIONS)
    if rows is None:
        xi = rng.standard_normal(shape)
    else:
        # How many words of the stream a normal number takes is not known: those before are drawn and thrown away.
        xi, row = np.empty((len(rows), shape[1])), np.empty(shape[1])
        wanted = {int(which): place for place, which in enumerate(rows)}
        for which in range(max(wanted, default=-1) + 1):
            rng.standard_normal(out=xi[wanted[which]] if which in wanted else row)
    if unit_norm:
        xi *= np.sqrt(shape[1]) / np.linalg.norm(xi, axis=1, keepdims=True)
    return xi


def mirrored(theta: NDArray[np.float64], xi: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """θ̃ [2n, P]: θ + σ ξ_1..n, then θ - σ ξ_1..n."""
    return np.concatenate([theta + sigma * xi, theta - sigma * xi])


def start_seeds(seed: int, generation: int, num_pairs: int, num_evaluations: int, sharing: str) -> list[int]:
    """The environment seed of every rollout: 2n perturbed ones in the order of `mirrored`, then the evaluations of θ.

    Args:
      sharing: which rollouts start from the same state: "pair" (the two of a mirrored pair: common random numbers),
        "generation" (the whole population), "run" (every rollout of the run, as in the released code), "none".

    Raises:
      ValueError: another word for `sharing`.
    """
    rng = generator(seed, 0 if sharing == "run" else generation, Stream.STARTS)
    # Drawn first: the evaluations start alike for every kind of sharing and every population size.
    evaluations = rng.integers(2**31, size=num_evaluations)
    if sharing in ("run", "generation"):
        one = evaluations[:1] if sharing == "run" else rng.integers(2**31, size=1)
        members = np.repeat(one, 2 * num_pairs)
        evaluations = np.repeat(one, num_evaluations) if sharing == "run" else evaluations
    elif sharing == "pair":
        members = np.tile(rng.integers(2**31, size=num_pairs), 2)
    elif sharing == "none":
        members = rng.integers(2**31, size=2 * num_pairs)
    else:
        raise ValueError(f"sharing is 'pair', 'generation', 'run' or 'none', not '{sharing}'")
    return [int(one) for one in np.concatenate([members, evaluations])]


def action_noise(
    seed: int,
    generation: int,
    horizon: int,
    num_pairs: int,
    num_evaluations: int,
    size: int,
    members: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Standard normal noise [horizon, 2n + evaluations, size]; zero for the evaluations, which act without noise.

    Args:
      members: the only ones whose noise is wanted [k]: the same numbers [horizon, k, size], without the memory of the
        others.
    """
    count = 2 * num_pairs + num_evaluations
    rng = generator(seed, generation, Stream.ACTIONS)
    if members is None:
        noise = np.zeros((horizon, count, size), np.float32)
        noise[:, : 2 * num_pairs] = rng.standard_normal((horizon, 2 * num_pairs, size), dtype=np.float32)
        return noise
    noise, step = np.empty((horizon, len(members), size), np.float32), np.zeros((count, size), np.float32)
    for own in noise:
        step[: 2 * num_pairs] = rng.standard_normal((2 * num_pairs, size), dtype=np.float32)
        own[:] = step[members]
    return noise


def tensor_seed(seed: int, generation: int, stream: Stream) -> int:
    """A 63-bit seed for one of TensorFlow's stateless draws."""
    return int(generator(seed, generation, stream).integers(2**63))
