"""What somebody's own part may be made of, and still be named when it fails."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import pytest
import tensorflow as tf

from wng_tf.errors import UserError
from wng_tf.runtime.guarding import guard, place


def failed(method: str, error: Exception) -> UserError:
    return UserError(f"{method}: {type(error).__name__} ({place(error)})")


@dataclasses.dataclass(frozen=True)
class Frozen:
    coefficient: float = 1.0

    def weight(self):
        raise KeyError(self.coefficient)


class Named:
    names: list[str] = []

    def __init_subclass__(cls):
        if cls.__name__ in Named.names:
            raise ValueError("taken")
        Named.names.append(cls.__name__)


class Own(Named):
    def weight(self):
        return 2.0


class Keeps:
    def __init__(self):
        self.kept = tf.Variable(1.0)

    @property
    def variable(self):
        return self.kept


def test_a_frozen_part_is_named():
    with pytest.raises(UserError, match=r"^weight: KeyError \(test_guarding.py, line \d+\)$"):
        guard(Frozen(), failed).weight()


def test_a_part_whose_class_allows_no_subclass_of_its_name_works_as_it_is():
    assert guard(Own(), failed).weight() == 2.0


def test_what_is_tensorflows_keeps_its_class():
    part = guard(Keeps(), failed)
    kind = type(part.kept)
    assert type(part.variable) is kind


def test_a_project_may_be_called_as_this_one(tmp_path, monkeypatch):
    folder = tmp_path / "wng_tf"
    folder.mkdir()
    lines = ["import json", "class Part:", "    def weight(self):", "        return json.loads('{')"]
    (folder / "part_of_a_namesake.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("part_of_a_namesake")
    try:
        with pytest.raises(UserError, match=r"\(part_of_a_namesake.py, line 4\)$"):
            guard(module.Part(), failed).weight()
    finally:
        del sys.modules["part_of_a_namesake"]
