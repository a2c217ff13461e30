"""The random generators that an environment draws from, wherever it keeps them, and their states as plain data.

Gymnasium's is `env.unwrapped.np_random`. Environments have others: a RandomState in its place, generators in attributes of
their own or of their parts and wrappers, in their class or their module. They are found by looking through attributes,
lists and dicts from the outermost wrapper inwards, without calling any of the environment's own code (its properties
may raise).
"""

from __future__ import annotations

import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

Generator = np.random.Generator | np.random.RandomState | np.random.BitGenerator | random.Random

_KINDS: dict[str, type] = {
    "Generator": np.random.Generator,
    "RandomState": np.random.RandomState,
    "BitGenerator": np.random.BitGenerator,
    "Random": random.Random,
}
_CODE = (type, types.ModuleType, types.FunctionType, types.MethodType)
_LEAVES = (str, bytes, int, float, complex, type(None), np.ndarray, *_CODE)
_DEEPEST, _MOST, _WIDEST = 12, 5000, 100


class Place(NamedTuple):
    """Where a generator is kept: `owner[key]`.

    Attributes:
      label: the way there from the outermost wrapper; the same in every copy of the environment.
      owner: a dict (of attributes, or as it is), or a list.
    """

    label: str
    owner: Any
    key: Any

    def get(self) -> Any:
        """What is there now; None, if it is no generator."""
        try:
            value = self.owner[self.key]
        except LookupError:
            return None
        return value if isinstance(value, tuple(_KINDS.values())) else None


#: The generators that every module shares.
SHARED = (
    Place("numpy.random", vars(np.random.mtrand), "_rand"),
    Place("random", vars(random), "_inst"),
)


def find(env: gym.Env) -> list[Place]:
    """Every generator of the environment whose state is plain data, but for `SHARED`."""
    return [place for place in _walk(env) if (found := place.get()) is not None and _is_plain(state(found))]


def drawn(function: Callable[[], Any]) -> tuple[Any, bool]:
    """What the function returns, and whether it drew from a `SHARED` generator."""
    before = states(SHARED)
    result = function()
    after = states(SHARED)
    return result, any(not _equal(after[label], before[label]) for label in before)


def states(places: list[Place] | tuple[Place, ...]) -> dict[str, Any]:
    """The state of each generator that is there, by label."""
    found = ((place.label, place.get()) for place in places)
    return {label: state(generator) for label, generator in found if generator is not None}


def state(generator: Any) -> dict[str, Any]:
    """The state of a generator as numbers, strings and arrays."""
    if isinstance(generator, np.random.Generator):
        return {"kind": "Generator", **generator.bit_generator.state}
    if isinstance(generator, np.random.RandomState):
        return {"kind": "RandomState", **generator.get_state(legacy=False)}
    if isinstance(generator, np.random.BitGenerator):
        return {"kind": "BitGenerator", **generator.state}
    version, key, gauss = generator.getstate()
    return {"kind": "Random", "version": version, "key": np.array(key, np.uint64), "gauss": gauss}


def restore(env: gym.Env, saved: Mapping[str, Any]) -> None:
    """Put states back. A generator that is not there yet is made; whose owner is not there either is left out."""
    places = {place.label: place for place in (*_walk(env), *SHARED)}
    for label, its_state in saved.items():
        place = places.get(label) or _new_place(label, places)
        if place is not None:
            put(place, its_state)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, bool | int | float | str | np.number)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return np.array_equal(one, other)


def put(place: Place, saved: Mapping[str, Any]) -> None:
    """Bring the generator at a place, which is made if there is none of its kind, to a state from `state`."""
    values = {name: value for name, value in saved.items() if name != "kind"}
    generator = place.get()
    if type(generator).__name__ != saved["kind"] and not isinstance(generator, _KINDS[saved["kind"]]):
        generator = None
    if generator is not None and "bit_generator" in values:
        now = generator if isinstance(generator, np.random.BitGenerator) else generator._bit_generator
        generator = generator if type(now).__name__ == values["bit_generator"] else None
    if generator is None:
        generator = _make(saved["kind"], values)
        place.owner[place.key] = generator
    if isinstance(generator, random.Random):
        generator.setstate((values["version"], tuple(map(int, values["key"])), values["gauss"]))
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(values)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = values
    else:
        generator.state = values


def _make(kind: str, values: Mapping[str, Any]) -> Any:
    if kind == "Random":
        return random.Random()
    bits = getattr(np.random, values["bit_generator"])()
    return bits if kind == "BitGenerator" else _KINDS[kind](bits)


def _new_place(label: str, places: Mapping[str, Place]) -> Place | None:
    """Where an attribute would be that does not exist yet, found by the attributes beside it."""
    parent, _, name = label.rpartition(".")
    owner = next((place.owner for other, place in places.items() if other.rpartition(".")[0] == parent), None)
    return Place(label, owner, name) if isinstance(owner, dict) and name.isidentifier() else None


def _walk(env: gym.Env) -> Iterator[Place]:
    """Every attribute, item and element below an environment, nearest first; then those of its classes and modules."""
    waiting: deque[tuple[str, Any, int]] = deque([("env", env, 0)])
    seen: set[int] = set()
    visited: list[Any] = []  # keeps ids from being used again
    while waiting and len(visited) < _MOST:
        label, thing, depth = waiting.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        visited.append(thing)
        for place in _inside(label, thing):
            value = place.owner[place.key]
            if isinstance(value, tuple(_KINDS.values())):
                if id(value) not in seen:
                    seen.add(id(value))
                    visited.append(value)
                    yield place
                continue
            yield place
            if depth < _DEEPEST and not isinstance(value, _LEAVES):
                waiting.append((place.label, value, depth + 1))
    yield from _of_classes(env)


def _inside(label: str, thing: Any) -> Iterator[Place]:
    if isinstance(thing, dict):
        for key in list(thing)[:_WIDEST]:
            if isinstance(key, str | int):
                yield Place(f"{label}[{key!r}]", thing, key)
    elif isinstance(thing, list | tuple | deque):
        for i in range(min(len(thing), _WIDEST)):
            yield Place(f"{label}[{i}]", thing, i)
    else:
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            for name in list(attributes):
                yield Place(f"{label}.{name}", attributes, name)


def _of_classes(env: gym.Env) -> Iterator[Place]:
    """Generators in the modules of the environment's classes; those of the classes themselves cannot be replaced."""
    modules = []
    layer: Any = env
    while layer is not None:
        modules += [kind.__module__ for kind in type(layer).__mro__]
        layer = vars(layer).get("env") if isinstance(layer, gym.Wrapper) else None
    for module in dict.fromkeys(modules):
        if module.partition(".")[0] in ("gymnasium", "builtins", "abc", "typing") or module not in sys.modules:
            continue
        names = vars(sys.modules[module])
        for name in list(names):
            place = Place(f"{module}:{name}", names, name)
            if place.get() is not None:
                yield place
            elif isinstance(names[name], type) and names[name].__module__ == module and issubclass(names[name], gym.Env):
                for attribute, value in list(vars(names[name]).items()):
                    if isinstance(value, tuple(_KINDS.values())):
                        yield Place(f"{module}:{name}.{attribute}", {attribute: value}, attribute)
