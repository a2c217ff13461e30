from __future__ import annotations

import functools
import json
import math
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wng_tf.errors import UserError
from wng_tf.training import checkpoint


def assert_same(saved, loaded, place="state"):
    """Equal to the last bit, except that tuples are lists."""
    if isinstance(saved, tuple):
        saved = list(saved)
    assert type(saved) is type(loaded), place
    if isinstance(saved, dict):
        assert list(saved) == list(loaded), place
        for key in saved:
            assert_same(saved[key], loaded[key], f"{place}/{key}")
    elif isinstance(saved, list):
        assert len(saved) == len(loaded), place
        for number, (before, after) in enumerate(zip(saved, loaded, strict=True)):
            assert_same(before, after, f"{place}/{number}")
    elif isinstance(saved, (np.ndarray, np.generic)):
        assert (saved.dtype, saved.shape) == (loaded.dtype, loaded.shape), place
        assert saved.tobytes() == loaded.tobytes(), place
    elif isinstance(saved, float) and math.isnan(saved):
        assert math.isnan(loaded), place
    else:
        assert saved == loaded, place
        assert not isinstance(saved, float) or math.copysign(1, saved) == math.copysign(1, loaded), place


arrays = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    for dtype in [
        np.float32,
        np.float64,
        np.float16,
        np.int64,
        np.uint64,
        np.uint8,
        np.bool_,
        np.complex64,
        ">i4",
        "U3",
    ]
)
leaves = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(), st.integers(), st.integers(-(2**300), 2**300), arrays,
    st.floats(width=32).map(np.float32), st.integers(0, 2**64 - 1).map(np.uint64),
)  # fmt: skip
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=6), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(step=st.integers(0, 10**15), state=states)
def test_what_was_saved_is_loaded(tmp_path_factory, step, state):
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoint.save(folder, step, state)
    loaded_step, loaded = checkpoint.load(folder)
    assert loaded_step == step
    assert_same(state, loaded)


@pytest.mark.parametrize("bits", [np.random.Philox, np.random.PCG64, np.random.MT19937, np.random.SFC64])
def test_random_streams_go_on_where_they_were(tmp_path, bits):
    stream = np.random.Generator(bits(7))
    stream.standard_normal(1001)
    checkpoint.save(tmp_path, 1, {"rng": stream.bit_generator.state})
    restored = np.random.Generator(bits(0))
    restored.bit_generator.state = checkpoint.load(tmp_path)[1]["rng"]
    np.testing.assert_array_equal(stream.integers(0, 2**63, 100), restored.integers(0, 2**63, 100))
    np.testing.assert_array_equal(stream.standard_normal(100), restored.standard_normal(100))


def test_integers_longer_than_python_prints(tmp_path):
    big = 7**10_000
    checkpoint.save(tmp_path, 1, [big, -big])
    assert checkpoint.load(tmp_path)[1] == [big, -big]


def test_loaded_arrays_can_be_written_to(tmp_path):
    checkpoint.save(tmp_path, 1, {"w": np.zeros(3)})
    checkpoint.load(tmp_path)[1]["w"][:] = 1.0


def test_numpy_shows_the_arrays_without_pickle(tmp_path):
    state = {
        "policy": {"kernel": np.eye(2), "bias/é": np.ones(1)},
        "policy/kernel": np.zeros(3),
        "policy_kernel": np.zeros(4),
        "policy kernel": np.zeros(5),
        "policy?kernel": np.zeros(6),
    }
    path = checkpoint.save(tmp_path, 5, state)
    assert path == tmp_path / "checkpoint-000000000005.npz"
    with np.load(path, allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files if name.startswith("state")}
        assert {"manifest", "checksum"} < set(arrays.files)
    assert shapes == {
        "state/policy/kernel": (2, 2),
        "state/policy/bias/_": (1,),
        "state/policy/kernel~2": (3,),
        "state/policy_kernel": (4,),
        "state/policy_kernel~2": (5,),
        "state/policy_kernel~3": (6,),
    }
    assert_same(state, checkpoint.load(tmp_path)[1])


def test_equal_states_make_equal_files(tmp_path, monkeypatch):
    state = {"a": np.arange(5), "b": 2**100}
    first = checkpoint.save(tmp_path / "1", 1, state).read_bytes()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert checkpoint.save(tmp_path / "2", 1, state).read_bytes() == first


@pytest.mark.parametrize(
    "state, complaint",
    [
        ({"a": [{1, 2}]}, "state/a/0: a set"),
        ({"a": {3: 1}}, "state/a: its key 3 is not a string"),
        ({"a": np.array([None])}, "state/a: an array of object"),
        ({"a": np.zeros(2, [("x", "f4")])}, "state/a: an array of"),
        ({"a": b"bytes"}, "state/a: a bytes"),
        ({"a": object}, "state/a: a type"),
        ({"a": functools.reduce(lambda inner, _: [inner], range(200), 1)}, "state/a(/0){100}: it lies more than 100 levels"),
    ],
)
def test_what_cannot_be_held_is_named_and_nothing_is_written(tmp_path, state, complaint):
    with pytest.raises(TypeError, match=f"^A checkpoint cannot hold {complaint}"):
        checkpoint.save(tmp_path, 1, state)
    assert os.listdir(tmp_path) == []


# Which checkpoints there are.


def names(folder) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_newest_stay_and_the_best_with_them(tmp_path):
    for step in (10, 20, 30, 40, 50):
        checkpoint.save(tmp_path, step, {"at": step}, keep=2, best=step in (10, 30))
    assert names(tmp_path) == ["best.npz", "checkpoint-000000000040.npz", "checkpoint-000000000050.npz"]
    assert checkpoint.steps(tmp_path) == [40, 50]
    assert checkpoint.latest_step(tmp_path) == 50
    assert checkpoint.load(tmp_path) == (50, {"at": 50})
    assert checkpoint.load(tmp_path, "best") == (30, {"at": 30})
    assert checkpoint.load(tmp_path, 40) == (40, {"at": 40})


def test_all_stay_if_asked(tmp_path):
    for step in range(6):
        checkpoint.save(tmp_path, step, None, keep=None)
    assert checkpoint.steps(tmp_path) == list(range(6))


def test_saving_the_same_step_again_replaces_it(tmp_path):
    checkpoint.save(tmp_path, 3, "before")
    checkpoint.save(tmp_path, 3, "after")
    assert checkpoint.load(tmp_path) == (3, "after")


def test_the_checkpoint_just_written_is_never_deleted(tmp_path):
    for step in (10, 20, 5):
        checkpoint.save(tmp_path, step, step, keep=1)
    assert 5 in checkpoint.steps(tmp_path)


def test_other_files_are_left_alone(tmp_path):
    others = ["notes.txt", "checkpoint-1.npz", "checkpoint-000000000001.npz.bak", ".hidden.tmp"]
    for name in others:
        (tmp_path / name).write_text("mine")
    for step in (1, 2):
        checkpoint.save(tmp_path, step, None, keep=1)
    assert names(tmp_path) == sorted([*others, "checkpoint-000000000002.npz"])


@pytest.mark.parametrize("arguments", [{"step": -1}, {"step": 1, "keep": 0}])
def test_bad_arguments(tmp_path, arguments):
    with pytest.raises(ValueError, match="step must be at least 0 and keep at least 1"):
        checkpoint.save(tmp_path, state=None, **arguments)


def test_nothing_to_load(tmp_path):
    assert checkpoint.latest_step(tmp_path / "absent") is None
    with pytest.raises(UserError, match="There is no checkpoint in .*start the run again"):
        checkpoint.load(tmp_path / "absent")
    checkpoint.save(tmp_path, 7, None)
    with pytest.raises(UserError, match="there are checkpoints of steps: 7"):
        checkpoint.load(tmp_path, 6)
    with pytest.raises(UserError, match="best.npz"):
        checkpoint.load(tmp_path, "best")


# Damage.


STATE = {"w": np.arange(4, dtype=np.float32), "n": 2**70, "name": "ppo", "list": [1.5, None]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return checkpoint.save(tmp_path_factory.mktemp("whole"), 2, STATE).read_bytes()


def two_checkpoints(folder, newest: bytes) -> Path:
    checkpoint.save(folder, 1, "older")
    path = folder / "checkpoint-000000000002.npz"
    path.write_bytes(newest)
    return path


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_is_damage_or_changes_nothing(tmp_path, whole, where, flip):
    """Some bytes of a zip file mean nothing (dates, attributes); all that mean something are guarded."""
    if not checkpoint.steps(tmp_path):
        two_checkpoints(tmp_path, whole)
    data = bytearray(whole)
    data[int(where * len(data))] ^= flip
    path = tmp_path / "checkpoint-000000000002.npz"
    path.write_bytes(data)
    try:
        step, state = checkpoint.load(tmp_path)
    except UserError as error:
        assert str(path) in str(error) and "delete it to continue" in str(error)
    else:
        assert step == 2
        assert_same(STATE, state)


def test_every_byte_of_the_content_is_guarded(tmp_path, whole):
    path = two_checkpoints(tmp_path, whole)
    with zipfile.ZipFile(path) as archive:
        members = [archive.read(info) for info in archive.infolist()]
    for member in members:
        at = whole.index(member)
        for offset in range(0, len(member), 7):
            data = bytearray(whole)
            data[at + offset] ^= 1
            path.write_bytes(bytes(data))
            with pytest.raises(UserError, match="damaged"):
                checkpoint.load(tmp_path)


def test_the_checksum_alone_finds_a_change_that_zip_does_not(tmp_path):
    """A member replaced as a whole, its CRC-32 right."""
    path = checkpoint.save(tmp_path, 2, STATE)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["state/w.npy"] = members["state/w.npy"][:-1] + b"\x01"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match="checksum does not match"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_an_error_that_says_what_to_do(tmp_path, whole, kept):
    path = two_checkpoints(tmp_path, whole[: int(kept * len(whole))])
    with pytest.raises(UserError, match="is damaged .*: delete it to continue from the one before it, of step 1") as e:
        checkpoint.load(tmp_path)
    assert f"'{path}'" in str(e.value) and "\n" not in str(e.value)
    path.unlink()
    assert checkpoint.load(tmp_path) == (1, "older")


def test_a_damaged_only_checkpoint(tmp_path, whole):
    (tmp_path / "checkpoint-000000000002.npz").write_bytes(whole[:-5])
    with pytest.raises(UserError, match="there is none before it, start the run again"):
        checkpoint.load(tmp_path)


def test_a_damaged_best(tmp_path):
    checkpoint.save(tmp_path, 1, None, best=True)
    (tmp_path / "best.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"best.npz' is damaged .*use another checkpoint"):
        checkpoint.load(tmp_path, "best")


def test_a_renamed_checkpoint(tmp_path):
    checkpoint.save(tmp_path, 1, None).rename(tmp_path / "checkpoint-000000000009.npz")
    with pytest.raises(UserError, match="is of step 1, not of the step in its name"):
        checkpoint.load(tmp_path)


def test_a_checkpoint_of_another_format(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_FORMAT", 2)
    checkpoint.save(tmp_path, 1, None)
    monkeypatch.undo()
    with pytest.raises(UserError, match="has format 2, this wng_tf reads format 1"):
        checkpoint.load(tmp_path)


def test_a_checkpoint_that_cannot_be_read(tmp_path):
    (tmp_path / "checkpoint-000000000001.npz").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load(tmp_path)


# A save that does not end.


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_save_that_fails_changes_nothing(tmp_path, monkeypatch, call):
    checkpoint.save(tmp_path, 1, "good", best=True)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, disk_full)
    for step in (1, 2):
        with pytest.raises(OSError, match="No space"):
            checkpoint.save(tmp_path, step, "new", keep=1, best=True)
    monkeypatch.undo()
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert checkpoint.load(tmp_path) == (1, "good")


def test_what_a_killed_save_left_behind_is_ignored_and_removed(tmp_path, whole):
    checkpoint.save(tmp_path, 1, "good")
    (tmp_path / ".checkpoint-000000000002.npz.tmp").write_bytes(whole[:50])
    assert checkpoint.load(tmp_path) == (1, "good")
    checkpoint.save(tmp_path, 2, "next", keep=1)
    assert names(tmp_path) == ["checkpoint-000000000002.npz"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_killed_while_it_saves_leaves_whole_checkpoints(tmp_path):
    code = f"""
import numpy as np
from wng_tf.training import checkpoint
for step in range(10**6):
    checkpoint.save({str(tmp_path)!r}, step, {{"w": np.full(300_000, step), "step": step}}, keep=2, best=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        give_up = time.monotonic() + 300.0
        while (checkpoint.latest_step(tmp_path) or 0) < 3 and time.monotonic() < give_up:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    latest = checkpoint.latest_step(tmp_path)
    assert latest >= 3
    for which in ("newest", "1.5", 1.5, None):
        with pytest.raises(UserError, match="--which must be latest, best, or the step of a checkpoint, not"):
            checkpoint.load(tmp_path, which)
    for which in ("latest", "best", *checkpoint.steps(tmp_path)):
        step, state = checkpoint.load(tmp_path, which)
        assert step == state["step"] and np.all(state["w"] == step)


def test_the_manifest_is_json(tmp_path):
    with np.load(checkpoint.save(tmp_path, 3, {"a": 1})) as arrays:
        assert json.loads(arrays["manifest"].tobytes()) == {
            "format": 1,
            "step": 3,
            "tree": ["dict", {"a": 1}],
        }
