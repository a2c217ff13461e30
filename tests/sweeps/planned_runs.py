"""What a flagfile under runs/ would run."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def runs_of(name: str, *flags: str) -> list[dict[str, str]]:
    """Flags of every run; the sweep itself checks that they are ones that the run takes."""
    command = [sys.executable, "-m", "wng_tf.sweep", f"--flagfile=runs/{name}.flags", "--dry_run", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    words = [shlex.split(line)[3:] for line in done.stdout.splitlines()]
    return [dict(word.removeprefix("--").split("=", 1) for word in line) for line in words]
