"""Whether this version still trains to the same weights as an older one, bit for bit, on this machine.

    python -m benchmarks.same_bits ../old_checkout
    python -m benchmarks.same_bits ../old_checkout --only=trpo,wtrpo --keep=/tmp/old_weights

Short runs of both families are trained in both versions, each version in a process of its own, and their final weights
compared. The exit code is 1 where any differ. Digests cannot be kept in the repository: another machine rounds otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent.parent

# What makes a policy gradient's run short, and still several minibatches and natural steps long.
_SMALL = {
    "nsteps": 64,
    "nminibatches": 4,
    "noptepochs": 2,
    "num_hidden": 8,
    "num_actions": 4,
    "num_features": 0,
    "inner_steps": 5,
    "num_basis": 3,
    "vf_iters": 2,
    "cg_iters": 5,
}
_EVOLUTION = {"population": 4, "horizon": 10, "num_hidden": 8}
_POLICY_GRADIENTS = ("pg", "ppo", "ppo_kl", "bgpg", "npg", "wnpg", "bg_wnpg", "trpo", "wtrpo")
_STRATEGIES = ("es", "bges", "nsr_es", "wnes", "bg_wnes")


def rows() -> dict[str, dict[str, Any]]:
    """Arguments of `learn` by the name of the run."""
    found: dict[str, dict[str, Any]] = {}

    def policy_gradient(name: str, alg: str, env: str = "Hopper-v5", updates: int = 3, **given: Any) -> None:
        settings = {**_SMALL, **given}
        steps = updates * settings["nsteps"] * settings.get("num_env", 1)
        found[name] = {"family": "policy_gradient", "alg": alg, "env": env, "total_timesteps": steps, **settings}

    def evolution(name: str, alg: str, env: str = "Point", **given: Any) -> None:
        settings = {**_EVOLUTION, **given}
        steps = 3 * (2 * settings["population"] + 1) * settings["horizon"]
        found[name] = {"family": "evolution", "alg": alg, "env": env, "total_timesteps": steps, **settings}

    for alg in _POLICY_GRADIENTS:
        policy_gradient(alg, alg)
        policy_gradient(f"{alg}, 4 environments, 2 workers", alg, num_env=4, num_workers=2, nsteps=16)
    for alg in ("ppo", "npg", "wnpg", "trpo", "wtrpo"):
        policy_gradient(f"{alg}, discrete", alg, "CartPole-v1")
    policy_gradient("pg, 4 environments", "pg", num_env=4, nsteps=16)
    policy_gradient("pg, momentum, value clip, entropy", "pg", optimizer="momentum", value_cliprange=0.2, ent_coef=0.01)
    policy_gradient("pg, exact metric", "pg", preconditioner="wasserstein_exact", damping="fixed", epsilon=0.1)
    policy_gradient("ppo, Fisher's metric", "ppo", preconditioner="fisher", damping="fixed", epsilon=0.1)
    policy_gradient("npg, adaptive damping", "npg", damping="adaptive")
    policy_gradient("npg, plain damping", "npg", diagonal_damping=False)
    policy_gradient("wnpg, score", "wnpg", jacobian="score")
    policy_gradient("wnpg, final state", "wnpg", embedding="final_state")
    policy_gradient("wnpg, states and actions", "wnpg", embedding="state_actions", num_basis=12)
    policy_gradient("wnpg, actions and value", "wnpg", embedding="actions_value")
    policy_gradient("wnpg, original damping", "wnpg", damping="original", diagonal_damping=False)
    policy_gradient("trpo, no metric", "trpo", preconditioner="identity")
    policy_gradient("trpo, kernel metric", "trpo", preconditioner="wasserstein", num_basis=10)
    policy_gradient("trpo, kernel metric, reward to go", "trpo", preconditioner="wasserstein", embedding="reward_to_go")
    policy_gradient("trpo, kernel metric, discrete", "trpo", "CartPole-v1", preconditioner="wasserstein")
    policy_gradient("trpo, clipped, entropy", "trpo", surrogate="clipped", ent_coef=0.01)
    policy_gradient("wtrpo, adaptive radius", "wtrpo", adaptive_radius=True, radius_unit="absolute")
    policy_gradient("wtrpo, two natural steps", "wtrpo", natural_steps=2, cg_warm_start=True, metric_stride=2)
    policy_gradient("wtrpo, radius in KL", "wtrpo", distance="kl")

    for alg in _STRATEGIES:
        evolution(alg, alg)
        evolution(f"{alg}, 4 environments, 2 workers", alg, num_env=4, num_workers=2)
    evolution("es, discrete", "es", "CartPole-v1")
    evolution("es, ranks, momentum", "es", "Hopper-v5", shaping="centred_ranks", optimizer="momentum", max_grad_norm=0.1)
    evolution("wnes, adaptive damping, norm", "wnes", "Hopper-v5", damping="adaptive", natural_scale="norm")
    evolution("wnes, diagonal damping", "wnes", diagonal_damping=True, epsilon_unit="absolute")
    for distance in ("w2", "w2_squared", "test_functions"):
        evolution(f"bges, {distance}", "bges", distance=distance, num_features=20)
    return found


def train(name: str, given: Mapping[str, Any]) -> np.ndarray:
    """The final weights of one run, in whatever version is imported."""
    if given["family"] == "policy_gradient":
        from wng_tf.policy_gradient.learn import learn
    else:
        from wng_tf.evolution.learn import learn
    settings = {key: value for key, value in given.items() if key != "family"}
    policy = learn(seed=7, progress=False, **settings)
    weights = policy.get_flat() if hasattr(policy, "get_flat") else policy.theta
    return np.asarray(weights)


def child(folder: str, names: Sequence[str]) -> None:
    """Trains the runs in turn; the weights of each go to the folder, or what went wrong."""
    from baselines_compat import logger

    logger.configure(None, [])
    for name in names:
        try:
            weights = train(name, rows()[name])
        except Exception as error:  # one run that cannot be trained must not hide the others
            np.savez(_file(folder, name), error=np.array(f"{type(error).__name__}: {error}"))
        else:
            np.savez(_file(folder, name), weights=weights)


def _file(folder: str | Path, name: str) -> Path:
    return Path(folder) / (name.replace(",", "").replace(" ", "_") + ".npz")


def start(checkout: Path, python: str, folder: Path, names: Sequence[str]) -> subprocess.Popen:
    """A process that trains the runs in a checkout's version."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # -P: the folder of this file has names of the standard library's.
    command = [python, "-P", str(Path(__file__).resolve()), "child", str(folder), json.dumps(list(names))]
    with (folder / "errors.log").open("w") as log:  # TensorFlow says much there, and a crash says why
        return subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=log)


def difference(old: Path, new: Path) -> str:
    """'' where both hold the same weights, else how they differ."""
    if not old.exists() or not new.exists():
        return "was not trained"
    one, two = np.load(old), np.load(new)
    for label, file in (("old", one), ("new", two)):
        if "error" in file:
            return f"{label}: {file['error']}"
    a, b = one["weights"], two["weights"]
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
    return "" if a.tobytes() == b.tobytes() else f"differ by up to {np.max(np.abs(a - b)):.3g}"


def main(argv: Sequence[str]) -> int:
    from absl import flags

    values = flags.FLAGS
    if len(argv) != 2:
        print("Name one folder: the checkout of the older version.", file=sys.stderr)
        return 2
    old = Path(argv[1]).resolve()
    own_python = old / ".venv" / "bin" / "python"
    python = values.old_python or (str(own_python) if own_python.exists() else sys.executable)
    names = [name for name in rows() if not values.only or name.split(",")[0] in values.only or name in values.only]
    with tempfile.TemporaryDirectory() as scratch:
        new_folder = Path(scratch) / "new"
        old_folder = Path(values.keep).resolve() if values.keep else Path(scratch) / "old"
        missing = [name for name in names if not _file(old_folder, name).exists()]
        running = [start(HERE, sys.executable, new_folder, names)]
        if missing:
            running.append(start(old, python, old_folder, missing))
        for process, folder in zip(running, (new_folder, old_folder), strict=False):
            if process.wait():
                print((folder / "errors.log").read_text(), file=sys.stderr)
        found = {name: difference(_file(old_folder, name), _file(new_folder, name)) for name in names}
    for name, text in found.items():
        print(f"{name:45s} {text or 'same'}")
    differing = sum(map(bool, found.values()))
    print(f"{len(found) - differing} of {len(found)} runs end with the same bits.")
    return 1 if differing else 0


def app() -> None:
    from absl import app as absl_app
    from absl import flags

    flags.DEFINE_string("old_python", None, "Python of the older version; default: its own .venv, else this one.")
    flags.DEFINE_list("only", None, "Algorithms, or names of runs, to compare; default: all.")
    flags.DEFINE_string("keep", None, "Folder that keeps the older version's weights for the next comparison.")
    absl_app.run(main)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        app()
