"""One generation: a population is divided among the environments' partitions, each with a thread and an episode loop.

While one thread waits for physics (C++ or another process, both without the interpreter's lock), the others let their
members act and write down what happened: nothing holds up all cores. The parts do not wait for each other before the
last of them is done.

A rollout depends on its own parameters, seed and noise alone: the result does not depend on how the population is dealt
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wng_tf.evolution.episode_loop import EpisodeLoop, Rollouts, concatenate
from wng_tf.policies.normalizers import ObservationNormalizer
from wng_tf.policies.spec import PolicySpec

if TYPE_CHECKING:
    from wng_tf.evolution.env_partitions import EnvPartitions


class Generation:
    """Runs populations of one policy in all parts of `partitions`."""

    def __init__(self, spec: PolicySpec, partitions: EnvPartitions, horizon: int, **settings: Any):
        """Prepares a loop for each part. TensorFlow needs as many inter-op threads as there are parts, or they take turns.

        Args:
          spec: the policy's shape.
          partitions: from `env_partitions.make_partitions`.
          horizon: at most this many steps a rollout.
          **settings: of `EpisodeLoop`.
        """
        self.loops = [EpisodeLoop(spec, part, horizon, **settings) for part in partitions.parts]

    def __call__(
        self,
        parameters: NDArray[np.float64],
        seeds: Sequence[int],
        noise: NDArray[np.float32] | None,
        normalizer: ObservationNormalizer | None,
    ) -> Rollouts:
        """Runs one episode with every row of `parameters` [N, P]; arguments and result as for `EpisodeLoop`.

        Raises:
          NonFiniteError: an observation, reward or action was NaN or infinite.
          WorkerError: a process that steps environments failed.
        """
        # Member i goes to part i mod parts: of a mirrored pair one to each of two parts, so that both last as long.
        shares = [np.arange(k, len(parameters), len(self.loops)) for k in range(min(len(self.loops), len(parameters)))]
        stop = Event()

        def run(loop: EpisodeLoop, share: NDArray[np.int64]) -> Rollouts:
            own_noise = None if noise is None else noise[:, share]
            return loop(parameters[share], [seeds[i] for i in share], own_noise, normalizer, stop)

        # One part has a thread, too: TensorFlow's wait for a loop hears no Ctrl-C, which only the main thread can take.
        with ThreadPoolExecutor(len(shares)) as threads:
            try:
                futures = [threads.submit(run, loop, share) for loop, share in zip(self.loops, shares, strict=False)]
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                # After a fault or an interruption, also of the lines above, nobody may go on in environments that will be
                # closed.
                stop.set()
        failure = next((error for future in futures if (error := future.exception()) is not None), None)
        if failure is not None:
            raise failure
        return concatenate([future.result() for future in futures], np.argsort(np.concatenate(shares)))
