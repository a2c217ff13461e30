"""An environment in a process of its own, which imports no TensorFlow.

Two libraries that each bring a compiler of their own, TensorFlow and OpenGL in software, do not go together in one process:
drawing there ends it. So what is drawn while a policy acts through TensorFlow is stepped, and drawn, elsewhere.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

import gymnasium

from baselines_compat.vec_env.faults import WorkerError, name_of
from baselines_compat.vec_env.processes import end, ending, ignore_stop_signals, start_process, survives_pickling
from wng_tf.envs import traits
from wng_tf.envs.tasks import Task

#: Seconds for the process to leave the context, which may write a film, after something failed.
_PATIENCE = 10.0

Context = Callable[[], AbstractContextManager[gymnasium.Env]]


def placed(
    context: Context, task: Task, opengl: Collection[str], own_process: bool | None
) -> AbstractContextManager[gymnasium.Env]:
    """`context()`, in a process of its own if `own_process` says so and the task is not of an object of this process.

    Args:
      opengl: kinds of tasks for whose drawing OpenGL is needed.
      own_process: None: if OpenGL is to draw, and TensorFlow is in this process already.

    Raises:
      WorkerError: see `apart`.
    """
    if own_process is None:
        own_process = task.kind in opengl and "tensorflow" in sys.modules
    return apart(context, task.name) if own_process and task.held is None else context()


@contextlib.contextmanager
def apart(context: Context, who: str) -> Iterator[gymnasium.Env]:
    """Enters `context()` in a process of its own; resets and steps of the environment yielded here happen there.

    The context is left there when it is left here, after an exception by one. Infos stay there.

    Args:
      context: can be pickled.
      who: names the environment, should the process die.

    Raises:
      WorkerError: the process died; else what is raised there.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(context, theirs))  # no daemon: an environment may start processes, too
    with _without_main() if b"__main__" not in pickle.dumps(context) else contextlib.nullcontext():
        start_process(process)
    theirs.close()
    try:
        line = _Line(ours, process, who)
        yield _Remote(line)
        line.ask("leave")
        end(process, _PATIENCE)
    finally:
        ours.close()  # while the context is still entered, this ends it by an exception
        end(process, _PATIENCE)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A process that is started in the block does not run the user's script again, which may import TensorFlow."""
    main = sys.modules["__main__"]
    before: dict[str, Any] = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    try:
        vars(main).update(__spec__=None, __file__=None)
        yield
    finally:
        for name in ("__spec__", "__file__"):
            vars(main).pop(name, None)
        vars(main).update(before)


class _Line:
    """Questions to the process, and its answers."""

    def __init__(self, pipe: Connection, process: BaseProcess, who: str):
        self._pipe, self._process, self._who = pipe, process, who

    def answer(self) -> Any:
        """What the process says next.

        Raises:
          WorkerError: nothing, for it has died; else what it raised.
        """
        try:
            fine, value = self._pipe.recv()
        except (EOFError, OSError):
            how = ending(self._process)
            raise WorkerError(f"The process that draws {self._who} ended unexpectedly {how}.") from None
        if fine:
            return value
        raise value if isinstance(value, BaseException) else WorkerError(f"Drawing {self._who} failed:\n{value}")

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer to a command."""
        with contextlib.suppress(OSError):  # a process that has died is noticed where its answer is awaited
            self._pipe.send((command, arguments))
        return self.answer()


class _Remote(gymnasium.Env):
    """The environment as this process sees it."""

    def __init__(self, line: _Line):
        self._line = line
        about = line.answer()
        self.observation_space, self.action_space = about["spaces"]
        self.metadata = about["metadata"]
        self.spec: Any = SimpleNamespace(id=about["name"], max_episode_steps=about["limit"])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._line.ask("reset", seed=seed, options=options)

    def step(self, action: Any) -> Any:
        return self._line.ask("step", action=action)


class _Abandoned(Exception):
    """The other end is gone."""


def _serve(context: Context, pipe: Connection) -> None:
    """The process's life. It answers (True, result), or (False, the exception or its traceback)."""
    ignore_stop_signals()
    try:
        with context() as world:
            about = {"spaces": (world.observation_space, world.action_space), "metadata": dict(world.metadata)}
            pipe.send((True, {**about, "name": name_of(world), "limit": traits.limit_of(world)}))
            while (asked := _next(pipe))[0] != "leave":
                command, arguments = asked
                pipe.send((True, _without_info(getattr(world, command)(**arguments))))
        pipe.send((True, None))
    except _Abandoned:
        pass
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.send((False, error if survives_pickling(error) else traceback.format_exc()))


def _next(pipe: Connection) -> tuple[str, dict[str, Any]]:
    try:
        command, arguments = pipe.recv()
    except (EOFError, OSError):
        raise _Abandoned from None
    return command, arguments


def _without_info(result: Any) -> Any:
    """An info may hold anything, such as what cannot be sent."""
    if isinstance(result, tuple) and result and isinstance(result[-1], dict):
        return (*result[:-1], {})
    return result
