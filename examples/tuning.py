"""A search for the learning rate and the clip range of PPO on CartPole, and a run with the best of them.

    pip install 'wng_tf[tune]' && python examples/tuning.py

The study's folder has trials.csv, best.flags and figures; the same command again continues a search that was stopped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path("runs/out/example_tuning")


def python_m(module: str, *flags: object) -> None:
    """Runs one of the commands."""
    subprocess.run([sys.executable, "-m", module, *map(str, flags)], check=True)


def main(folder: Path = FOLDER, trials: int = 10, steps: int = 20_000) -> str:
    """The flags of the best trial."""
    search = ("--search=lr=log:1e-4:1e-2", "--search=cliprange=0.1|0.2|0.3")
    length = ("--alg=ppo", "--env=CartPole-v1", f"--num_timesteps={steps}")
    python_m("wng_tf.tune", *length, *search, f"--n_trials={trials}", "--seeds=0,1", f"--log_path={folder}")
    best = folder / "best.flags"
    python_m("wng_tf.run", f"--flagfile={best}", "--seed=2", f"--log_path={folder / 'again'}")
    return best.read_text(encoding="utf-8")


if __name__ == "__main__":
    print(main())
