"""Throughput of evolution strategies: `python -m benchmarks.evolution`.

A generation beside bare physics, in one run, with interleaved repetitions and medians:

* Point and Quadruped: the same environments, start states, controls and threads through one `mujoco.rollout` call with
  nothing between its steps, and through a whole generation (policies, observations, rewards, bookkeeping).
* Hopper-v5: whole updates of `es` (rollouts and step) with 1 and 2 worker processes, beside Gymnasium's `env.step`
  alone in one process on random actions. EvoTorch with two actors did 3 770 steps/s on an unloaded machine of this
  kind.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from mujoco import MjData, rollout

from wng_tf import algorithms
from wng_tf.cli import app as cli
from wng_tf.envs import tasks

WHAT = flags.DEFINE_list("what", ["point", "quadruped", "hopper"], "Which of the measurements.")
HORIZON = flags.DEFINE_integer("quadruped_horizon", 10, "Steps of a Quadruped rollout here (400 in training).")
REPETITIONS = flags.DEFINE_integer("repetitions", 7, "Interleaved repetitions.")
THREADS = flags.DEFINE_list("threads", ["1", "2"], "Thread counts for Point and Quadruped.")
OUTPUT = flags.DEFINE_string("output", None, "Write the numbers to this JSON file as well.")


def main(argv: Sequence[str]) -> int:
    """Measures and prints."""
    del argv
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)  # as many as parts of the environments
    rows = []
    for name, horizon in (("Point", 50), ("Quadruped", HORIZON.value)):
        for threads in map(int, THREADS.value if name.lower() in WHAT.value else ()):
            rows.append(against_bare_physics(name, horizon, threads))
            print(_sentence(rows[-1]), flush=True)
    if "hopper" in WHAT.value:
        rows.append(hopper())
        print(_sentence(rows[-1]), flush=True)
    if OUTPUT.value:
        Path(OUTPUT.value).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def _sentence(row: dict) -> str:
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in row["steps_per_second"].items())
    ratio = "" if "ratio" not in row else f"; ratio {row['ratio']:.2f} (from {row['lowest']:.2f} to {row['highest']:.2f})"
    return f"{row['what']}: steps/s {rates}{ratio}"


def interleaved(functions: dict[str, Callable[[], int]], repetitions: int) -> dict[str, list[float]]:
    """Steps per second of each function, in turns; a function returns how many steps it took."""
    for function in functions.values():
        function()
    rates: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.perf_counter()
            steps = function()
            rates[name].append(steps / (time.perf_counter() - start))
    return rates


def against_bare_physics(name: str, horizon: int, threads: int) -> dict:
    """A generation of the paper's size beside `mujoco.rollout` with the controls of the same generation."""
    from wng_tf.envs.point import POINT
    from wng_tf.envs.quadruped import QUADRUPED
    from wng_tf.evolution import population
    from wng_tf.evolution.config import resolve
    from wng_tf.evolution.env_partitions import make_partitions
    from wng_tf.evolution.generation import Generation
    from wng_tf.policies import heads, networks
    from wng_tf.policies.spec import PolicySpec

    task = tasks.resolve(name)
    config = resolve(algorithms.find("es"), task, {})
    members = 2 * config.population + 1
    partitions = make_partitions(task, members, threads)
    head = heads.deterministic(partitions.action_space, config.action_noise)
    spec = PolicySpec(networks.toeplitz(partitions.observation_space.shape[0], config.hidden, head.num_outputs), head)
    theta = spec.network.initial(population.generator(0, 0, population.Stream.PARAMETERS))
    xi = population.perturbations(0, 0, (config.population, spec.num_parameters))
    thetas = np.concatenate([population.mirrored(theta, xi, config.sigma), theta[np.newaxis]])
    seeds = population.start_seeds(0, 0, config.population, 1, "pair")
    noise = population.action_noise(0, 0, horizon, config.population, 1, head.num_noise)
    settings = {"normalize": False}
    generation = Generation(spec, partitions, horizon, **settings)
    recorder = Generation(spec, partitions, horizon, every_step=True, **settings)
    actions = recorder(thetas, seeds, noise, None).trajectories.actions

    physics = {"Point": POINT, "Quadruped": QUADRUPED}[name]
    controls = np.ascontiguousarray(np.repeat(actions, physics.frame_skip, axis=1), np.float64)
    starts = np.stack([physics.start(np.random.default_rng(seed)) for seed in seeds])
    data = [MjData(physics.model) for _ in range(threads)]
    pool = rollout.Rollout(nthread=threads if threads > 1 else 0)
    states = np.zeros((members, controls.shape[1], physics.state_size))
    sensors = np.zeros((members, controls.shape[1], physics.model.nsensordata))

    def bare() -> int:
        models = [physics.model] * members
        pool.rollout(models, data, starts, controls, skip_checks=True, nstep=controls.shape[1], state=states,
                     sensordata=sensors)  # fmt: skip
        return members * horizon

    def whole() -> int:
        return int(generation(thetas, seeds, noise, None).trajectories.lengths.sum())

    rates = interleaved({"bare mujoco.rollout": bare, "generation": whole}, REPETITIONS.value)
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    partitions.close()
    pool.close()
    return {
        "what": f"{name}, {members} rollouts of {horizon} steps, {threads} thread{'s' if threads > 1 else ''}",
        "steps_per_second": {key: statistics.median(values) for key, values in rates.items()},
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def hopper() -> dict:
    """`es` on Hopper-v5 with one and two workers beside `env.step` alone."""
    from benchmarks.subjects import packaged
    from wng_tf.evolution.config import default_network, resolve
    from wng_tf.evolution.env_partitions import horizon_of, make_partitions
    from wng_tf.evolution.trainer import Trainer

    task = tasks.resolve("Hopper-v5")
    env = packaged("Hopper-v5")
    rng = np.random.default_rng(0)

    def env_step() -> int:
        env.reset(seed=0)
        for _ in range(5000):
            _, _, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 3).astype(np.float32))
            if terminated or truncated:
                env.reset()
        return 5000

    functions: dict[str, Callable[[], int]] = {"env.step alone": env_step}
    opened = []
    for workers in (1, 2):
        config = resolve(algorithms.find("es"), task, {"num_workers": workers})
        partitions = make_partitions(task, 2 * config.population + config.evaluation_episodes, workers)
        opened.append(partitions)
        horizon = horizon_of(task, 0)
        trainer = Trainer(partitions, default_network(task), config, horizon=horizon, seed=0, schedule=lambda _: 0.01)
        state = {"now": trainer.start()}

        def update(trainer: Trainer = trainer, state: dict = state) -> int:
            before = state["now"].steps
            state["now"], _ = trainer.advance(state["now"])
            return state["now"].steps - before

        functions[f"es, {workers} worker{'s' if workers > 1 else ''}"] = update
    rates = interleaved(functions, REPETITIONS.value)
    for partitions in opened:
        partitions.close()
    return {
        "what": "Hopper-v5",
        "steps_per_second": {name: statistics.median(values) for name, values in rates.items()},
    }


if __name__ == "__main__":
    cli.run_app(main)
