"""What a kill leaves at every moment at which a run changes its folder, and what a run's folder says without the clock."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from short_runs import TIMES, episodes, progress

from baselines_compat import logger
from wng_tf.training import checkpoint, run_folder

CALLS = ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir")
"""Where a process may be killed: before each call of these functions of `os`."""


@contextlib.contextmanager
def counted(at_call: Callable[[int, str], None]) -> Iterator[None]:
    """`at_call(number, name)` comes before every call of CALLS in the block, numbered from 0; not before its own calls."""
    originals = {name: getattr(os, name) for name in CALLS}
    count, inside = 0, False

    def watched(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count, inside
            if not inside:
                inside = True
                at_call(count, name)
                count, inside = count + 1, False
            return originals[name](*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, watched(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def snapshots(folder: Path, store: Path, run: Callable[[], object]) -> list[Path]:
    """What `kill -9` before each of CALLS would leave of the run in `folder`, as copies of it in `store`.

    A killed process leaves the files as they are seen by others at that moment, so a copy is as good. Moments that
    leave the same are one.
    """
    found: list[Path] = []
    seen: list[dict] = []
    calls: list[str] = []

    def take(number: int, name: str) -> None:
        calls.append(name)
        now = everything(folder)
        if now not in seen:
            seen.append(now)
            found.append(store / f"{number:03d}-{name}")
            found[-1].mkdir(parents=True)
            if folder.exists():
                shutil.copytree(folder, found[-1] / "run")

    with counted(take):
        run()
    assert {"fsync", "replace", "unlink", "mkdir"} <= set(calls)
    return found


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every file below `folder` with its bytes, and every folder."""
    paths = sorted([folder, *folder.rglob("*")]) if folder.exists() else []
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def put_back(snapshot: Path, folder: Path) -> bool:
    """Make `folder` what the snapshot is; returns whether there is a run in it to resume."""
    shutil.rmtree(folder, ignore_errors=True)
    if (snapshot / "run").exists():
        shutil.copytree(snapshot / "run", folder)
    return (folder / run_folder.FLAGS).exists()


def account(folder: Path) -> dict[str, Any]:
    """Everything that a run's folder says, but for the clock, and the notes about how often it was resumed."""
    directory = folder / run_folder.CHECKPOINTS
    saved = {str(step): checkpoint.load(directory, step) for step in checkpoint.steps(directory)}
    if (directory / checkpoint.BEST).exists():
        saved["best"] = checkpoint.load(directory, "best")
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "events.out" not in p.name)
    versions = json.loads((folder / run_folder.VERSIONS).read_text())
    scalars = logger.read_tb(folder / run_folder.TENSORBOARD)
    return {
        "names": names,
        "flags": (folder / run_folder.FLAGS).read_text(),
        "summary": _untimed(run_folder.read_summary(folder)),
        "versions": _untimed({key: value for key, value in versions.items() if key not in ("resumed", "time")}),
        "checkpoints": {name: [step, _plain(untimed_state(state))] for name, (step, state) in saved.items()},
        "progress.csv": [_untimed(row) for row in progress(folder)],
        "progress.json": [_untimed(json.loads(line)) for line in (folder / "progress.json").read_text().splitlines()],
        "tb": {name: column.tobytes() for name, column in scalars.items() if name not in CLOCK},
        "monitors": episodes(folder),
    }


CLOCK = {*TIMES, "time_elapsed"}


def untimed_state(state: dict) -> dict:
    """A checkpoint's state without wall-clock times."""
    run = {key: value for key, value in state["run"].items() if key != "elapsed"}
    run["episodes"] = [episode[:2] for episode in run["episodes"]]
    return {**state, "run": run}


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in CLOCK}


def _plain(value: Any) -> Any:
    """Comparable with ==, to the last bit: arrays as their bytes, NaN as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "tobytes"):
        return str(value.dtype), value.shape, value.tobytes()
    return repr(value)
