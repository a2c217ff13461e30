"""Whether PyBullet's two distributions, `pybullet` and `pybullet-arm64`, compute the same numbers, bit for bit.

    python3.11 -m benchmarks.pybullet_builds
    python3.11 -m benchmarks.pybullet_builds --here          # the digests of the PyBullet that is installed, alone

Each is installed into a virtual environment of its own, which goes away afterwards, for the Python that runs this: 3.10
or 3.11 on Linux, where both have wheels. There the same episodes of each task are played with the same random actions,
and digested: every observation, reward and ending. The exit code is 1 where any digest differs. Digests cannot be kept
in the repository: another machine rounds otherwise.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

flags.DEFINE_bool("here", False, "Digest the tasks with the installed PyBullet, and print JSON.")
flags.DEFINE_integer("steps", 2000, "Steps of each task.", lower_bound=1)
FLAGS = flags.FLAGS

HERE = Path(__file__).resolve().parent.parent
TASKS = ("Hopper", "Walker2d", "HalfCheetah", "Ant", "Reacher", "DoublePendulum")
BUILDS = ("pybullet>=3.2.5,<4", "pybullet-arm64>=3.2.8,<4")


def digest(name: str, steps: int) -> str:
    """SHA-256 of what a task answers to random actions, over as many episodes as there are in `steps`."""
    from wng_tf.envs import tasks

    env, rng, answers = tasks.make(name), np.random.default_rng(0), hashlib.sha256()
    observation, _ = env.reset(seed=0)
    for _ in range(steps):
        answers.update(observation.tobytes())
        action = rng.uniform(-1.2, 1.2, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        answers.update(np.array([reward, terminated, truncated], np.float64).tobytes())
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    return answers.hexdigest()


def digests(steps: int, names: Sequence[str] = TASKS) -> dict[str, str]:
    """Digests by task, of the PyBullet that is installed."""
    return {name: digest(name, steps) for name in names}


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The tasks whose digests differ, or that one of the two lacks."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def of_build(requirement: str, steps: int) -> dict[str, str]:
    """Digests of a distribution that is installed for the purpose.

    Raises:
      subprocess.CalledProcessError: there is no wheel of it for this Python, or the tasks do not run.
    """
    import gymnasium

    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        versions = [f"numpy=={np.__version__}", f"gymnasium=={gymnasium.__version__}", "absl-py"]
        install = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", requirement, *versions]
        subprocess.run([python, *install], check=True)
        command = [python, "-m", "benchmarks.pybullet_builds", "--here", f"--steps={steps}"]
        printed = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed)


def main(_: Sequence[str]) -> int:
    if FLAGS.here:
        print(json.dumps(digests(FLAGS.steps), indent=1))
        return 0
    one, other = (of_build(requirement, FLAGS.steps) for requirement in BUILDS)
    different = differing(one, other)
    print(f"{sys.version.split()[0]}, {FLAGS.steps} steps a task")
    for name in TASKS:
        print(f"  {name:15} {one[name][:16]} {other[name][:16]} {'DIFFERENT' if name in different else 'equal'}")
    return 1 if different else 0


if __name__ == "__main__":
    app.run(main)
