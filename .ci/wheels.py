"""Whether pip finds wheels of everything that the package requires, for each Python that it is for: nothing is built.

    python .ci/wheels.py                        # 3.10 to 3.13, on this kind of machine
    python .ci/wheels.py 3.12 3.13 --extras=test,video,tune

Nothing is installed, and the interpreters need not be there: pip resolves the requirements as that Python would, with
`--only-binary=:all:`. The package itself has to be installed where this runs, with `packaging`. Markers of its own
requirements are those of the other Python; markers further down are of the Python that runs this, which is what pip does.
The exact sets have every package by its version, and are looked up without that. Exit code 1 if anything has no wheel.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: The exact set of each Python that has one.
EXACT = {"3.11": "requirements.txt", "3.12": "requirements-3.13.txt", "3.13": "requirements-3.13.txt"}


def requirements(python: str, extras: Sequence[str]) -> list[str]:
    """What the installed package requires on that Python, without the markers."""
    found = []
    for line in requires("wng_tf") or ():
        requirement = Requirement(line)
        surroundings = {"python_version": python, "python_full_version": f"{python}.0"}
        if requirement.marker is None or any(
            requirement.marker.evaluate({**surroundings, "extra": e}) for e in ("", *extras)
        ):
            requirement.marker = None
            found.append(str(requirement))
    return found


def resolves(python: str, what: Sequence[str]) -> bool:
    """Whether pip finds wheels of these for that Python; says on stderr what it misses."""
    with tempfile.TemporaryDirectory() as nowhere:
        options = ["--dry-run", "--quiet", "--ignore-installed", "--only-binary=:all:", f"--python-version={python}"]
        command = [sys.executable, "-m", "pip", "install", *options, f"--target={nowhere}", *what]
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode == 0


def main() -> int:
    """Look up what the command line names. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=PYTHONS)
    parser.add_argument("--extras", default="test,video")
    given = parser.parse_args()
    extras, missing = [extra for extra in given.extras.split(",") if extra], False
    for python in given.pythons:
        wanted = requirements(python, extras)
        looked_up = {"the newest": wanted}
        if python in EXACT:
            looked_up[EXACT[python]] = ["--no-deps", "-r", EXACT[python]]
        for name, what in looked_up.items():
            found = resolves(python, what)
            missing |= not found
            print(f"Python {python}, {name}: {'wheels of everything' if found else 'NOT everything has a wheel'}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
