"""What a step of a rollout costs over `env.step`: normalizer, policy, clipping and storing, on one thread.

    python -m benchmarks.rollouts

Two copies of an environment begin alike. In turns one collects a segment, as training does, and the other is stepped, and
reset where episodes end, with the actions that were chosen there: both go through the same states. Microseconds of the
processor a step, medians over the segments, which other work on the machine lengthens less than those of the clock; `over`
is the median of the differences, `least` what is left between the shortest of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks.rows import write_rows

flags.DEFINE_list("envs", ["Hopper-v5", "HalfCheetah-v5"], "Environments.")
flags.DEFINE_integer("steps", 2048, "Steps of a segment.", lower_bound=1)
flags.DEFINE_integer("repetitions", 15, "Segments.", lower_bound=1)
flags.DEFINE_integer("num_hidden", 64, "Units of each of the policy's two hidden layers.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")
FLAGS = flags.FLAGS


class Pair:
    """A slot that collects, and an environment that goes through the same states."""

    def __init__(self, env: str, steps: int, num_hidden: int):
        from baselines_compat.actor import Actor, ActorSpec, head_of
        from baselines_compat.conform import size_of
        from baselines_compat.vec_env.normalizer import Normalizer, NormalizerSettings
        from baselines_compat.vec_env.segment import SegmentArrays
        from baselines_compat.vec_env.slot import EnvSlot
        from wng_tf.envs import tasks

        self._slot, self._other = (EnvSlot(lambda: tasks.make(env), 0, 0) for _ in range(2))
        space, size = self._slot.env.action_space, size_of(self._slot.env.observation_space)
        head = head_of(space)
        layers = ((size, num_hidden, "tanh"), (num_hidden, num_hidden, "tanh"), (num_hidden, head.num_outputs, "linear"))
        spec = ActorSpec(layers, head=head)
        # Small outputs, unit deviations: a policy at the beginning.
        self._actor = Actor(spec, np.random.default_rng(0).normal(0.0, 0.1, spec.size))
        self._normalizer = Normalizer((size,), NormalizerSettings())
        self._arrays = SegmentArrays.empty(steps, size, space, 1).of(0)
        self._other.reset()

    def collect(self) -> None:
        """A segment, and what it adds to the statistics."""
        settings = self._normalizer.settings
        info = self._slot.collect(self._actor, self._normalizer.snapshot(), settings, self._arrays)
        self._normalizer.merge(info.observations, info.returns)

    def replay(self) -> Callable[[], None]:
        """The same segment by the other environment alone."""
        step, reset = self._other.env.step, self._other.reset
        actions = [self._other.environment_action(action) for action in self._arrays.actions]

        def run() -> None:
            for action in actions:
                _, _, terminated, truncated, _ = step(action)
                if terminated or truncated:
                    reset()

        return run


def measure(env: str, steps: int, repetitions: int, num_hidden: int) -> dict[str, str | float]:
    """A row of the table."""
    pair = Pair(env, steps, num_hidden)
    collected, stepped = [], []

    def timed(function: Callable[[], Any], to: list[float]) -> None:
        began = time.thread_time()
        function()
        to.append((time.thread_time() - began) / steps * 1e6)

    for _ in range(repetitions + 1):
        timed(pair.collect, collected)
        timed(pair.replay(), stepped)
    collected, stepped = collected[1:], stepped[1:]
    return {
        "env": env,
        "rollout": round(float(np.median(collected)), 1),
        "env.step": round(float(np.median(stepped)), 1),
        "over": round(float(np.median(np.subtract(collected, stepped))), 1),
        "least": round(min(collected) - min(stepped), 1),
    }


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes."""
    del argv
    rows = [measure(env, FLAGS.steps, FLAGS.repetitions, FLAGS.num_hidden) for env in FLAGS.envs]
    for row in rows:
        print(row, flush=True)
    if FLAGS.output:
        write_rows(Path(FLAGS.output), rows)


if __name__ == "__main__":
    app.run(main)
