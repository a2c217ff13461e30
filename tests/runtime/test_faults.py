"""What the system refuses is one sentence and exit code 2."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from test_cli import assert_sentence

from wng_tf.cli import app as cli
from wng_tf.runtime import faults

SHELL = "exec {python} -m wng_tf.plot {folder} {redirection}"


@pytest.mark.parametrize(
    ("redirection", "words"),
    [
        (">&-", "The standard output is closed"),
        ("> /dev/full", "Cannot write to the standard output (No space left on device)"),
        ("<&-", "There is no folder"),
    ],
)
def test_streams_that_are_closed_or_full(redirection, words, tmp_path):
    command = SHELL.format(python=sys.executable, folder=tmp_path / "nowhere", redirection=redirection)
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert_sentence(result.stderr, words)


def test_a_closed_standard_error_is_said_on_the_output(tmp_path):
    command = SHELL.format(python=sys.executable, folder=tmp_path / "nowhere", redirection="2>&-")
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert_sentence(result.stdout, "The standard error is closed", "/dev/null")


def test_a_standard_error_that_is_full_leaves_the_exit_code(tmp_path):
    command = SHELL.format(python=sys.executable, folder=tmp_path / "nowhere", redirection="2> /dev/full")
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode == 2


def test_a_working_folder_that_was_deleted(tmp_path):
    command = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m wng_tf.plot {tmp_path}"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert_sentence(result.stderr, "The working folder does not exist any more")


NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EIO]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("file", ["plots/table.md", None])
def test_errors_of_the_system(number, file, call):
    def main(argv):
        raise OSError(number, os.strerror(number), file)

    outcome = call(lambda: cli.run_app(main))
    assert outcome.code == 2
    assert_sentence(outcome.stderr, os.strerror(number), *([file] if file else []))


def test_memory_that_cannot_be_had(call):
    import tensorflow as tf

    for error in (MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")):

        def main(argv, error=error):
            raise error

        outcome = call(lambda main=main: cli.run_app(main))
        assert outcome.code == 2
        assert_sentence(outcome.stderr, "not enough memory")


def test_other_errors_keep_their_traceback(call):
    def main(argv):
        raise RuntimeError("of the program")

    with pytest.raises(RuntimeError, match="of the program"):
        call(lambda: cli.run_app(main))


def test_a_reason_is_one_line():
    assert faults.reason(OSError(errno.ENOSPC, "No space\nleft")) == "No space left"
    assert faults.reason(MemoryError()) == "MemoryError"
