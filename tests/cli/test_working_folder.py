"""`module:name` is found in the working folder, whichever way a command is started."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = dict(re.findall(r'"(wng-\w+)=([\w.]+):app"', (ROOT / "setup.py").read_text()))


@pytest.fixture
def started(tmp_path):
    """Runs code as a script of another folder, as pip makes them, beside a module `beside_it`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "beside_it.py").write_text(
        "import gymnasium as gym\n\ndef pole():\n    return gym.make('CartPole-v1')\n"
    )

    def start(code: str, *flags: str, **variables: str) -> subprocess.CompletedProcess:
        (tmp_path / "bin" / "script.py").write_text(code)
        command = [sys.executable, str(tmp_path / "bin" / "script.py"), *flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        return subprocess.run(command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, timeout=120)

    return start


def test_an_environment_beside_the_user(started):
    run = "from wng_tf.run import app\napp()\n"
    flags = ("--alg=ppo", "--env=beside_it:pole", "--num_timesteps=0")
    outcome = started(run, *flags)
    assert (outcome.returncode, outcome.stderr) == (2, "error: --num_timesteps must be at least 1, not 0.\n")
    outcome = started(run, *flags, "--env=nowhere:pole")
    assert outcome.returncode == 2 and "nowhere" in outcome.stderr


def test_the_folder_is_left_out_where_python_is_told_to_leave_it_out(started):
    code = "from wng_tf.cli.app import run_app\nrun_app(lambda argv: int('PATH' in __import__('sys').path))\n"
    code = code.replace("'PATH'", "__import__('os').getcwd()")
    assert started(code).returncode == 1
    if sys.version_info >= (3, 11):
        assert started(code, PYTHONSAFEPATH="1").returncode == 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_console_script_goes_through_the_one_door(script):
    assert len(SCRIPTS) >= 6
    assert re.search(r"\brun_app\(", inspect.getsource(importlib.import_module(SCRIPTS[script]).app)), script
