"""Worlds of any Gymnasium task that stop at the end of their episode, stepped by this process or by one of their own.

Gymnasium's own vector environments start a new episode in a world that ended, or refuse to step; a population wants
neither: each member runs one episode, and the others go on. Here an ended world is frozen until it is reset: it costs
nothing, its observation stays, its reward is zero. Otherwise this is a Gymnasium VectorEnv with autoreset disabled.

A process of their own is spawned, imports no TensorFlow, and shares the arrays with this process, so that a step costs one
short message each way.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from baselines_compat.actions import chosen_shape
from baselines_compat.conform import shape_of
from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError, distinct, failure, is_users, naming
from baselines_compat.vec_env.intake import Intake
from baselines_compat.vec_env.processes import end, ending, ignore_stop_signals, start_process, survives_pickling
from baselines_compat.vec_env.shared_memory import SharedMemory
from baselines_compat.vec_env.watched import Watched
from wng_tf.envs import tasks

Buffers = dict[str, NDArray[Any]]

_PATIENCE = 5.0  # seconds for a process to close its worlds, and to end
_FROZEN = -1  # in place of a seed: this world is not reset and stays frozen


class FrozenVectorEnv(gymnasium.vector.VectorEnv[NDArray[np.float64], NDArray[Any], NDArray[Any]]):
    """`num_envs` worlds of a task."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}  # noqa: RUF012

    def __init__(
        self, name: str | tasks.Task, num_envs: int, *, own_process: bool = False, timeout: float = 0.0, **kwargs: Any
    ):
        """Makes the worlds. A process of their own starts by itself; the first call waits for it.

        Args:
          name: of the task, or the task, as for `wng_tf.envs.tasks.make`.
          num_envs: number of worlds.
          own_process: step them in a process of their own. The numbers do not depend on it.
          timeout: seconds after which a world that does not come back is given up (EnvironmentFailure); 0: never.
          **kwargs: for the environments.

        Raises:
          UserError, EnvironmentFailure: as for `tasks.make`.
        """
        watched, task = Watched(timeout), tasks.resolve(name)
        probe = watched.call(lambda: tasks.make(task, **kwargs), lambda: task.name)
        self.spec = probe.spec
        self.num_envs = num_envs
        self.single_observation_space = probe.observation_space
        self.single_action_space = probe.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        held = probe if task.held is not None else None  # an object, which cannot be made again
        with naming(task.name, "close"):
            probe.close() if held is None else None
        layout = _layout(num_envs, self.single_observation_space, self.single_action_space)
        self._worlds: _Process | _Worlds
        if own_process:
            watched.close()
            self._worlds = _Process(task, kwargs, layout, timeout)
            self._buffers = _views(layout, self._worlds.memory.buf)
        else:
            self._buffers = _views(layout, bytearray(_size(layout)))
            self._worlds = _Worlds(task, kwargs, self._buffers, watched, held)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Starts an episode in every world, or in those of `options["reset_mask"]` (bool [num_envs]); the others
        freeze.

        Args:
          seed: one per world, or an int s for s, s + 1, ...

        Raises:
          ValueError: no seeds, or the wrong number of them.
        """
        if seed is None:
            raise ValueError("FrozenVectorEnv.reset needs seeds: one per world, or one int.")
        seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} worlds")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_)))
        self._buffers["seed"][:] = np.where(mask, np.array(seeds, np.int64), _FROZEN)
        self._worlds.call("reset")
        return self._buffers["observation"].copy(), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of every world that has not ended. An ended one keeps observation and flags, and has reward 0."""
        buffers = self._buffers
        buffers["action"][:] = actions
        self._worlds.call("step")
        return (
            buffers["observation"].copy(),
            buffers["reward"].copy(),
            buffers["terminated"].copy(),
            buffers["truncated"].copy(),
            {},
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the worlds and ends their process.

        Raises:
          EnvironmentFailure: closing a world raised.
        """
        self._buffers = {}
        if isinstance(self._worlds, _Process):
            self._worlds.close()
        else:
            self._worlds.call("close")


class _Process:
    """A spawned process with worlds, and the memory that it shares with this one."""

    def __init__(self, task: tasks.Task, kwargs: dict[str, Any], layout: dict[str, Any], timeout: float):
        self.memory = SharedMemory(_size(layout))
        self._name = task.name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(task, kwargs, layout, timeout, theirs), daemon=True)
        start_process(self.process)
        theirs.close()
        with contextlib.suppress(OSError):  # a dead process is noticed when its answer is awaited
            assert self.process.pid is not None  # it was started
            self.memory.send(self._pipe, self.process.pid)
        self._ready = False

    def call(self, command: str) -> None:
        """Have the worlds do it, and wait until they have.

        Raises:
          WorkerError: the process failed, now or when it made the worlds.
        """
        if not self._ready:
            self._answer()
            self._ready = True
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(command)
        self._answer()

    def _answer(self) -> None:
        try:
            fault = self._pipe.recv()
        except (EOFError, OSError):
            how = ending(self.process)
            fault = WorkerError(f"A rollout worker of {self._name} ended unexpectedly {how}; continue with --resume.")
        if isinstance(fault, str):
            fault = WorkerError(f"A rollout worker of {self._name} failed:\n{fault}")
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Ends the process and lets go of the memory. EnvironmentFailure, if closing the worlds raised."""
        fault = None
        with contextlib.suppress(EOFError, OSError):
            self._pipe.send("close")
            if self._pipe.poll(_PATIENCE):
                fault = self._pipe.recv()
        self._pipe.close()
        end(self.process, _PATIENCE)
        self.memory.close()
        if self._ready and isinstance(fault, EnvironmentFailure):
            raise fault


class _Worlds:
    """The worlds themselves: reads seeds and actions from the buffers, writes what came of them. `made`: the only one."""

    def __init__(self, task: tasks.Task, kwargs: dict[str, Any], buffers: Buffers, watched: Watched, made: Any = None):
        self._name, self._task = task.name, task
        self._watched = watched
        self._at = 0  # the world that is at work
        self._buffers = buffers
        self._kwargs = kwargs
        self._bullet = task.kind == "pybullet"
        self._envs: list[gymnasium.Env[Any, Any]] = []
        self._watch(lambda: self._envs.extend(distinct(self._make(made) for _ in buffers["seed"])))
        self._intake = Intake(self._envs[0], task.name)
        # Members of Discrete are numbers; those of a Box of no axes are arrays.
        self._one_number = chosen_shape(self._envs[0].action_space) == ()
        self._active: list[tuple[int, gymnasium.Env[Any, Any]]] = []
        self._just_ended: list[int] = []  # worlds whose last reward still stands in the buffer
        self._complete = set(range(len(self._envs)))  # worlds whose last episode ended by itself, or that had none

    def _make(self, made: gymnasium.Env[Any, Any] | None = None) -> gymnasium.Env[Any, Any]:
        env = made or tasks.make(self._task, **self._kwargs)
        if self._bullet:
            # A Bullet world's first episode is unlike its others (the floor counts as a part from the second on), so that
            # without this a return would tell how long its world has lived. No monitor needs to know of it.
            with naming(self._name, "reset"):
                env.unwrapped.reset(seed=0)
        return env

    def call(self, command: str) -> None:
        """Do it: "reset", "step" or "close".

        Raises:
          EnvironmentFailure: a world raised.
          UnusableOutput: it returned something whose meaning is not clear.
        """
        if command != "close" or self._watched.hung is None:
            self._watch(getattr(self, command))

    def _watch(self, function: Callable[[], Any]) -> None:
        self._watched.call(function, lambda: self._name, lambda: (len(self._envs), self._at))

    def reset(self) -> None:
        self._active, self._just_ended = [], []
        buffers = self._buffers
        for i in range(len(self._envs)):
            self._at = i
            frozen = buffers["seed"][i] == _FROZEN
            buffers["reward"][i] = 0.0
            buffers["truncated"][i] = False
            buffers["terminated"][i] = frozen
            if not frozen:
                buffers["observation"][i] = self._begin(i, int(buffers["seed"][i]))
                self._active.append((i, self._envs[i]))

    def _begin(self, i: int, seed: int) -> NDArray[Any]:
        """The first observation of an episode in world i.

        A horizon may have cut its last one, and a monitor may refuse to begin another then: a fresh world does not.
        """
        ended = i in self._complete
        self._complete.discard(i)
        try:
            return self._start(i, seed)
        except EnvironmentFailure:
            if ended:
                raise
        with contextlib.suppress(Exception):
            self._envs[i].close()
        self._envs[i] = self._make()
        return self._start(i, seed)

    def _start(self, i: int, seed: int) -> NDArray[Any]:
        with naming(self._name, "reset"):
            result = self._envs[i].reset(seed=seed)
        return self._intake.reset(result)[0]

    def step(self) -> None:
        buffers = self._buffers
        observations, rewards = buffers["observation"], buffers["reward"]
        take = self._intake.step
        actions = buffers["action"].copy()  # the buffer is written again, and an environment may keep what it was sent
        ended = False
        for i, env in self._active:
            self._at = i
            try:
                result = env.step(actions[i] if self._one_number else actions[i, ...])
            except BaseException as error:
                if is_users(error):
                    raise
                raise failure(error, self._name, "step") from error
            observations[i], rewards[i], terminated, truncated, _ = take(result)
            if terminated or truncated:
                buffers["terminated"][i], buffers["truncated"][i] = terminated, truncated
                ended = True
                if terminated:  # of an outer time limit what is inside does not know
                    self._complete.add(i)
        if self._just_ended:
            rewards[self._just_ended] = 0.0
        self._just_ended = []
        if ended:
            over = buffers["terminated"] | buffers["truncated"]
            self._just_ended = [i for i, _ in self._active if over[i]]
            self._active = [(i, env) for i, env in self._active if not over[i]]

    def close(self) -> None:
        """Closes every world, also after one of them raised."""
        with naming(self._name, "close"), contextlib.ExitStack() as stack:
            for env in self._envs:
                stack.callback(env.close)
            self._envs = []


def _work(task: tasks.Task, kwargs: dict[str, Any], layout: dict[str, Any], timeout: float, pipe: Connection) -> None:
    """The process's life: make the worlds, then obey until the pipe closes. Answers None, or how it failed."""
    ignore_stop_signals()
    worlds = None
    try:
        memory = SharedMemory.receive(pipe, _size(layout))
        worlds = _Worlds(task, kwargs, _views(layout, memory.buf), Watched(timeout))
        pipe.send(None)
        while True:
            command = pipe.recv()
            worlds.call(command)
            pipe.send(None)
            if command == "close":
                return
    except (EOFError, ConnectionError):
        pass  # the other end is gone; what environments raise has another type
    except BaseException as error:
        known = isinstance(error, EnvironmentFailure) or (isinstance(error, ValueError) and survives_pickling(error))
        with contextlib.suppress(ConnectionError):
            pipe.send(error if known else traceback.format_exc())
    if worlds is not None:
        with contextlib.suppress(EnvironmentFailure):
            worlds.call("close")


def _layout(
    num_envs: int, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each shared array."""
    return {
        "seed": ((num_envs,), "int64"),
        "observation": ((num_envs, *shape_of(observation)), "float64"),
        "action": ((num_envs, *shape_of(action)), str(action.dtype)),
        "reward": ((num_envs,), "float64"),
        "terminated": ((num_envs,), "bool"),
        "truncated": ((num_envs,), "bool"),
    }


def _size(layout: dict[str, tuple[tuple[int, ...], str]]) -> int:
    return sum(_bytes(shape, dtype) for shape, dtype in layout.values())


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 64) * 64  # whole cache lines


def _views(layout: dict[str, tuple[tuple[int, ...], str]], memory: Any) -> Buffers:
    views, start = {}, 0
    for name, (shape, dtype) in layout.items():
        views[name] = np.ndarray(shape, dtype, buffer=memory, offset=start)
        start += _bytes(shape, dtype)
    return views
