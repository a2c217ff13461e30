"""Functions and classes by the name that a flag has for them, `package.module:name`, and back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from baselines_compat.vec_env.faults import described, is_users
from wng_tf.errors import UserError
from wng_tf.runtime.registry import KNOWN


def name_of(thing: Any) -> str | None:
    """`package.module:name` of a function or class at the top level of a module; None if it is none.

    Of a script that is being run, the module is the name of its file.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not name.isidentifier():
        return None
    if getattr(sys.modules.get(module), name, None) is not thing:
        return None
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        module = "" if file is None else Path(file).stem
        if not module.isidentifier():
            return None
    path = f"{module}:{name}"
    KNOWN[path] = thing
    return path


def find(path: str, flag: str) -> Callable[..., Any]:
    """What `package.module:name` names.

    Args:
      flag: what named it, for the message.

    Raises:
      UserError: it is not of that form, cannot be imported, or is nothing that can be called.
    """
    if path in KNOWN:
        found: Callable[..., Any] = KNOWN[path]
        return found
    module, colon, name = path.partition(":")
    if not (colon and module and name):
        raise UserError(f"--{flag}={path}: write it as package.module:name.")
    thing = getattr(import_module(module, f"--{flag}={path}"), name, None)
    if not callable(thing):
        raise UserError(f"--{flag}={path}: the module '{module}' has no {name} that can be called.")
    return thing


def import_module(module: str, who: str) -> Any:
    """The module. UserError if it cannot be imported, whatever it raises."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{who}: module {module!r} cannot be imported ({error}). Install it, or correct its name.") from error
    except BaseException as error:  # a module may raise anything, and may end the process
        if is_users(error):
            raise
        raise UserError(f"{who}: module {module!r} cannot be imported ({described(error)}). Correct it.") from error
