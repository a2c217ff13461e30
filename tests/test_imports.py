"""Imports run one way, from the commands down to the libraries: read from the source, functions' own imports included."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: From the top: a module may import those of its own room, and of the rooms in the layers below.
LAYERS = (
    {"commands", "experiments"},
    {"tuning"},
    {"sweeps", "plots"},
    {"cli"},
    {"saved_policy", "learning", "evaluation_files"},
    {"families"},
    {"policy_gradient", "evolution"},
    {"policies"},
    {"training"},
    {"envs"},
    {"parts"},
    {"cluster"},
    {"algorithms", "embeddings", "transport"},
    {"runtime", "natural_gradient"},
    {"errors", "__init__"},
)
COMMANDS = {"run", "evaluate", "export", "sweep", "plot", "playing", "tune"}
#: Neither knows reinforcement learning: TensorFlow, and each other, alone.
MATHEMATICS = {"natural_gradient", "transport"}
MOST_LINES = 350


def sources(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = {**sources("wng_tf"), **sources("baselines_compat")}


def imports(module: str) -> set[str]:
    """The modules of this project that a module imports, anywhere in it but for the type checker alone."""
    found = set()
    todo: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        else:
            todo += ast.iter_child_nodes(node)
    return {name for name in found if name in MODULES}


GRAPH = {module: imports(module) for module in MODULES}


def room(module: str) -> str:
    name = (module.split(".") + ["__init__"])[1]
    return "commands" if name in COMMANDS else name


def layer(module: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room(module) in rooms)


OURS = [module for module in MODULES if module.startswith("wng_tf")]


def circles() -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan), a package's `__init__` standing for itself alone."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in GRAPH[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            component = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(component) > 1 or module in GRAPH[module]:
                found.append(sorted(component))

    for module in GRAPH:
        if module not in index:
            visit(module)
    return found


def test_no_circles():
    assert circles() == []


@pytest.mark.parametrize("module", OURS)
def test_no_import_runs_up(module):
    for other in GRAPH[module]:
        if other.startswith("wng_tf") and room(other) != room(module):
            assert layer(other) > layer(module), f"{module} imports {other}"


def test_baselines_compat_stands_alone():
    assert not [(m, o) for m in MODULES if m.startswith("baselines_compat") for o in GRAPH[m] if o.startswith("wng_tf")]


@pytest.mark.parametrize("name", sorted(MATHEMATICS))
def test_mathematics_knows_no_reinforcement_learning(name):
    for module in OURS:
        if room(module) == name:
            assert {other.split(".")[1] for other in GRAPH[module]} <= MATHEMATICS, module


def test_files_are_short():
    long = {m: n for m in OURS if (n := len(MODULES[m].read_text().splitlines())) > MOST_LINES}
    assert not long


WORKERS = (
    "baselines_compat.vec_env.subproc_vec_env",
    "wng_tf.evolution.frozen_vector_env",
    "wng_tf.envs.guarded",
    "wng_tf.cluster.vec_env",
    "wng_tf.cluster.ray_actors",
)


@pytest.mark.parametrize("module", WORKERS)
def test_workers_import_no_tensorflow(module):
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
