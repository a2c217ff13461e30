"""Registries: the parts that a flag can name, by lazy paths, so that `--help` and the checks of flags import none of them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from baselines_compat.vec_env.faults import described
from wng_tf.errors import UserError
from wng_tf.runtime.faults import reason
from wng_tf.runtime.guarding import PartFailure, guard, passes, place

Part = TypeVar("Part")
Made = TypeVar("Made")

#: `package.module:name` -> what was given as an object and is called that: one of a script is not to be found as it is, but
#: in a second copy of its module.
KNOWN: dict[str, Any] = {}


class Registry(Generic[Part]):
    """Parts by name. Iterating gives the names, in the order in which they were registered.

    Args:
      flag: the flag that names a part, without its dashes.
      noun: what a part is called in a sentence.
      paths: where the parts are, as `package.module:name`; each is imported when it is first asked for.
      aliases: other words for some of the names.
      what: what a user's own part is, in the form `package.module:what`.
    """

    def __init__(
        self,
        flag: str,
        noun: str,
        paths: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        what: str = "name",
    ):
        self.flag = flag
        self.noun = noun
        self.what = what
        self._parts: dict[str, Part | str] = dict(paths or {})
        self._lazy = set(self._parts)
        self._built_in = frozenset(self._parts)
        self._aliases = dict(aliases or {})

    def register(self, name: str, part: Part | None = None) -> Any:
        """Make `part` available by that name; without it, a decorator that does. A name that is taken is taken over.

        Raises:
          ValueError: the name has a colon, which is the mark of an imported part.
        """
        if ":" in name:
            raise ValueError(f"A {self.noun}'s name has no colon: '{name}'.")
        if part is None:
            return lambda decorated: self.register(name, decorated)
        self._parts[name] = part
        self._lazy.discard(name)
        self._aliases.pop(name, None)
        return part

    def remove(self, name: str) -> None:
        """The opposite of `register`. KeyError where there is none of that name."""
        del self._parts[name]
        self._lazy.discard(name)

    def copy(self) -> Registry[Part]:
        """Another registry of the same parts."""
        other: Registry[Part] = Registry(self.flag, self.noun, aliases=self._aliases, what=self.what)
        other._parts, other._lazy, other._built_in = dict(self._parts), set(self._lazy), self._built_in
        return other

    def names(self) -> list[str]:
        """The names, without aliases."""
        return list(self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        """Whether `find` would look for it: a name, an alias, or a path whose module is not imported here."""
        return isinstance(name, str) and (name in self._parts or name in self._aliases or is_path(name))

    def is_own(self, name: str | None) -> bool:
        """Whether it is a part that somebody else registered, or names by a path."""
        return name in self and self.canonical(str(name)) not in self._built_in

    def canonical(self, name: str) -> str:
        """The name that an alias stands for; any other word as it is."""
        return self._aliases.get(name, name)

    def registered(self, name: str) -> Part:
        """The part called `name`, a registered one: nothing is imported that only `name` says.

        Raises:
          UserError: nothing is registered by that name.
        """
        if name not in self._parts:
            raise UserError(f"No {self.noun} '{name}' is registered: import the module that registers it first.")
        return self.find(name)

    def own(self) -> list[tuple[str, Part]]:
        """The parts that somebody else registered, by name."""
        return [(name, self.find(name)) for name in self._parts if name not in self._built_in]

    def find(self, name: str | None) -> Part:
        """The part called `name`, or imported from `package.module:name`.

        Raises:
          UserError: nothing of that name, or nothing that can be imported and called.
        """
        name = self.canonical(str(name))
        if name in self._parts:
            if name in self._lazy:
                self._parts[name] = cast(Part, import_part(str(self._parts[name])))
                self._lazy.discard(name)
            return cast(Part, self._parts[name])
        if not is_path(name):
            raise UserError(
                f"Unknown {self.noun} '{name}': choose one of {', '.join(self)}, "
                f"or name your own as package.module:{self.what}."
            )
        try:
            found = import_part(name)
        except Exception as error:  # whatever goes wrong in somebody's module
            raise UserError(f"{self.noun.capitalize()} '{name}' cannot be imported: {reason(error)}.") from error
        if not callable(found):
            raise UserError(f"{self.noun.capitalize()} '{name}' is not a function.")
        return cast(Part, found)

    def build(self, name: str | None, setup: Any, kind: type[Made]) -> Made:
        """What the part called `name` makes of `setup`. What methods of somebody's own part raise becomes a `UserError`.

        Raises:
          UserError: as `find`; or somebody's own part raises, or makes something else than `kind`.
        """
        part = self.find(name)
        try:
            made = part(setup)  # type: ignore[operator]
        except Exception as error:
            if passes(error) or not self.is_own(name):
                raise
            raise self.failed(str(name), error) from error
        if not isinstance(made, kind):
            raise UserError(f"{self.noun.capitalize()} '{name}' must make a {kind.__name__}, not a {type(made).__name__}.")
        return guard(made, lambda method, error: self.failed(str(name), error, method)) if self.is_own(name) else made

    def function(self, name: str | None) -> Callable[..., Any]:
        """The part called `name`, a function; if it is somebody's own, what it raises becomes a `UserError`."""
        function: Any = self.find(name)
        if not self.is_own(name):
            return function

        @functools.wraps(function)
        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except Exception as error:
                if passes(error):
                    raise
                raise self.failed(str(name), error) from error

        return guarded

    def failed(self, name: str, error: Exception, method: str = "") -> UserError:
        """What to say of somebody's own part that raised, in its method of that name if there is one."""
        where = f" in {method}" if method else ""
        failure = PartFailure(f"{self.noun.capitalize()} '{name}' failed{where}: {described(error)} ({place(error)}).")
        failure.fault = error
        return failure


def is_path(name: str) -> bool:
    """Whether a value is of the form `package.module:name`, which is imported, and so executed."""
    return ":" in name


def import_part(path: str) -> Callable[..., Any]:
    """What `package.module:name` names; whatever importing the module raises."""
    if path in KNOWN:
        known: Callable[..., Any] = KNOWN[path]
        return known
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
