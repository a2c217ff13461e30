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
| all | the sum of these |
| clock | seconds of the clock from the command to the first row, the least of the repetitions |

An algorithm with settings of its own is one argument: `--algs="ppo,bg_wnpg num_features=0"`.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import one_thread
from benchmarks.rows import write_rows

flags.DEFINE_list(
    "algs", None, "Algorithms, each with settings of its own if there are any; default: all of both families, and `VARIANTS`."
)
flags.DEFINE_string("env", "Hopper-v5", "Environment of the policy gradients.")
flags.DEFINE_string("evolution_env", "Point", "Environment of the evolution strategies.")
flags.DEFINE_integer("repetitions", 3, "Starts of each algorithm.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")
FLAGS = flags.FLAGS

PARTS = ("command", "tensorflow", "family", "trace", "load", "rest")
#: Those that compute something else than their algorithm does by default.
VARIANTS = ("bgpg num_features=0", "bg_wnpg num_features=0", "wnpg jacobian=score")


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


def start(alg: str, env: str, settings: Mapping[str, Any], began: float) -> dict[str, float]:
    """What the start of an algorithm takes, in this process, by `PARTS`, and on the clock since `began`."""
    marks = [0.0]
    ended: list[float] = []

    def mark() -> None:
        marks.append(time.process_time())

    def logged(local: Any) -> None:
        del local
        mark()
        ended.append(time.time())

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
    learn(env=env, alg=alg, total_timesteps=1, progress=False, callback=logged, **settings)
    command, tensorflow, family, rest = (after - before for before, after in zip(marks, marks[1:5], strict=False))
    known = stopwatch.trace + stopwatch.load
    parts = (command, tensorflow, family, stopwatch.trace, stopwatch.load, rest - known)
    return {**dict(zip(PARTS, parts, strict=True)), "clock": ended[0] - began}


def measure(alg: str, env: str, settings: Mapping[str, Any], repetitions: int) -> dict[str, str | float]:
    """A row of the table: the least seconds of every part, and of the whole."""
    found = []
    for _ in range(repetitions + 1):
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        given = f"{alg!r}, {env!r}, {settings!r}, {time.time()!r}"
        code = f"from benchmarks.startup import *; print('FOUND', json.dumps(start({given})))"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout
        found.append(json.loads(next(line for line in out.splitlines() if line.startswith("FOUND")).split(" ", 1)[1]))
    warm = found[1:]
    name = " ".join([alg, *(f"{name}={value}" for name, value in settings.items())])
    row: dict[str, str | float] = {"alg": name, "env": env}
    row |= {part: round(min(one[part] for one in warm), 2) for part in PARTS}
    row["all"] = round(min(sum(one[part] for part in PARTS) for one in warm), 2)
    return {**row, "clock": round(min(one["clock"] for one in warm), 2)}


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """`name=value`s; a value that is no number is text."""
    found: dict[str, Any] = {}
    for name, value in (text.split("=", 1) for text in texts):
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes."""
    del argv
    from wng_tf.algorithms import EVOLUTION_STRATEGIES, POLICY_GRADIENTS

    rows = []
    for text in FLAGS.algs or [*POLICY_GRADIENTS, *EVOLUTION_STRATEGIES, *VARIANTS]:
        alg, *settings = text.split()
        env = FLAGS.env if alg in POLICY_GRADIENTS else FLAGS.evolution_env
        rows.append(measure(alg, env, settings_of(settings), FLAGS.repetitions))
        print(rows[-1], flush=True)
    if FLAGS.output:
        write_rows(Path(FLAGS.output), rows)


if __name__ == "__main__":
    app.run(main)
