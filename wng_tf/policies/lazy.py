"""Modules that are imported when something of theirs is first used."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """Stands for a module that is large and not always needed.

    A head has a half in NumPy, which acts in processes without TensorFlow, and a half in TensorFlow, which trains.
    """

    def __init__(self, module: str):
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(importlib.import_module(self._module), name)
        setattr(self, name, value)
        return value
