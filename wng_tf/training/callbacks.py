"""Functions of the user's that `learn` calls after every update, in Baselines' form: `callback(locals, globals)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wng_tf.errors import UserError

Callback = Callable[..., Any]


class Names(dict[str, Any]):
    """The names of a function and what they are, as `locals()` gives them; also as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"There is no '{name}' here: there are {', '.join(sorted(self))}.") from None


class Callbacks:
    """One callback, several, or none. Calling it calls all of them, in their order.

    Args:
      given: functions of (locals, globals), or of the locals alone; None: there are none.

    Raises:
      UserError: something that cannot be called so.
    """

    def __init__(self, given: Callback | Sequence[Callback] | None):
        listed = [] if given is None else [given] if callable(given) else given
        if not isinstance(listed, list | tuple) or not all(map(callable, listed)):
            raise UserError(f"callback must be a function of (locals, globals), or a list of them, not {given!r}.")
        self._calls = [(one, _takes_globals(one)) for one in listed]

    @property
    def called(self) -> bool:
        """Whether there are any."""
        return bool(self._calls)

    def __call__(self, local: Names, world: Mapping[str, Any]) -> bool:
        """Whether training goes on: False if one of them returned False. None, and anything else, is no False."""
        returned = [one(local, world) if both else one(local) for one, both in self._calls]
        return not any(isinstance(value, bool | np.bool_) and not value for value in returned)


def _takes_globals(callback: Callback) -> bool:
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # written in C, and it does not say
        return True
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 2
    raise UserError(f"callback {callback!r} must take (locals, globals), as in Baselines, or the locals alone.")
