"""Checkpoints of strangers: none takes more memory than its file, runs anything, or ends in a traceback."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wng_tf import saved_policy
from wng_tf.errors import UserError
from wng_tf.policies.saved import load_policy
from wng_tf.runtime import memory
from wng_tf.training import archive, checkpoint

NAME = "checkpoint-000000000001.npz"


def _npy(header: Mapping[str, Any] | None, data: bytes = b"", array: Any = None) -> bytes:
    file = io.BytesIO()
    if header is None:
        np.lib.format.write_array(file, np.asarray(array))
    else:
        np.lib.format.write_array_header_1_0(file, dict(header))
        file.write(data)
    return file.getvalue()


def _manifest(tree: Any) -> bytes:
    text = tree if isinstance(tree, str) else json.dumps({"format": 1, "step": 1, "tree": tree})
    return _npy(None, array=np.frombuffer(text.encode(), np.uint8))


def _write(folder: Path, blobs: Mapping[str, bytes], *, compress: int = zipfile.ZIP_STORED) -> Path:
    """A checkpoint of these members with a checksum that holds."""
    blobs = dict(blobs)
    blobs["checksum"] = _npy(None, array=checkpoint._checksum(blobs))
    with zipfile.ZipFile(folder / NAME, "w", compress) as packed:
        for name, blob in blobs.items():
            packed.writestr(f"{name}.npy", blob)
    return folder / NAME


def _of_tree(tree: Any, **arrays: bytes) -> Callable[[Path], object]:
    return lambda folder: _write(folder, {"manifest": _manifest(tree), **{f"state/{k}": v for k, v in arrays.items()}})


ONE = _npy(None, array=np.ones(3))
NODE = ["array", "state/x"]


def _bomb(folder: Path) -> None:
    zeros = _npy({"descr": "<f8", "fortran_order": False, "shape": (10_000_000,)}, bytes(80_000_000))
    _write(folder, {"manifest": _manifest(NODE), "state/x": zeros}, compress=zipfile.ZIP_DEFLATED)


def _overlapping(folder: Path) -> None:
    """A thousand entries of the table of contents that point to the same bytes."""
    file = _write(folder, {"manifest": _manifest(NODE), "state/x": _npy(None, array=np.zeros(10_000))})
    with zipfile.ZipFile(file, "a") as packed:
        one = next(info for info in packed.infolist() if "state" in info.filename)
        for i in range(1000):
            info = zipfile.ZipInfo(f"state/{i}.npy")
            for field in ("header_offset", "CRC", "file_size", "compress_size"):
                setattr(info, field, getattr(one, field))
            packed.filelist.append(info)
        packed._didModify = True


def _lying_size(folder: Path) -> None:
    """The table of contents says that a member is small; what is there inflates to much."""
    _bomb(folder)
    data = (folder / NAME).read_bytes()
    assert (80_000_128).to_bytes(4, "little") in data
    (folder / NAME).write_bytes(data.replace((80_000_128).to_bytes(4, "little"), (128).to_bytes(4, "little")))


def _twice(folder: Path) -> None:
    file = _write(folder, {"manifest": _manifest(NODE), "state/x": ONE})
    with zipfile.ZipFile(file, "a") as packed, pytest.warns(UserWarning):
        packed.writestr("state/x.npy", ONE)


def _with_member(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        _write(folder, {"manifest": _manifest(NODE), "state/x": ONE, name: ONE})

    return make


def _lying(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    return _npy({"descr": descr, "fortran_order": False, "shape": shape}, b"12345678")


HOSTILE = {
    "a bomb": _bomb,
    "a bomb that lies": _lying_size,
    "overlapping members": _overlapping,
    "two members of one name": _twice,
    "a path out of the folder": _with_member("../../outside"),
    "an absolute path": _with_member("/etc/outside"),
    "a member that nothing names": _with_member("state/y"),
    "a longer array than there are bytes": _of_tree(NODE, x=_lying((10**12,))),
    "dimensions that overflow": _of_tree(NODE, x=_lying((2**62, 2**62))),
    "dimensions whose product wraps to nothing": _of_tree(NODE, x=_lying((2**32, 2**32))),
    "a negative dimension": _of_tree(NODE, x=_lying((-1,))),
    "elements without a size": _of_tree(NODE, x=_lying((10**12,), "<U0")),
    "pickled objects": _of_tree(NODE, x=_npy({"descr": "|O", "fortran_order": False, "shape": ()}, pickle.dumps(print))),
    "records": _of_tree(NODE, x=_npy({"descr": [("a", "<f8")], "fortran_order": False, "shape": (1,)}, b"12345678")),
    "no array": _of_tree(NODE, x=b"nothing"),
    "one array named often": _of_tree(["list", [NODE] * 1000], x=ONE),
    "an array that is not there": _of_tree(["array", "state/y"]),
    "its own checksum as an array": _of_tree(["array", "checksum"]),
    "an unknown node": _of_tree(["object", "os.system"]),
    "a node without content": _of_tree(["dict"]),
    "a dict that is none": _of_tree(["dict", 5]),
    "a number that is none": _of_tree(["int", "print"]),
    "deep JSON": _of_tree('{"format": 1, "step": 1, "tree": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep nodes": _of_tree('{"format": 1, "step": 1, "tree": ' + '["list", [' * 900 + "]]" * 900 + "}"),
    "no JSON": _of_tree("print"),
    "a manifest that is a list": _of_tree("[1, 2]"),
    "a step that is none": _of_tree('{"format": 1, "step": "one", "tree": null}'),
    "no format": _of_tree('{"step": 1, "tree": null}'),
    "a folder": lambda folder: (folder / NAME).mkdir(),
    "a pipe": lambda folder: os.mkfifo(folder / NAME),
    "a device": lambda folder: (folder / NAME).symlink_to("/dev/zero"),
    "a link to nothing": lambda folder: (folder / NAME).symlink_to("nothing"),
}

#: Reads a checkpoint with little memory to spare; prints what a user would see.
CHILD = """
import resource, sys
from wng_tf.training import checkpoint
from wng_tf.errors import UserError
limit = 60_000_000 + 4096 * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for folder in sys.argv[1:]:
    try:
        print(checkpoint.load(folder))
    except UserError as error:
        print(f"UserError: {error}")
"""


def test_hostile_checkpoints(tmp_path):
    folders = {kind: tmp_path / str(i) for i, kind in enumerate(HOSTILE)}
    for kind, folder in folders.items():
        folder.mkdir()
        HOSTILE[kind](folder)
    command = [sys.executable, "-c", CHILD, *map(str, folders.values())]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(folders)
    for kind, line in zip(folders, lines, strict=True):
        assert line.startswith("UserError: The checkpoint '"), (kind, line)
        assert line.endswith("start the run again.") or "cannot be read" in line, (kind, line)


def test_a_sparse_file_larger_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "total", lambda: 1e6)
    with open(tmp_path / NAME, "wb") as file:
        file.truncate(2_000_000)
    with pytest.raises(UserError, match="2 MB, more than there is memory"):
        checkpoint.load(tmp_path)


def test_arrays_of_every_kind_come_back():
    for value in (np.arange(6).reshape(2, 3).T, np.zeros((0, 5)), np.array("äb"), np.array(b"x"), np.array([1j, 2])):
        back = archive.array(_npy(None, array=value))
        assert back.dtype == value.dtype and back.shape == value.shape and np.array_equal(back, value)


@pytest.mark.parametrize("name", ["ppo on CartPole", "wnes on Point"])
def test_a_state_that_is_of_something_else(name, trained, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "flags.txt").write_bytes((trained(name) / "flags.txt").read_bytes())
    step, _ = checkpoint.load(trained(name) / "checkpoints")
    wrong: list[Any] = [None, {}, {"learner": []}, {"learner": {"policy": "x", "learner": {}, "env": {}}}]
    for content in wrong:
        checkpoint.save(folder / "checkpoints", step, content)
        with pytest.raises(UserError):
            saved_policy.load(folder)


def test_a_toeplitz_policy_larger_than_memory(trained, tmp_path, monkeypatch):
    step, state = checkpoint.load(trained("wnes on Point") / "checkpoints")
    policy = state["learner"]["policy"]
    assert policy["spec"]["network"] == "toeplitz"
    checkpoint.save(tmp_path / "checkpoints", step, state)
    load_policy(tmp_path)
    monkeypatch.setattr(memory, "total", lambda: 100.0)
    with pytest.raises(UserError, match="memory"):
        load_policy(tmp_path)


def test_memory_in_words():
    assert [memory.in_words(x) for x in (0, 999, 1e3, 1.7e9, 4e18, 1e30)] == [
        *["0 bytes", "999 bytes", "1 kB", "1.7 GB", "4 EB", "1e+12 EB"]
    ]
    assert 2**28 < memory.total() < float("inf")
