"""Checkpoints: one file each, exact, and either whole or absent.

A state is a nested dict (string keys) or list of NumPy arrays, NumPy scalars, Python ints of any size,
floats, strings, bools and None, and comes back equal to the last bit; tuples come back as lists. The file is
an `.npz` without pickle, so `numpy.load` shows the arrays (named by their place in the state). Inside it:

* `state/...`: the arrays;
* `manifest`: format, step and the tree, as JSON;
* `checksum`: BLAKE2 of all of these.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from baselines_compat.files import atomic_write, temporary_of
from wng_tf.errors import UserError
from wng_tf.runtime import memory, whole
from wng_tf.training import archive

BEST = "best.npz"
_FORMAT = 1
_DEEPEST = 100  # levels of a state: how many Python's own stack takes differs between its versions
_NAME = re.compile(r"checkpoint-(\d{12,})\.npz")


def save(directory: str | os.PathLike[str], step: int, state: Any, *, keep: int | None = 3, best: bool = False) -> Path:
    """Write `state` to `checkpoint-<step>.npz` in `directory` (made if absent), and return the path.

    The newest `keep` checkpoints stay (None: all), older ones are deleted after the new one is safe on the
    disk. `best=True` writes it to `best.npz` as well, which is never deleted, only replaced.

    Raises TypeError, naming the place in the state, on what a checkpoint cannot hold; ValueError on a
    negative `step` or a `keep` below 1. Then, and when writing fails, the checkpoints there are as they were.
    """
    if step < 0 or (keep is not None and keep < 1):
        raise ValueError(f"step must be at least 0 and keep at least 1, not {step} and {keep}.")
    data = _encode(step, state)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = _path(directory, step)
    with contextlib.ExitStack() as files:
        # Left in reverse order: the best takes its place first. A process killed between the two leaves a best that is
        # ahead of the newest checkpoint, and whoever continues from that comes by it again.
        for target in (path, directory / BEST) if best else (path,):
            file = files.enter_context(atomic_write(target, "wb"))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a full disk shows before either takes its place
    tidy(directory, keep, written=step)
    return path


def save_file(path: str | os.PathLike[str], state: Any) -> None:
    """Write `state` to one file of any name, in the format of a checkpoint; what is there is replaced once it is whole.

    Raises TypeError as `save`, OSError where the file cannot be written.
    """
    data = _encode(0, state)
    with atomic_write(Path(path), "wb") as file:
        file.write(data)


def load_file(path: str | os.PathLike[str]) -> Any:
    """The state in one file of any name: one of `save_file`'s, or a checkpoint. UserError if it is damaged."""
    return _read(Path(path), "use another file")[1]


def tidy(directory: str | os.PathLike[str], keep: int | None, *, written: int | None = None) -> None:
    """Delete all checkpoints but the newest `keep` (None: all stay), and what a killed `save` left unfinished.

    The checkpoint of the step `written` counts as the newest.
    """
    directory = Path(directory)
    there = sorted(steps(directory), key=lambda step: (step == written, step))
    for old in [] if keep is None else there[:-keep]:
        _path(directory, old).unlink()
    for name in ("checkpoint-*.npz", BEST):
        for left_behind in directory.glob(temporary_of(Path(name)).name):
            left_behind.unlink()


def make_best(directory: str | os.PathLike[str], step: int) -> None:
    """Make `best.npz` a copy of the checkpoint of `step`."""
    directory = Path(directory)
    data = _path(directory, step).read_bytes()
    with atomic_write(directory / BEST, "wb") as file:
        file.write(data)


def load(
    directory: str | os.PathLike[str], which: str | int = "latest", *, advice: str = "use another checkpoint"
) -> tuple[int, Any]:
    """The step and state of the newest checkpoint ("latest"), of `best.npz` ("best"), or of a given step.

    `advice` ends the sentence about a damaged one that was asked for by name. Raises UserError if there is none, or if
    it is damaged: an older one is never taken silently.
    """
    directory = Path(directory)
    there = steps(directory)
    if which == "latest":
        if not there:
            raise UserError(f"There is no checkpoint in '{directory}': nothing was saved yet, start the run again.")
        return _load(_path(directory, there[-1]), _advice(there))
    path = directory / BEST if which == "best" else _path(directory, _step(which))
    if not path.exists():
        raise UserError(f"There is no '{path}'; there are checkpoints of steps: {', '.join(map(str, there)) or 'none'}.")
    return _load(path, advice)


def _step(which: str | int) -> int:
    try:
        return whole.whole_number("which", whole.parse(which) if isinstance(which, str) else which)
    except (UserError, ValueError):
        raise UserError(f"--which must be latest, best, or the step of a checkpoint, not {which!r}.") from None


def steps(directory: str | os.PathLike[str]) -> list[int]:
    """Steps of the checkpoints in `directory`, ascending."""
    directory = Path(directory)
    if not directory.is_dir():
        return []
    return sorted(int(match[1]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name)))


def latest_step(directory: str | os.PathLike[str]) -> int | None:
    """Step of the newest checkpoint in `directory`; None if there is none."""
    return max(steps(directory), default=None)


def _path(directory: Path, step: int) -> Path:
    return directory / f"checkpoint-{step:012d}.npz"


def _advice(there: list[int]) -> str:
    if len(there) > 1:
        return f"delete it to continue from the one before it, of step {there[-2]}"
    return "there is none before it, start the run again"


def _load(path: Path, advice: str) -> tuple[int, Any]:
    step, state = _read(path, advice)
    if path.name not in (BEST, _path(path.parent, step).name):
        raise UserError(f"The checkpoint '{path}' is of step {step}, not of the step in its name: {advice}.")
    return step, state


def _read(path: Path, advice: str) -> tuple[int, Any]:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"The checkpoint '{path}' cannot be read (it is no file): {advice}.")
        if about.st_size > memory.total():
            raise UserError(f"The checkpoint '{path}' has {memory.in_words(about.st_size)}, more than there is memory.")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"The checkpoint '{path}' cannot be read ({error.strerror}).") from error
    try:
        manifest, blobs = _open(data)
        version = manifest["format"]
    except MemoryError:
        raise
    except Exception as error:  # Flipped bits make zipfile and NumPy raise nearly anything.
        raise _damaged(path, error, advice) from error
    if version != _FORMAT:
        raise UserError(
            f"The checkpoint '{path}' has format {version}, this wng_tf reads format {_FORMAT}: "
            "use the version that the run's versions.json names."
        )
    try:
        step, state = int(manifest["step"]), _from_tree(manifest["tree"], blobs)
        if blobs:
            raise ValueError(f"its state does not hold '{min(blobs)}'")
    except MemoryError:
        raise
    except Exception as error:  # whole, but not written by this program
        raise _damaged(path, error, advice) from error
    return step, state


def _damaged(path: Path, error: Exception, advice: str) -> UserError:
    text = " ".join(str(error).split()).rstrip(".")
    return UserError(f"The checkpoint '{path}' is damaged ({text or type(error).__name__}): {advice}.")


class MisfitError(ValueError):
    """A state is not one of the thing that is to continue from it; the message names the place and what is there."""


def check_fits(state: Any, like: Any, place: str = "state") -> None:
    """MisfitError unless `state` has the structure of `like`: its keys, the lengths of its lists, and the shapes and
    kinds of its arrays. Keys that only `state` has are no fault; numbers may have any value."""
    if isinstance(like, (np.ndarray, np.generic)):
        if not isinstance(state, (np.ndarray, np.generic)):
            raise MisfitError(f"{place} is no array")
        if (state.shape, state.dtype.kind) != (like.shape, like.dtype.kind):
            raise MisfitError(f"{place} is {_kind(state)}, not {_kind(like)}")
    elif isinstance(like, dict):
        for key, part in like.items():
            if not isinstance(state, dict) or key not in state:
                raise MisfitError(f"{place} has no {key}")
            check_fits(state[key], part, f"{place}/{key}")
    elif isinstance(like, (list, tuple)):
        if not isinstance(state, (list, tuple)) or len(state) != len(like):
            raise MisfitError(f"{place} has not {len(like)} parts")
        for i, (one, part) in enumerate(zip(state, like, strict=True)):
            check_fits(one, part, f"{place}/{i}")
    elif isinstance(like, (int, float)) != isinstance(state, (int, float, np.number)):
        raise MisfitError(f"{place} is {state!r}, not a {type(like).__name__}")


def no_policy(directory: Path, error: Exception) -> UserError:
    """What to say of a whole checkpoint from which no policy can be made, because of `error`."""
    reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return UserError(f"The checkpoint in '{directory}' holds no policy ({reason}): train it again.")


def _kind(array: np.ndarray | np.generic) -> str:
    return f"{array.dtype}{list(array.shape)}"


# Bytes of a checkpoint.


def _encode(step: int, state: Any) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    tree = _to_tree(state, "state", arrays)
    manifest = json.dumps({"format": _FORMAT, "step": int(step), "tree": tree}).encode()
    members = {"manifest": np.frombuffer(manifest, np.uint8), **arrays}
    blobs = {name: _npy(array) for name, array in members.items()}
    blobs["checksum"] = _npy(_checksum(blobs))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        for name, blob in blobs.items():
            # A ZipInfo of its own has a fixed date: equal states make equal files.
            packed.writestr(zipfile.ZipInfo(f"{name}.npy"), blob)
    return file.getvalue()


def _open(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and members of a checkpoint whose checksum holds; any exception means that it is damaged."""
    blobs = archive.members(data)
    checksum = archive.array(blobs.pop("checksum"))
    if not np.array_equal(checksum, _checksum(blobs)):
        raise ValueError("its checksum does not match")
    manifest = json.loads(archive.array(blobs.pop("manifest")).tobytes())
    if "format" not in manifest or not isinstance(manifest["step"], int):
        raise ValueError("its manifest says no format or step")
    return manifest, blobs


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _checksum(blobs: dict[str, bytes]) -> np.ndarray:
    digest = hashlib.blake2b(digest_size=32)
    for name, blob in sorted(blobs.items()):
        digest.update(f"{name} {len(blob)}\n".encode())
        digest.update(blob)
    return np.frombuffer(digest.digest(), np.uint8)


# The tree: JSON, in which a list is a tagged node and everything else stands for itself.


def _to_tree(value: Any, place: str, arrays: dict[str, np.ndarray], depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise TypeError(f"A checkpoint cannot hold {place}: it lies more than {_DEEPEST} levels deep.")
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind not in archive.PLAIN:
            raise TypeError(f"A checkpoint cannot hold {place}: an array of {array.dtype}.")
        name = _member(place, arrays)
        arrays[name] = array
        return ["array" if isinstance(value, np.ndarray) else "scalar", name]
    if value is None or type(value) in (bool, float, str):
        return value
    if type(value) is int:
        # In hexadecimal: Python limits the length of decimal ones, and other readers of JSON round them.
        return value if abs(value) < 2**53 else ["int", hex(value)]
    if isinstance(value, (list, tuple)):
        return ["list", [_to_tree(item, f"{place}/{i}", arrays, depth + 1) for i, item in enumerate(value)]]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"A checkpoint cannot hold {place}: its key {key!r} is not a string.")
        return ["dict", {key: _to_tree(item, f"{place}/{key}", arrays, depth + 1) for key, item in value.items()}]
    raise TypeError(f"A checkpoint cannot hold {place}: a {type(value).__name__}.")


def _from_tree(node: Any, blobs: dict[str, bytes], depth: int = 0) -> Any:
    """The value of a node. Each array is taken out of `blobs`, so that no node can name it again."""
    if depth > _DEEPEST:
        raise ValueError(f"its state is more than {_DEEPEST} levels deep")
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    tag, content = node
    if tag == "dict":
        return {key: _from_tree(item, blobs, depth + 1) for key, item in content.items()}
    if tag == "list":
        return [_from_tree(item, blobs, depth + 1) for item in content]
    if tag == "int":
        return int(content, 16)
    if tag not in ("array", "scalar"):
        raise ValueError(f"there is no node {tag!r}")
    array = archive.array(blobs.pop(content))
    return array[()] if tag == "scalar" else array


def _member(place: str, arrays: dict[str, np.ndarray]) -> str:
    """A name for an array inside the file: its place, in plain characters, made unique."""
    name = plain = re.sub(r"[^A-Za-z0-9_./-]", "_", place)
    number = 1
    while name in arrays:
        number += 1
        name = f"{plain}~{number}"
    return name
