"""Somebody's own parts: what one of their methods raises becomes a sentence that names the part and the method."""

from __future__ import annotations

import abc
import contextlib
import functools
import inspect
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from baselines_compat.errors import NonFiniteError
from wng_tf.errors import UserError
from wng_tf.runtime import faults

Made = TypeVar("Made")
#: Folders of packages, this one among them: a part is in none of them.
_PACKAGES = {"site-packages", "dist-packages", "wng_tf", "baselines_compat"}


class PartFailure(UserError):
    """Somebody's own part raised `fault`, which is its cause. TensorFlow takes causes away from what passes through it."""

    fault: Exception | None = None


Failed = Callable[[str, Exception], UserError]
"""From the name of a method and what it raised."""


def guard(part: Made, failed: Failed, prefix: str = "") -> Made:
    """The same object, whose public methods and properties raise what `failed` makes of their exceptions.

    So do the functions that they return, and objects of abstract classes (a metric's operator). What has a meaning of its
    own passes as it is: UserError, NonFiniteError, and memory that is not enough.

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
    with contextlib.suppress(TypeError):  # an object that cannot change its class, such as one with slots, stays as it is
        part.__class__ = type(own.__name__, (own,), {**guarded, **about})
    return part


def place(error: BaseException) -> str:
    """Where the exception comes from, as `file.py, line 7`: the last line that is nobody's package, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _PACKAGES & set(Path(frame.filename).parts)]
    last = own[-1] if own else frames[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


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
    if isinstance(type(result), abc.ABCMeta) and not getattr(type(result), "_guarded", False):  # it may return it again
        return guard(result, failed, f"{name}().")
    return result
