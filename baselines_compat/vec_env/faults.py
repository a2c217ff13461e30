"""What goes wrong in environments and in the processes that step them, as exceptions with one plain sentence each.

An environment is other people's code: it may raise anything, also what ends a process (`SystemExit`), what this project
raises itself (`OSError` of a full disk), what cannot be pickled, or what has no text. So every call of an environment is
made under `naming`, or with a handler that ends in `failure`, and what leaves is an `EnvironmentFailure` with the
exception's own type and text, whichever process it was raised in.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from baselines_compat.errors import UnusableOutput, UserError
from baselines_compat.vec_env.intake import old_interface

_LONGEST = 1000  # characters of an exception's text


class WorkerError(RuntimeError):
    """Rollouts cannot go on: an environment failed, or a worker process died."""


class EnvironmentFailure(WorkerError):
    """An environment raised, tried to end the process, or hung.

    The message is one sentence: which environment, in which call, the exception's type and text. In the process where it
    was raised, `__cause__` is the exception.

    Attributes:
      details: the traceback, as text; it survives pickling.
    """

    def __init__(self, sentence: str, details: str = ""):
        super().__init__(sentence, details)
        self.sentence, self.details = sentence, details

    def __str__(self) -> str:
        return self.sentence


def failure(error: BaseException, who: str, where: str) -> EnvironmentFailure | UnusableOutput:
    """The failure that `error` is: `who` failed in `where`. One that is named already stays as it is."""
    if isinstance(error, EnvironmentFailure | UnusableOutput):
        return error
    old = old_interface(error, who)
    if old is not None:
        return old
    details = "".join(traceback.format_exception(error))
    named = EnvironmentFailure(f"{who} failed in {where}: {described(error)}.", details)
    named.__cause__ = error
    return named


def described(error: BaseException) -> str:
    """Type and text of an exception on one line, without a full stop at its end."""
    try:
        text = " ".join(str(error).split()).rstrip(".")
    except Exception:  # whatever its __str__ does
        text = ""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_users(error: BaseException) -> bool:
    """Whether it is the user's Ctrl-C and not an environment's own KeyboardInterrupt.

    Handlers of this project raise a subclass; Python's own raises KeyboardInterrupt itself, where it is installed.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    return type(error) is not KeyboardInterrupt or signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextlib.contextmanager
def naming(who: str, where: str, *unchanged: type[BaseException]) -> Iterator[None]:
    """Whatever the block raises becomes what `failure` says, but for `unchanged` and the user's Ctrl-C."""
    try:
        yield
    except unchanged:
        raise
    except BaseException as error:
        if is_users(error):
            raise
        raise failure(error, who, where) from error


def name_of(env: Any) -> str:
    """The Gymnasium id of an environment, or the name of its class."""
    spec = getattr(env, "spec", None)
    return getattr(spec, "id", None) or type(env).__name__


def distinct(envs: Iterable[Any]) -> Iterator[Any]:
    """The environments one by one, as long as each is another one.

    Raises:
      UserError: one is there already, maybe in another wrapper: two that are stepped as if they were two would mix up.
    """
    seen: dict[int, Any] = {}
    for env in envs:
        inner = getattr(env, "unwrapped", env)
        if id(inner) in seen:
            raise UserError(
                f"The function that makes {name_of(env)} returned the same environment again: let it make a new one each "
                "time, or give the environment itself."
            )
        seen[id(inner)] = inner
        yield env
