"""What the package requires, by Python and machine, and the exact sets that it was tested with."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
MAC = {"sys_platform": "darwin", "platform_machine": "arm64"}
WINDOWS = {"sys_platform": "win32", "platform_machine": "AMD64"}
ARM = {"sys_platform": "linux", "platform_machine": "aarch64"}
EXACT = {"3.11": "requirements.txt", "3.13": "requirements-3.13.txt"}


@pytest.fixture
def package(monkeypatch):
    """What setup.py passes to setuptools."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return given


def applicable(lines, python, machine=LINUX):
    """The requirements that count on that Python, by name."""
    surroundings = {"python_version": python, "python_full_version": f"{python}.0", **machine}
    found = map(Requirement, lines)
    return {r.name: r for r in found if r.marker is None or r.marker.evaluate(surroundings)}


@pytest.mark.parametrize(
    ("machine", "python", "engine"),
    [
        *((LINUX, python, "pybullet") for python in ("3.10", "3.11")),
        *((LINUX, python, "pybullet-arm64") for python in ("3.12", "3.13")),
        *((machine, python, "pybullet-arm64") for machine in (MAC, WINDOWS) for python in ("3.10", "3.11", "3.12", "3.13")),
        *((ARM, python, None) for python in ("3.11", "3.13")),
        (LINUX, "3.14", None),
    ],
)
def test_pybullet_is_required_where_it_has_a_wheel_under_one_name(machine, python, engine, package):
    found = applicable(package["install_requires"], python, machine)
    assert {"pybullet", "pybullet-arm64"} & set(found) == ({engine} if engine else set())
    assert ("pybullet_envs_gymnasium" in found) == (engine == "pybullet")  # it asks for that name


@pytest.mark.parametrize("python", EXACT)
@pytest.mark.parametrize("extra", ["", "test", "video", "tune", "ray"])
def test_the_exact_sets_have_every_requirement_within_its_range(python, extra, package):
    lines = (ROOT / EXACT[python]).read_text(encoding="utf-8").splitlines()
    pinned = {}
    for line in lines[1:]:
        name, version = line.split("==")
        pinned[name.lower().replace("_", "-")] = Version(version)
    required = package["extras_require"][extra] if extra else package["install_requires"]
    for name, requirement in applicable(required, python).items():
        assert pinned[name.lower().replace("_", "-")] in requirement.specifier, requirement
    other = "pybullet-arm64" if python == "3.11" else "pybullet"
    assert other not in pinned
