"""A runner that keeps the contract of a run folder, and whose return is known: the optimum is at lr=1e-3, gamma=0.9.

The return rises from -10 at the first step, the untrained one, to -(log10(lr) + 3)^2 - 100 (gamma - 0.9)^2 plus a little of
the seed at the last. `--hold_lr`: a run with this learning rate stands still in the middle, the first time, until the file
`--hold_file` is there; without one, for ever.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path

ROWS = 10
UNTRAINED = -10.0


def optimum(flags: dict[str, str]) -> float:
    lr, gamma = float(flags.get("lr", "1e-3")), float(flags.get("gamma", "0.9"))
    return -((math.log10(lr) + 3.0) ** 2) - 100.0 * (gamma - 0.9) ** 2 + 1e-3 * int(flags["seed"])


def main() -> int:
    flags = {"resume": ""}
    for argument in sys.argv[1:]:
        name, _, value = argument.removeprefix("--").partition("=")
        flags[name] = value or "true"
    folder = Path(flags["log_path"])
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "flags.txt").write_text("".join(f"--{name}={value}\n" for name, value in flags.items() if value))
    with open(folder / "starts.txt", "a") as file:
        file.write(f"{os.getpid()} {flags['resume']}\n")
    total, goal, rows = int(float(flags["num_timesteps"])), optimum(flags), []
    first = len(list((folder / "checkpoints").glob("*.npz"))) if flags["resume"] else 0
    for row in range(ROWS + 1):
        step = max(1, total * row // ROWS)
        rows.append(f"{step},{UNTRAINED + (goal - UNTRAINED) * row / ROWS}")
        if row < first:
            continue
        _replace(folder / "progress.csv", "misc/total_timesteps,eprewmean\n" + "\n".join(rows) + "\n")
        _replace(folder / "checkpoints" / f"checkpoint-{step:012d}.npz", "{}")
        while flags.get("hold_lr", "none") == flags.get("lr") and row == ROWS // 2 and not first:
            if os.path.exists(flags.get("hold_file", "")):
                break
            time.sleep(0.02)
    summary = {"status": "finished", "alg": flags["alg"], "env": flags["env"], "seed": int(flags["seed"]),
               "total_timesteps": total, "eprewmean": goal, "episodes": 1, "time_elapsed": 1.0}  # fmt: skip
    _replace(folder / "summary.json", json.dumps(summary))
    return 0


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
