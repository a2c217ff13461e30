"""Train for some steps, look at the result, and go on for more: `resume=True` with a larger `total_timesteps`.

    python examples/resume_longer.py

On the command line: the run's own flags, `--flagfile=FOLDER/flags.txt --num_timesteps=20000 --resume`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import wng_tf


def train(folder: Path, total_timesteps: float, **more: bool) -> dict:
    """The summary of the run in `folder`."""
    wng_tf.learn(
        alg="wtrpo",
        env="CartPole-v1",
        total_timesteps=total_timesteps,
        log_path=folder,
        progress=False,
        num_hidden=32,
        **more,
    )
    return json.loads((folder / "summary.json").read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as parent:
        run = Path(parent, "run")
        for summary in (train(run, 1e4), train(run, 2e4, resume=True)):
            print(f"{summary['total_timesteps']} steps: mean return {summary['eprewmean']:.0f}")
