"""From the command to the first update, with compiled programs kept from an earlier run: `python -m benchmarks.startup`.

Each algorithm starts in a process of its own, a first time without being counted, so that what it compiles is there. Seconds
of the processor, which other work on the machine lengthens less than those of the clock, the least of the repetitions:

| column | what it is |
|---|---|
| command | importing the commands, before TensorFlow |
| tensorflow | importing it |
| family | importing the algorithms of the family |
| trace | running Python code once to see what is to be computed |
| load | the first calls of compiled functions besides: looking the programs up, reading them, running them |
| rest | environments, networks, the first rollout, the first row of the log |
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import one_thread
from benchmarks.rows import write_rows

flags.DEFINE_list("algs", None, "Algorithms; default: all of both families.")
flags.DEFINE_string("env", "Hopper-v5", "Environment of the policy gradients.")
flags.DEFINE_string("evolution_env", "Point", "Environment of the evolution strategies.")
flags.DEFINE_integer("repetitions", 3, "Starts of each algorithm.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")
FLAGS = flags.FLAGS

PARTS = ("command", "tensorflow", "family", "trace", "load", "rest")


class _Stopwatch:
    """Seconds of the processor in Python functions while they are traced, and in first calls of compiled ones."""

    def __init__(self) -> None:
        self.trace = self.load = 0.0
        self._deep = False

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed where no other one is being traced."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if self._deep:
                return function(*args, **kwargs)
            self._deep, started = True, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._deep = False
                self.trace += time.process_time() - started

        return run

    def first_call(self, compiled: Callable[..., Any]) -> Callable[..., Any]:
        """A compiled function, of whose first call the time besides tracing counts."""
        called = False

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal called
            if called:
                return compiled(*args, **kwargs)
            called, started, traced = True, time.process_time(), self.trace
            result = compiled(*args, **kwargs)
            self.load += time.process_time() - started - (self.trace - traced)
            return result

        return call

    def watch(self) -> None:
        """Have `tf.function` make functions that are timed."""
        import tensorflow as tf

        original = tf.function

        def function(func: Callable[..., Any] | None = None, **options: Any) -> Any:
            if func is None:
                return lambda later: function(later, **options)
            made = original(self.traced(func), **options)
            return self.first_call(made) if options.get("jit_compile") else made

        tf.function = function


def start(alg: str, env: str) -> dict[str, float]:
    """What the start of an algorithm takes, in this process, by `PARTS`."""
    marks = [0.0]

    def mark() -> None:
        marks.append(time.process_time())

    import wng_tf.run  # noqa: F401
    from wng_tf import algorithms, families
    from wng_tf.cli import app as cli
    from wng_tf.runtime import compile_cache

    mark()
    compile_cache.enable(1)
    cli.load_tensorflow()
    one_thread.load()
    mark()
    stopwatch = _Stopwatch()
    stopwatch.watch()
    row = algorithms.find(alg)
    learn = families.of(row).learn
    __import__(f"{row.package}.learn")
    mark()
    learn(env=env, alg=alg, total_timesteps=1, progress=False, callback=lambda local: mark())
    command, tensorflow, family, rest = (after - before for before, after in zip(marks, marks[1:5], strict=False))
    known = stopwatch.trace + stopwatch.load
    return dict(zip(PARTS, (command, tensorflow, family, stopwatch.trace, stopwatch.load, rest - known), strict=True))


def measure(alg: str, env: str, repetitions: int) -> dict[str, str | float]:
    """A row of the table: the least seconds of every part, and of the whole."""
    code = f"from benchmarks.startup import *; print('FOUND', json.dumps(start({alg!r}, {env!r})))"
    found = []
    for _ in range(repetitions + 1):
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout
        found.append(json.loads(next(line for line in out.splitlines() if line.startswith("FOUND")).split(" ", 1)[1]))
    warm = found[1:]
    row: dict[str, str | float] = {"alg": alg, "env": env}
    row |= {part: round(min(one[part] for one in warm), 2) for part in PARTS}
    return {**row, "all": round(min(sum(one.values()) for one in warm), 2)}


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes."""
    del argv
    from wng_tf.algorithms import EVOLUTION_STRATEGIES, POLICY_GRADIENTS

    rows = []
    for alg in FLAGS.algs or [*POLICY_GRADIENTS, *EVOLUTION_STRATEGIES]:
        env = FLAGS.env if alg in POLICY_GRADIENTS else FLAGS.evolution_env
        rows.append(measure(alg, env, FLAGS.repetitions))
        print(rows[-1], flush=True)
    if FLAGS.output:
        write_rows(Path(FLAGS.output), rows)


if __name__ == "__main__":
    app.run(main)
