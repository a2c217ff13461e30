"""TensorFlow on one CPU thread an operation, without its chatter; the toy environments importable, in workers too."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from absl import (
    flags,
    logging,  # noqa: F401 - defines flags of its own where it is first imported, which must not be within a call
)

from wng_tf.runtime import compile_cache

os.environ.update(
    CUDA_VISIBLE_DEVICES="-1",
    TF_CPP_MIN_LOG_LEVEL="3",
    TF_NUM_INTRAOP_THREADS="1",
    TF_NUM_INTEROP_THREADS="2",  # a population in two parts has two loops that run at the same time
    OMP_NUM_THREADS="1",
)
sys.path.append(str(Path(__file__).parent))

# What one test or worker compiles, the others need not: a folder for this session, made by its first process.
_MADE = None if compile_cache.VARIABLE in os.environ else tempfile.mkdtemp(prefix="wng_tf-")
if _MADE is not None:
    os.environ[compile_cache.VARIABLE] = _MADE
compile_cache.enable(1)


def pytest_unconfigure() -> None:
    if _MADE is not None:
        shutil.rmtree(_MADE, ignore_errors=True)


class Outcome(NamedTuple):
    """How an entry point ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def call(monkeypatch, capfd) -> Callable[..., Outcome]:
    """Call an entry point's `app()` in this process with a command line, its flags defined for the call alone."""

    from wng_tf import run

    # TensorFlow takes a number of threads before it starts only, and here it may have started.
    monkeypatch.setattr(run, "_limit_threads", lambda within, between: None)

    def calling(app: Callable[[], None], *arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
        before = set(flags.FLAGS)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as exit:
                app()
        finally:
            for name in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, name)
            flags.FLAGS.unparse_flags()
        return Outcome(exit.value.code or 0, *capfd.readouterr())

    return calling


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of one of `training.RUNS`, trained when first asked for. Only to be read: copy it to change it."""
    from short_runs import train

    folders: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp("runs") / name.replace(" ", "-")
            train(name, folder)
            folders[name] = folder
        return folders[name]

    return get
