"""A tiny runner that keeps the contract of a run folder, and breaks it in the ways that real runs do.

`--crash_at`: the step at which the first start (not a resumed one) breaks; `--crash_always=SEED` breaks every start.
`--hold_at`: the step at which the first start stands still until the file `--hold_file` exists; without one, for ever.
Its return is a hash chained over the steps, so a run resumed at the wrong place ends with another number.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path

CHUNK = 100


def main() -> int:
    flags = {"resume": ""}
    for argument in sys.argv[1:]:
        name, _, value = argument.removeprefix("--").partition("=")
        flags[name] = value or "true"
    if flags.get("refuse") == flags["seed"]:
        print("error: --refuse is not a flag.", file=sys.stderr)
        return 2
    folder = Path(flags["log_path"])
    if folder.exists() and any(folder.iterdir()) and not flags["resume"]:
        print(f"error: {folder} is not empty.", file=sys.stderr)
        return 2
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "flags.txt").write_text("".join(f"--{name}={value}\n" for name, value in flags.items()))
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    (folder / "threads.json").write_text(json.dumps({name: os.environ.get(name) for name in threads}))
    with open(folder / "starts.txt", "a") as file:
        file.write(f"{os.getpid()} {os.getppid()}\n")
    start = time.time()
    step, value = _last_checkpoint(folder) if flags["resume"] else (0, int(flags["seed"]))
    resumed = step > 0
    rows = _rows_up_to(folder, step) if resumed else []
    while step < int(float(flags["num_timesteps"])):
        step += CHUNK
        value = (value * 6364136223846793005 + step + int(1e7 * float(flags.get("lr", 0)))) % 2**64
        rows.append(f"{step},{value % 10000 / 10}")
        _replace(folder / "progress.csv", "misc/total_timesteps,eprewmean\n" + "\n".join(rows) + "\n")
        if not flags.get("no_checkpoints"):
            _replace(folder / "checkpoints" / f"checkpoint-{step:012d}.npz", json.dumps([step, value]))
        broken = flags.get("crash_always") == flags["seed"] or (step == int(flags.get("crash_at", -1)) and not resumed)
        if broken:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise full if flags.get("full") else RuntimeError("the world fell apart")
        while step == int(flags.get("hold_at", -1)) and not resumed and not os.path.exists(flags.get("hold_file", "")):
            time.sleep(0.02)
    if flags.get("no_summary"):
        return 0
    summary = {"status": "finished", "alg": flags["alg"], "env": flags["env"], "seed": int(flags["seed"]),
               "total_timesteps": step, "eprewmean": value % 10000 / 10, "episodes": step // 10,
               "time_elapsed": time.time() - start}  # fmt: skip
    _replace(folder / "summary.json", json.dumps(summary))
    return 0


def _last_checkpoint(folder: Path) -> tuple[int, int]:
    names = sorted(path for path in (folder / "checkpoints").glob("checkpoint-*.npz"))
    return tuple(json.loads(names[-1].read_text()))


def _rows_up_to(folder: Path, step: int) -> list[str]:
    rows = (folder / "progress.csv").read_text().splitlines()[1:]
    return [row for row in rows if int(row.split(",")[0]) <= step]


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
