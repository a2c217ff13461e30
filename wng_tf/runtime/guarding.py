"""Somebody's own parts: what one of their methods raises becomes a sentence that names the part and the method."""

from __future__ import annotations

import abc
import contextlib
import functools
import inspect
import sysconfig
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import baselines_compat
import wng_tf
from baselines_compat.errors import NonFiniteError
from wng_tf.errors import UserError
from wng_tf.runtime import faults

Made = TypeVar("Made")
#: Folders of packages, by name and by place: a part is in none of them. A project of the user's may be called as this one is.
_PACKAGES = {"site-packages", "dist-packages"}
_PLACES = [Path(str(one.__file__)).parent for one in (wng_tf, baselines_compat)] + [Path(sysconfig.get_path("stdlib"))]


class PartFailure(UserError):
    """Somebody's own part raised `fault`, which is its cause. TensorFlow takes causes away from what passes through it."""

    fault: Exception | None = None


Failed = Callable[[str, Exception], UserError]
"""From the name of a method and what it raised."""


def guard(part: Made, failed: Failed, prefix: str = "") -> Made:
    """The same object, whose public methods and properties raise what `failed` makes of their exceptions.

    So do the functions that they return, and objects of this package's abstract classes (a metric's operator). What has a
    meaning of its own passes as it is: UserError, NonFiniteError, and memory that is not enough.

    Args:
      prefix: what the names of methods begin with.
    """
    own = type(part)
    guarded: dict[str, Any] = {}
    for name in dir(own):
        if name.startswith("_") and name != "__call__":
            continue
        member = inspect.getattr_static(own, name)
        if isinstance(member, types.FunctionType):
            guarded[name] = _guarded(member, f"{prefix}{name}", failed)
        elif isinstance(member, property) and member.fget is not None:
            guarded[name] = property(_guarded(member.fget, f"{prefix}{name}", failed), member.fset, member.fdel)
    about = {"_guarded": True, "__module__": own.__module__, "__doc__": own.__doc__}
    # An object that cannot change its class (one with slots) stays as it is, and one whose class allows no subclass of it.
    with contextlib.suppress(Exception):
        object.__setattr__(part, "__class__", type(own.__name__, (own,), {**guarded, **about}))  # of frozen ones, too
    return part


def place(error: BaseException) -> str:
    """Where the exception comes from, as `file.py, line 7`: the last line that is nobody's package, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_packages(Path(frame.filename))]
    last = own[-1] if own else frames[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


def _is_packages(file: Path) -> bool:
    return bool(_PACKAGES & set(file.parts)) or any(file.is_relative_to(place) for place in _PLACES)


def passes(error: Exception) -> bool:
    """Whether an exception has a meaning of its own, whoever raised it."""
    return isinstance(error, (UserError, NonFiniteError)) or faults.is_out_of_memory(error)


def _guarded(function: Callable[..., Any], name: str, failed: Failed) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*arguments: Any, **more: Any) -> Any:
        try:
            result = function(*arguments, **more)
        except Exception as error:
            if passes(error):
                raise
            raise failed(name, error) from error
        if isinstance(result, tuple) and type(result) is tuple:
            return tuple(_guarded_result(one, name, failed) for one in result)
        return _guarded_result(result, name, failed)

    return called


def _guarded_result(result: Any, name: str, failed: Failed) -> Any:
    if isinstance(result, (types.FunctionType, types.MethodType)):
        return _guarded(result, name, failed)
    if _is_operator(type(result)) and not getattr(type(result), "_guarded", False):  # it may return it again
        return guard(result, failed, f"{name}().")
    return result


def _is_operator(kind: type) -> bool:
    """Whether the class is made from an abstract one of this package. TensorFlow has abstract ones, too: of its variables."""
    bases = (base for base in kind.__mro__ if isinstance(base, abc.ABCMeta))
    return any(base.__module__.partition(".")[0] == wng_tf.__name__ for base in bases)
