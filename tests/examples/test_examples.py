"""The examples run, and learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sampler_learns_the_ring():
    assert load("sampler").train(natural=True) < 0.1  # an untrained generator: about 1.5


def test_policy_learns_from_the_state():
    assert load("policy").train() > -0.5  # a policy that ignores the state: -1 or less
