"""One holder at a time; a lock goes with its process and never outlives it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from wng_tf.errors import UserError
from wng_tf.training import locks

HOLD = """
import sys
from pathlib import Path
from wng_tf.training import locks
assert locks.try_lock(Path(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(path: Path):
    """A process that holds the lock until the block ends, then is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.kill()
        process.communicate()


def holding(path: Path):
    return locks.holding(path, busy="busy", unusable="unusable: {reason}")


def test_one_process_at_a_time_and_the_lock_goes_with_it(tmp_path):
    path = tmp_path / "folder" / "lock"
    with another_process(path):
        assert locks.is_locked(path) and locks.try_lock(path) is None
        with pytest.raises(UserError, match="^busy$"), holding(path):
            pass
    assert path.exists()  # left by the kill, and nothing more
    assert not locks.is_locked(path)
    with holding(path):
        assert locks.is_locked(path)
        with pytest.raises(UserError, match="^busy$"), holding(path):  # nor this process twice
            pass
    assert not path.exists()


def test_where_no_lock_can_be(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(UserError, match="unusable: Is a directory"), holding(tmp_path / "lock"):
        pass


def test_a_lock_that_its_holder_removed_is_none(tmp_path, monkeypatch):
    """Opened while it was held, taken when the holder had gone: the file is no longer the one that others see."""
    path, real = tmp_path / "lock", fcntl.flock

    def flock(descriptor, operation):
        if path.exists() and not replaced:
            replaced.append(os.fstat(descriptor).st_ino)
            path.rename(tmp_path / "removed")
        real(descriptor, operation)

    replaced: list[int] = []
    monkeypatch.setattr(fcntl, "flock", flock)
    descriptor = locks.try_lock(path)
    assert replaced and os.path.samestat(os.fstat(descriptor), path.stat())
    assert not os.path.samestat(path.stat(), (tmp_path / "removed").stat())
    os.close(descriptor)


def test_who_waits_gets_it(tmp_path):
    path, order = tmp_path / "lock", []

    def wait() -> None:
        with locks.holding(path, busy=None, unusable="{reason}"):
            order.append("second")

    thread = threading.Thread(target=wait)
    with holding(path):
        thread.start()
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
