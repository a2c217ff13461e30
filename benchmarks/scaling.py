"""How work spreads over workers: `python -m benchmarks.scaling`.

* Measured here, in turns, medians: a generation of `es` and a rollout of `ppo` with 1 and 2 workers, local processes and
  Ray actors. Efficiency is steps per second over those of one local worker, and over the number of workers.
* Bytes of each message, pickled.
* Simulated from measured costs to 1 000 workers, for generations of several sizes (`simulation` has the model; Salimans et
  al. 2017 had 1 440 cores).

Writes CSV files, a plot and a README.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import simulation
from benchmarks.rows import write_rows
from benchmarks.timing import interleaved
from wng_tf import algorithms
from wng_tf.cli import app as cli
from wng_tf.envs import tasks

ENV = flags.DEFINE_string("env", "Hopper-v5", "Task.")
HORIZON = flags.DEFINE_integer("horizon", 200, "Steps of a rollout of the population at most.")
REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Interleaved repetitions.")
OUTPUT = flags.DEFINE_string("output", "runs/results/scaling", "Folder of the results.")

WORKERS = (1, 2)
PART_SIZES = (1, 4, 16, 64)
CALLS = 1000
"""Empty calls that the cost of one is measured by: as many as workers in the largest simulation."""


def main(argv: Sequence[str]) -> int:
    """Measures, simulates, writes."""
    del argv
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(max(WORKERS))
    folder = Path(OUTPUT.value)
    from wng_tf.cluster.ray_actors import RayActors

    engine = RayActors(None, sum(WORKERS))  # all of them at the same time, of which some wait for their turn
    load = os.getloadavg()[0]
    try:
        rows, messages, costs = evolution(engine)
        more, sizes = policy_gradient(engine)
    finally:
        engine.close()
    write_rows(folder / "workers.csv", rows + more)
    write_rows(folder / "messages.csv", messages + sizes)
    write_rows(folder / "costs.csv", [{"cost": name, "value": value} for name, value in vars(costs).items()])
    simulated = simulation.simulate(costs)
    write_rows(folder / "simulation.csv", simulated)
    simulation.plot(simulated, folder / "scaling")
    (folder / "README.md").write_text(readme(rows + more, messages + sizes, costs, simulated, load), encoding="utf-8")
    print((folder / "README.md").read_text(encoding="utf-8"))
    return 0


class Borrowed:
    """An engine that outlives those who close it."""

    def __init__(self, engine: Any):
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        """Not yet."""


def efficiencies(what: str, seconds: Mapping[tuple[str, int], float], steps: Mapping[tuple[str, int], int]) -> list[dict]:
    """A row for each place and number of workers."""
    rates = {key: steps[key] / seconds[key] for key in seconds}
    alone = rates["local", 1]
    return [
        {
            "what": what,
            "engine": place,
            "workers": workers,
            "steps_per_second": round(rate, 1),
            "efficiency": round(rate / alone / workers, 3),
        }
        for (place, workers), rate in rates.items()
    ]


def evolution(engine: Any) -> tuple[list[dict], list[dict], simulation.Costs]:
    """A generation of `es`: rates, bytes of its messages, and what its parts cost."""
    from wng_tf.evolution.config import resolve
    from wng_tf.evolution.embeddings import PopulationEmbedding
    from wng_tf.evolution.env_partitions import make_partitions
    from wng_tf.evolution.evaluation import Plan
    from wng_tf.evolution.remote_population import RemotePopulation
    from wng_tf.policies import heads, networks
    from wng_tf.policies.normalizers import Normalizer
    from wng_tf.policies.spec import PolicySpec

    task = tasks.resolve(ENV.value)
    config = resolve(algorithms.find("es"), task, {})
    with contextlib.ExitStack() as stack:
        members = 2 * config.population + config.evaluation_episodes
        places: dict[tuple[str, int], Any] = {}
        for workers in WORKERS:
            local = make_partitions(task, members, workers)
            remote = RemotePopulation(Borrowed(engine), task, members, workers)
            places["local", workers], places["ray", workers] = local, remote
            stack.enter_context(local)
            stack.enter_context(remote)
        head = heads.deterministic(local.action_space, config.action_noise)
        inputs = local.observation_space.shape[0]
        spec = PolicySpec(networks.mlp(inputs, config.hidden, head.num_outputs), head)
        plan = Plan(spec, PopulationEmbedding(config.embedding, HORIZON.value), config, HORIZON.value, seed=0)
        theta = spec.network.initial(np.random.default_rng(0))
        normalizer = Normalizer(np.zeros(inputs, np.float32), np.ones(inputs, np.float32))
        taken: dict[tuple[str, int], int] = {}
        found: list[Any] = []

        def generation(key: tuple[str, int], evaluate: Callable[..., Any]) -> Callable[[], None]:
            def run() -> None:
                outcome = evaluate(0, theta, normalizer)
                taken[key] = int(outcome.evaluations.lengths.sum())
                found[:] = [outcome]

            return run

        contenders = {key: generation(key, place.evaluator(plan)) for key, place in places.items()}
        seconds = interleaved(contenders, REPETITIONS.value)
        rows = efficiencies(f"generation of es, {members} rollouts", seconds, taken)
        told, part = (theta, normalizer), np.arange(0, members, 2)
        evaluations = found[0].evaluations
        messages = [
            size("es", "to all actors, once a generation: theta and normalizer", told),
            size("es", "to an actor: generation and members of its part, a half", (0, part)),
            size("es", "from an actor: rows of its part, a half", half(evaluations)),
            size("es", "for comparison: perturbed parameters of a half", np.zeros((len(part), spec.num_parameters))),
        ]
    # The actors above have gone: there is room for others.
    return rows, messages, evolution_costs(engine, plan, theta, normalizer, evaluations)


def half(evaluations: Any) -> Any:
    """Every second row."""
    return type(evaluations)(**{name: np.ascontiguousarray(value[::2]) for name, value in vars(evaluations).items()})


def size(family: str, what: str, value: Any) -> dict[str, Any]:
    """A row about a message."""
    return {"family": family, "what": what, "bytes": len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))}


def evolution_costs(engine: Any, plan: Any, theta: Any, normalizer: Any, evaluations: Any) -> simulation.Costs:
    """What the simulation is made of."""
    from wng_tf.evolution import strategy
    from wng_tf.evolution.env_partitions import make_partitions
    from wng_tf.evolution.remote_population import RemoteEvaluator

    task = tasks.resolve(ENV.value)
    members = 2 * plan.config.population
    times, steps, turns = [], [], []
    for count in PART_SIZES:
        with make_partitions(task, count, 1) as partitions:
            evaluator = RemoteEvaluator(plan, partitions)
            part = np.linspace(0, members - 1, count).astype(np.int64)
            seconds = interleaved(
                {"part": lambda e=evaluator, p=part: e.evaluate(0, (theta, normalizer), p)}, REPETITIONS.value
            )
            lengths = evaluator.evaluate(0, (theta, normalizer), part).lengths
        times.append(seconds["part"])
        steps.append(int(lengths.sum()))
        turns.append(int(lengths.max()))
    drawn = interleaved({"draw": lambda: plan.xi(0)}, REPETITIONS.value)["draw"]
    numbers = plan.config.population * plan.spec.num_parameters
    # t = a * turns of the loop + b * steps, without what drawing the perturbations takes.
    matrix = np.stack([turns, steps], axis=1)
    weights = 1.0 / np.array(times)  # small parts count as much as large ones
    fit, *_ = np.linalg.lstsq(matrix * weights[:, None], (np.array(times) - drawn) * weights, rcond=None)
    turn, step = np.maximum(fit, 0.0)
    state = strategy.initial(theta, plan.config, plan.spec.observations)
    results = strategy.Results(
        evaluations.returns[:members], evaluations.embeddings[:members], evaluations.embeddings[members:]
    )
    xi = plan.xi(0)
    tell = interleaved({"tell": lambda: strategy.tell(state, xi, results, plan.config, seed=0, lr=0.01)}, REPETITIONS.value)[
        "tell"
    ]
    return simulation.Costs(
        seconds_per_turn=float(turn),
        seconds_per_step=float(step),
        seconds_per_normal=drawn / numbers,
        seconds_per_update_number=tell / numbers,
        seconds_per_call=empty_calls(engine),
        parameters=plan.spec.num_parameters,
        bytes_told=len(pickle.dumps((theta, normalizer), pickle.HIGHEST_PROTOCOL)),
        bytes_per_member=len(pickle.dumps(evaluations, pickle.HIGHEST_PROTOCOL)) / len(evaluations.returns),
        mean_length=float(evaluations.lengths.mean()),
        deviation_of_length=float(evaluations.lengths.std()),
        longest=plan.horizon,
    )


class Nothing:
    """What an actor holds that does nothing."""

    def nothing(self) -> None:
        """At once."""


def empty_calls(engine: Any) -> float:
    """Seconds of one of many calls of methods that do nothing, sent and gathered as a generation's are."""
    actors = [engine.start(Nothing) for _ in range(max(WORKERS))]
    for actor in actors:
        ticket = engine.call(actor, "nothing")
        while not engine.wait([ticket], 1.0):
            pass
    started = time.perf_counter()
    waiting = {engine.call(actors[i % len(actors)], "nothing") for i in range(CALLS)}
    while waiting:
        for ticket in engine.wait(list(waiting), 1.0):
            waiting.discard(ticket)
            engine.result(ticket)
    seconds = (time.perf_counter() - started) / CALLS
    for actor in actors:
        engine.end(actor)
    return seconds


def policy_gradient(engine: Any) -> tuple[list[dict], list[dict]]:
    """Rollouts of `ppo`, and bytes of their messages."""
    import functools

    from baselines_compat.actor import ActorSpec
    from baselines_compat.vec_env import VecNormalize, make_vec_env
    from wng_tf.cluster.vec_env import ClusterVecEnv

    environments, nsteps = 8, 256
    make = functools.partial(tasks.make, ENV.value)
    with make_vec_env(make, 1) as probe:
        inputs, outputs = probe.observation_space.shape[0], probe.action_space.shape[0]
    layers = ((inputs, 64, "tanh"), (64, 64, "tanh"), (64, outputs, "linear"))
    spec = ActorSpec(layers, discrete=False)
    weights = np.random.default_rng(0).normal(scale=0.1, size=spec.size).astype(np.float32)
    venvs: dict[tuple[str, int], VecNormalize] = {}
    with contextlib.ExitStack() as stack:
        for workers in WORKERS:
            local = stack.enter_context(make_vec_env(make, environments, num_workers=workers))
            remote = stack.enter_context(ClusterVecEnv(Borrowed(engine), [make] * environments, 0, workers))
            venvs["local", workers], venvs["ray", workers] = VecNormalize(local), VecNormalize(remote)
        contenders = {key: lambda venv=venv: venv.collect(spec, weights, nsteps) for key, venv in venvs.items()}
        seconds = interleaved(contenders, REPETITIONS.value)
        normalizer = venvs["ray", max(WORKERS)].normalizer
        told = (spec, weights, normalizer.snapshot(), normalizer.settings, nsteps)
        place = remote._places[0]
        ticket = engine.call(place.actor, "collect", told)
        while not engine.wait([ticket], 1.0):
            pass
        answer = engine.result(ticket)
    sizes = [
        size("ppo", "to all actors, once an update: weights and statistics", told),
        size("ppo", f"from an actor: {len(place.indices)} segments of {nsteps} steps, and states", answer),
        size("ppo", "of which states, to lead another actor there", answer[2]),
    ]
    steps = dict.fromkeys(seconds, environments * nsteps)
    return efficiencies(f"rollout of ppo, {environments} environments", seconds, steps), sizes


def readme(
    rows: Sequence[dict], messages: Sequence[dict], costs: simulation.Costs, simulated: Sequence[dict], load: float
) -> str:
    """What was found, in words and tables."""
    workers = "\n".join(
        f"| {row['what']} | {row['engine']} | {row['workers']} | {row['steps_per_second']:,.0f} | {row['efficiency']:.2f} |"
        for row in rows
    )
    sizes = "\n".join(f"| `{row['family']}` | {row['what']} | {row['bytes']:,} |" for row in messages)
    largest = "\n".join(
        f"| {row['lengths']} | {row['rollouts']:,} | {row['workers']:,} | {row['seconds']:.3f} | {row['efficiency']:.2f} "
        f"| {row['largest']} |"
        for row in simulated
        if row["workers"] in (10, 100, 1000)
    )
    return f"""# Scaling

    python -m benchmarks.scaling{"" if ENV.value == "Hopper-v5" else f" --env={ENV.value}"}

Task {ENV.value}, rollouts of the population of at most {HORIZON.value} steps.
The machine has {os.cpu_count()} cores; the mean number of other processes that wanted them in the
minute before was {load:.1f}: at one or more, efficiencies and rates are lower than a quiet machine's.
Local processes and Ray took turns and can be compared.

## Measured here

| what | engine | workers | steps/s | efficiency |
|---|---|---|---|---|
{workers}

Efficiency: steps per second, over those of one local worker and over the number of workers. (`workers.csv`)

| family | message | bytes |
|---|---|---|
{sizes}

(`messages.csv`)

## Simulated to 1 000 workers

![Efficiency](scaling.png)

From the costs measured here (`costs.csv`): {1e6 * costs.seconds_per_turn:.0f} µs a turn of the loop over steps,
{1e6 * costs.seconds_per_step:.0f} µs a step of a member, {1e9 * costs.seconds_per_normal:.1f} ns a perturbation drawn,
{1e9 * costs.seconds_per_update_number:.1f} ns of the update for each of them, {1e6 * costs.seconds_per_call:.0f} µs a call;
and an assumed network of {simulation.BYTES_PER_SECOND / 1e6:.0f} MB/s. Parts are shared out once a generation, so that one
lasts as long as its largest part; each actor draws all perturbations up to its last member's. Rollouts are as long as those
measured (short: {costs.mean_length:.0f} steps, of untrained policies), or long (assumed: {simulation.LONG[0]:.0f} ±
{simulation.LONG[1]:.0f} of at most {simulation.LONG[2]} steps).

| lengths | rollouts a generation | workers | seconds a generation | efficiency | the largest loss |
|---|---|---|---|---|---|
{largest}

(`simulation.csv`)
"""


if __name__ == "__main__":
    cli.run_app(main)
