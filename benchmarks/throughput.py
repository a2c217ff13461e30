"""Steps per second of every algorithm, beside the physics, the environment alone and Stable-Baselines3.

    python -m benchmarks.throughput                        # Hopper-v5
    python -m benchmarks.throughput --env=Hopper           # PyBullet

Everything is timed in one process on one thread, in turns, and reported as medians. Peers need the `[peers]` extra and are
left out, with a note, where it is missing. Tables, CSV and plot go to --output_dir; sections that are not measured stay there
as they were.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from benchmarks import one_thread

flags.DEFINE_string("env", "Hopper-v5", "Environment.")
flags.DEFINE_list("algs", None, "Algorithms, each with its settings: alg:name=value; default: all policy gradients.")
flags.DEFINE_integer("repetitions", 5, "Rounds; medians are over them.")
flags.DEFINE_list("sections", ["rates", "parts", "scaling", "workers", "memory"], "Which sections to measure.")
flags.DEFINE_string("output_dir", "runs/results/throughput", "Where tables and plots go.")
FLAGS = flags.FLAGS

STEPS = 2048
SCALING = {
    "num_env": ("ppo", (1, 2, 4, 8)),
    "num_hidden": ("ppo", (32, 64, 128, 256)),
    "num_basis": ("wnpg", (1, 5, 10, 20, 40)),
    "num_actions": ("bg_wnpg", (5, 10, 20, 40)),
}
Row = tuple[str, str, float, str]


def rates(env: str, algs: Sequence[str], repetitions: int) -> list[Row]:
    """Steps per second of whole updates, and the ratio to the environment's own env.step alone."""
    from benchmarks import subjects
    from benchmarks.timing import interleaved
    from wng_tf.envs import tasks

    contenders = {"env.step alone": subjects.random_steps(subjects.packaged(env), STEPS)}
    contenders["our env.step alone"] = subjects.random_steps(tasks.make(env), STEPS)
    physics = subjects.raw_physics(env, STEPS)
    if physics is not None:
        contenders["physics alone"] = physics
    trainers = {alg: subjects.Trainer.of(alg, env) for alg in algs}
    contenders |= {alg: trainer.step for alg, trainer in trainers.items()}
    if importlib.util.find_spec("sb3_contrib"):
        contenders |= {name: subjects.stable_baselines3(name, env, STEPS) for name in ("sb3 ppo", "sb3 trpo")}
    else:
        print("Stable-Baselines3 is not installed (pip install -e '.[peers]'): left out.")
    seconds = interleaved(contenders, repetitions)
    for trainer in trainers.values():
        trainer.close()
    alone, peer = seconds["env.step alone"], seconds.get("sb3 ppo")
    rows: list[Row] = []
    for name, time in seconds.items():
        steps = trainers[name].config.batch_size if name in trainers else STEPS
        time *= STEPS / steps
        note = f"{alone / time:.2f} of env.step alone"
        if peer is not None:
            note += f", {peer / time:.1f} x sb3 ppo"
        rows.append(("rates", name, STEPS / time, note))
    return rows


def parts(env: str, algs: Sequence[str], repetitions: int) -> list[Row]:
    """Milliseconds of sampling, of judging the steps (values, advantages), and of the update."""
    from benchmarks import subjects
    from benchmarks.timing import interleaved

    rows: list[Row] = []
    for alg in algs:
        trainer = subjects.Trainer.of(alg, env)
        calls = {"sampling": trainer.sample, "judging": trainer.judge, "update": trainer.update}
        for part, time in interleaved(calls, repetitions, 2).items():
            rows.append(("parts", f"{alg} {part}", 1e3 * time, "ms per update"))
        trainer.close()
    rows += natural_gradient_cost(env, repetitions)
    return rows


def natural_gradient_cost(env: str, repetitions: int) -> list[Row]:
    """The natural gradient (basis, J, solve) of bg_wnpg over the plain gradient of the same minibatch (bgpg's)."""
    from benchmarks import subjects
    from benchmarks.timing import interleaved

    plain = subjects.Trainer.make("bgpg", env)
    natural = subjects.Trainer.make("bg_wnpg", env, damping="fixed")
    for trainer in (plain, natural):
        trainer.run()
    seconds = interleaved({"plain": plain.update, "natural": natural.update}, repetitions, 2)
    for trainer in (plain, natural):
        trainer.close()
    ratio = (seconds["natural"] - seconds["plain"]) / seconds["plain"]
    return [("parts", "natural gradient / plain gradient, bg_wnpg", ratio, "ratio of time in one minibatch step")]


def scaling(env: str, algs: Sequence[str], repetitions: int) -> list[Row]:
    """Milliseconds of an update's update part (of the sampling, for num_env) as one setting grows."""
    del algs
    from benchmarks import subjects
    from benchmarks.timing import interleaved

    rows: list[Row] = []
    for setting, (alg, values) in SCALING.items():
        trainers = {}
        for value in values:
            trainer = subjects.Trainer.make(alg, env, **{setting: value})
            trainer.run()
            trainers[f"{setting}={value}"] = trainer
        calls = {name: t.step if setting == "num_env" else t.update for name, t in trainers.items()}
        for name, time in interleaved(calls, repetitions).items():
            rows.append(("scaling", f"{alg} {name}", 1e3 * time, "ms per update"))
        for trainer in trainers.values():
            trainer.close()
    return rows


def workers(env: str, algs: Sequence[str], repetitions: int) -> list[Row]:
    """Sampling alone, eight environments, in this process, with one worker's share and with two workers."""
    del algs
    from benchmarks import subjects
    from benchmarks.timing import interleaved

    trainers = {f"num_workers={n}": subjects.Trainer.make("ppo", env, num_env=8, num_workers=n, nsteps=512) for n in (1, 2)}
    seconds = interleaved({name: t.sample for name, t in trainers.items()}, repetitions)
    for trainer in trainers.values():
        trainer.close()
    one = seconds["num_workers=1"]
    return [("workers", name, 8 * 512 / t, f"{one / t:.2f} x one worker") for name, t in seconds.items()]


def memory(env: str, algs: Sequence[str], repetitions: int) -> list[Row]:
    """Peak memory of a run of bg_wnpg with two workers, and of its workers."""
    del algs, repetitions
    code = (
        "from multiprocessing import active_children\n"
        "def peak(pid):\n"
        "    with open(f'/proc/{pid}/status') as status:\n"
        "        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))\n"
        "if __name__ == '__main__':\n"
        "    from benchmarks.subjects import Trainer\n"
        f"    t = Trainer.make('bg_wnpg', {env!r}, num_env=2, num_workers=2, nsteps=1024)\n"
        "    t.step(); t.step()\n"
        "    print('PEAK', peak('self'), max(peak(child.pid) for child in active_children()))\n"
        "    t.close()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.py"  # a file, because the workers import it anew
        path.write_text(code)
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        out = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=environment, check=True)
    line = next(line for line in out.stdout.splitlines() if line.startswith("PEAK"))
    run, worker = (int(x) / 1024 for x in line.split()[1:])
    return [("memory", "run of bg_wnpg", run, "MB, peak"), ("memory", "largest worker", worker, "MB, peak")]


def write(rows: Sequence[Row], env: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = env.replace("/", "_")
    rows = [*rows, *others(folder / f"{name}.csv", {section for section, *_ in rows})]
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("section", "what", "value", "note"))
        writer.writerows((section, what, f"{value:.4g}", note) for section, what, value, note in rows)
    lines = [f"# Throughput on {env}", "", "| section | what | value | note |", "|---|---|---|---|"]
    lines += [f"| {section} | {what} | {value:.4g} | {note} |" for section, what, value, note in rows]
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    plot(rows, env, folder / f"{name}.png")


def others(path: Path, measured: set[str]) -> list[Row]:
    """Rows in `path` of sections that were not measured now."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [(row["section"], row["what"], float(row["value"]), row["note"]) for row in csv.DictReader(file)]
    return [row for row in rows if row[0] not in measured]


def plot(rows: Sequence[Row], env: str, path: Path) -> None:
    """Draw what was measured, if it was anything that can be drawn."""
    from benchmarks.throughput_figure import draw
    from wng_tf.plots.style import in_style

    figure = draw(rows, env, SCALING)
    if figure is None:
        path.unlink(missing_ok=True)
        return
    with in_style():
        figure.savefig(path, dpi=200)


def main(argv: Sequence[str]) -> None:
    del argv
    one_thread.load()
    from wng_tf.algorithms import POLICY_GRADIENTS

    sections = {"rates": rates, "parts": parts, "scaling": scaling, "workers": workers, "memory": memory}
    rows: list[Row] = []
    for section in FLAGS.sections:
        found = sections[section](FLAGS.env, FLAGS.algs or list(POLICY_GRADIENTS), FLAGS.repetitions)
        for _, what, value, note in found:
            print(f"{section:8s} {what:45s} {value:10.4g}  {note}", flush=True)
        rows += found
    write(rows, FLAGS.env, Path(FLAGS.output_dir))


if __name__ == "__main__":
    app.run(main)
