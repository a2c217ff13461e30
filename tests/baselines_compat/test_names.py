"""Baselines' names: each that the documentation says is here can be imported, and every other has its reason."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "baselines_names.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
HERE = {name.strip("`"): here.strip("`") for name, here, _ in ROWS if here != "no"}


def found(path: str):
    """The object behind a dotted path: as much of it as there is of modules, then attributes."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            thing = getattr(thing, attribute)
        return thing
    raise AssertionError(f"there is no {path}")


def test_every_row_names_a_place_or_a_reason():
    assert len(ROWS) > 150 and len({name for name, _, _ in ROWS}) == len(ROWS)
    for name, here, note in ROWS:
        assert re.fullmatch(r"`baselines\.[\w.]+`", name), name
        assert re.fullmatch(r"`(baselines_compat|wng_tf)\.[\w.]+`", here) or (here == "no" and note), (name, here)


@pytest.mark.parametrize("name", HERE)
def test_what_is_here_can_be_imported(name):
    assert found(HERE[name]) is not None


@pytest.mark.parametrize("name", [name.strip("`") for name, here, _ in ROWS if here == "no"])
def test_what_is_not_here_is_not_there_under_its_name(name):
    module, _, attribute = name.replace("baselines.", "baselines_compat.", 1).rpartition(".")
    try:
        there = importlib.import_module(module)
    except ModuleNotFoundError:
        return
    assert not hasattr(there, attribute)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{module}.{attribute}")
