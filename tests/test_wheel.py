"""What is installed is whole: built as a wheel, put where nothing of the checkout is found, and used from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from wng_tf.cli import flagfile

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs"
FLAGFILES = sorted(str(path.relative_to(RUNS)) for pattern in ("*.flags", "tuned/*.flags") for path in RUNS.glob(pattern))
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the source distribution, built from a copy."""
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "copy"
    unwanted = shutil.ignore_patterns(".*", "results", "out", "*.egg-info", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    for kind in ("wheel", "sdist"):
        built = subprocess.run([sys.executable, "-c", BUILD, kind, str(folder)], cwd=copy, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built) -> Path:
    """The wheel unpacked, which is what installing a wheel of pure Python does, beside its entry points."""
    folder = built / "installed"
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with the installed package alone; its dependencies are this interpreter's."""
    command = [sys.executable, "-P", *arguments] if sys.version_info >= (3, 11) else [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed), "WNG_TF_CACHE": "off"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_has_the_flagfiles_and_nothing_of_the_results(built):
    (wheel,) = built.glob("*.whl")
    names, shipped = zipfile.ZipFile(wheel).namelist(), "wng_tf/flagfiles/"
    assert sorted(name.removeprefix(shipped) for name in names if name.startswith(shipped)) == FLAGFILES
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"wng_tf", "baselines_compat"}
    assert {"wng_tf/py.typed", "baselines_compat/py.typed"} <= set(names)


def test_the_source_distribution_builds_the_same(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as contents:
        names = {name.partition("/")[2] for name in contents.getnames()}
    assert {f"runs/{name}" for name in FLAGFILES} <= names
    assert {"setup.py", "README.md", "LICENSE", "wng_tf/run.py"} <= names


def test_every_module_of_the_checkout_is_in_the_wheel(built):
    (wheel,) = built.glob("*.whl")
    modules = {str(path.relative_to(ROOT)) for name in ("wng_tf", "baselines_compat") for path in (ROOT / name).rglob("*.py")}
    assert modules <= set(zipfile.ZipFile(wheel).namelist())


def test_the_version_from_an_empty_folder(installed, tmp_path):
    printed = run(installed, tmp_path, "-c", "import sys, wng_tf.run; sys.argv = ['wng-run', '--version']; wng_tf.run.app()")
    assert (printed.returncode, printed.stdout) == (0, "wng_tf 0.1.0\n"), printed.stderr
    assert not list(tmp_path.iterdir())


def test_every_flagfile_is_found_with_those_that_it_includes(installed, tmp_path):
    names = [f"{folder}{name}" for folder in ("", "runs/") for name in FLAGFILES]
    code = "import json, sys; from wng_tf.cli.flagfile import expand\n"
    code += "print(json.dumps([expand(['--flagfile=' + name]) for name in sys.argv[1:]]))"
    printed = run(installed, tmp_path, "-c", code, *names)
    assert printed.returncode == 0, printed.stderr
    here = [flagfile.expand([f"--flagfile={RUNS / name}"]) for name in FLAGFILES]
    assert json.loads(printed.stdout) == here * 2


@pytest.mark.slow
def test_a_run_with_a_flagfile_from_an_empty_folder(installed, tmp_path):
    (tmp_path / "own.flags").write_text("--flagfile=appendix_d1.flags\n")
    flags = ["--alg=ppo", "--env=Hopper", "--num_timesteps=256", "--nsteps=128", "--log_path=out", "--noexport"]
    printed = run(installed, tmp_path, "-m", "wng_tf.run", "--flagfile=own.flags", *flags)
    assert printed.returncode == 0, printed.stderr
    assert (tmp_path / "out" / "flags.txt").is_file()
