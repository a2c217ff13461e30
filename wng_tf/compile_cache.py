"""Compiled updates kept on disk, so that the second run of a kind starts some seconds sooner than the first.

TensorFlow does the keeping: it looks programs up by a hash of what they compute, and writes them under another name before
it renames them, so that runs side by side and runs that are killed do no harm. What the hash leaves out is in the
folder's name: TensorFlow's version, the processor, and the number of threads.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

VARIABLE = "WNG_TF_CACHE"
_FLAGS = "TF_XLA_FLAGS"
_DIRECTORY = "--tf_xla_persistent_cache_directory"


def enable(num_threads: int) -> Path | None:
    """Have TensorFlow, which must not be loaded yet, keep compiled programs. Returns the folder.

    The folder is in $WNG_TF_CACHE, or in wng_tf of the user's cache folder. None, and nothing is kept: WNG_TF_CACHE=off,
    a folder that cannot be written, or TF_XLA_FLAGS that name a folder already.
    """
    chosen = os.environ.get(VARIABLE, "")
    flags = os.environ.get(_FLAGS, "")
    if chosen.lower() == "off" or _DIRECTORY in flags:
        return None
    try:
        root = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wng_tf"
        folder = (root / f"xla-{_fingerprint(num_threads)}").absolute()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    # TensorFlow splits its flags at spaces.
    if not os.access(folder, os.W_OK | os.X_OK) or " " in str(folder):
        return None
    os.environ[_FLAGS] = f"{flags} {_DIRECTORY}={folder}".strip()
    return folder


def _fingerprint(num_threads: int) -> str:
    """Of what a compiled program fits."""
    parts = [importlib.metadata.version("tensorflow"), platform.machine(), platform.processor(), str(num_threads)]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        parts.append(platform.node())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
