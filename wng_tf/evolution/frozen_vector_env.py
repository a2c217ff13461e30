"""Worlds of any Gymnasium task that stop at the end of their episode, stepped by one process or several.

Gymnasium's own vector environments start a new episode in a world that ended, or refuse to step; a population wants
neither: each member runs one episode, and the others go on. Here an ended world is frozen until it is reset: it costs
nothing, its observation stays, its reward is zero. Otherwise this is a Gymnasium VectorEnv with autoreset disabled.

With several workers the worlds are dealt out to spawned processes, which import no TensorFlow and share the arrays with
this process, so that a step costs one short message a worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from baselines_compat.vec_env import WorkerError
from wng_tf.envs import tasks

Buffers = dict[str, NDArray[Any]]

_FROZEN = -1  # in place of a seed: this world is not reset and stays frozen


class FrozenVectorEnv(gymnasium.vector.VectorEnv[NDArray[np.float64], NDArray[Any], NDArray[Any]]):
    """`num_envs` worlds of the task called `name` (as for `wng_tf.envs.tasks.make`)."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}  # noqa: RUF012

    def __init__(self, name: str, num_envs: int, *, num_workers: int = 1, **kwargs: Any):
        """Makes the worlds.

        Args:
            name: of the task.
            num_envs: number of worlds.
            num_workers: processes that step them; 1 steps them in this one. The numbers do not depend on it.
            **kwargs: for the environments.

        Raises:
            UserError: as for `tasks.make`.
        """
        probe = tasks.make(name, **kwargs)
        self.spec = probe.spec
        self.num_envs = num_envs
        self.single_observation_space = probe.observation_space
        self.single_action_space = probe.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        probe.close()

        workers = min(num_workers, num_envs)
        layout = _layout(num_envs, self.single_observation_space, self.single_action_space)
        # World i belongs to worker i mod workers, so that the last worlds to end are spread over all of them.
        shares = [range(k, num_envs, workers) for k in range(workers)]
        self._memory: SharedMemory | None = None
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._pipes: list[Connection] = []
        if workers == 1:
            self._buffers = _views(layout, bytearray(_size(layout)))
            self._local = _Worlds(name, kwargs, shares[0], self._buffers)
            return
        self._memory = SharedMemory(create=True, size=_size(layout))
        self._buffers = _views(layout, self._memory.buf)
        context = multiprocessing.get_context("spawn")
        for share in shares:
            ours, theirs = context.Pipe()
            arguments = (name, kwargs, share, layout, self._memory.name, theirs)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        try:
            self._collect()
        except BaseException:
            self.close()
            raise

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
        self._command("reset")
        return self._buffers["observation"].copy(), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of every world that has not ended. An ended one keeps observation and flags, and has reward 0."""
        buffers = self._buffers
        buffers["action"][:] = actions
        self._command("step")
        return (
            buffers["observation"].copy(),
            buffers["reward"].copy(),
            buffers["terminated"].copy(),
            buffers["truncated"].copy(),
            {},
        )

    def _command(self, command: str) -> None:
        if not self._pipes:
            getattr(self._local, command)()
            return
        with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed when its answer is collected
            for pipe in self._pipes:
                pipe.send(command)
        self._collect()

    def _collect(self) -> None:
        failures = []
        for pipe in self._pipes:
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                answer = "A rollout worker ended unexpectedly (killed, or out of memory)."
            if answer is not None:
                failures.append(answer)
        if failures:
            raise WorkerError(failures[0])

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the worlds and ends the workers."""
        if not self._pipes and self._memory is None:
            self._local.close()
            return
        for pipe in self._pipes:
            pipe.close()  # a worker ends when its pipe does
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
        self._pipes, self._processes = [], []
        if self._memory is not None:
            self._buffers = {}
            self._memory.close()
            self._memory.unlink()
            self._memory = None


class _Worlds:
    """The worlds of one process: reads seeds and actions from the buffers, writes what came of them."""

    def __init__(self, name: str, kwargs: dict[str, Any], share: Sequence[int], buffers: Buffers):
        self._buffers = buffers
        self._envs = [(i, tasks.make(name, **kwargs)) for i in share]
        self._active: list[tuple[int, gymnasium.Env[Any, Any]]] = []
        self._just_ended: list[int] = []  # worlds whose last reward still stands in the buffer
        self._discrete = buffers["action"].ndim == 1
        if tasks.resolve(name).kind == "pybullet":
            # A Bullet world's first episode is unlike its others (the floor counts as a part from the second on), so that
            # without this a return would tell how long its world has lived.
            for _, env in self._envs:
                env.reset(seed=0)

    def reset(self) -> None:
        self._active, self._just_ended = [], []
        buffers = self._buffers
        for i, env in self._envs:
            frozen = buffers["seed"][i] == _FROZEN
            buffers["reward"][i] = 0.0
            buffers["truncated"][i] = False
            buffers["terminated"][i] = frozen
            if not frozen:
                buffers["observation"][i] = env.reset(seed=int(buffers["seed"][i]))[0]
                self._active.append((i, env))

    def step(self) -> None:
        buffers = self._buffers
        observations, rewards = buffers["observation"], buffers["reward"]
        ended = False
        for i, env in self._active:
            action = buffers["action"][i]
            observations[i], rewards[i], terminated, truncated, _ = env.step(int(action) if self._discrete else action)
            if terminated or truncated:
                buffers["terminated"][i], buffers["truncated"][i] = terminated, truncated
                ended = True
        if self._just_ended:
            rewards[self._just_ended] = 0.0
        self._just_ended = []
        if ended:
            over = buffers["terminated"] | buffers["truncated"]
            self._just_ended = [i for i, _ in self._active if over[i]]
            self._active = [(i, env) for i, env in self._active if not over[i]]

    def close(self) -> None:
        for _, env in self._envs:
            env.close()


def _work(
    name: str, kwargs: dict[str, Any], share: Sequence[int], layout: dict[str, Any], memory: str, pipe: Connection
) -> None:
    """A worker's life: make the worlds, then obey until the pipe closes. Answers None, or the text of a fault."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which saves and then closes the pipe
    shared = SharedMemory(name=memory)
    try:
        worlds = _Worlds(name, kwargs, share, _views(layout, shared.buf))
        pipe.send(None)
        while True:
            getattr(worlds, pipe.recv())()
            pipe.send(None)
    except (EOFError, OSError):
        pass  # the other end is gone
    except BaseException:
        pipe.send(traceback.format_exc())


def _layout(
    num_envs: int, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each shared array."""
    return {
        "seed": ((num_envs,), "int64"),
        "observation": ((num_envs, *observation.shape), "float64"),
        "action": ((num_envs, *action.shape), "float32" if isinstance(action, gymnasium.spaces.Box) else "int64"),
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
