"""Environments in spawned worker processes that share memory with this one. Workers import no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import traceback
from collections.abc import Sequence
from multiprocessing import shared_memory
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

from baselines_compat.actor import Actor, ActorSpec
from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env.normalizer import Normalizer
from baselines_compat.vec_env.slot import EnvSlot, EpisodeRecord, SegmentArrays
from baselines_compat.vec_env.vec_env import EnvFn, VecEnv, lock_step


class WorkerError(RuntimeError):
    """A worker process failed or died."""


class _Memory(shared_memory.SharedMemory):
    """Shared memory that lives as long as arrays in it are used, here or elsewhere."""

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # arrays are in use: the memory goes with the last of them
            super().close()


def _arrays_in(buffer: memoryview, steps: int, obs_size: int, action_space: gym.Space, num_env: int) -> SegmentArrays:
    views, start = {}, 0
    for name, (shape, dtype) in SegmentArrays.layout(steps, obs_size, action_space).items():
        full = (num_env, *shape)
        # Not np.ndarray(buffer=...): such an array would not keep the memory from being unmapped under it.
        views[name] = np.frombuffer(buffer, dtype, int(np.prod(full)), start).reshape(full)
        start += _aligned(views[name].nbytes)
    return SegmentArrays(**views)


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def _bytes(steps: int, obs_size: int, action_space: gym.Space, num_env: int) -> int:
    layout = SegmentArrays.layout(steps, obs_size, action_space)
    return sum(_aligned(num_env * int(np.prod(shape)) * np.dtype(dtype).itemsize) for shape, dtype in layout.values())


class _Worker:
    """What runs in a worker process: some slots, and a loop over commands."""

    def __init__(self, env_fns: Sequence[EnvFn], indices: Sequence[int], seed: int, num_env: int):
        self.indices = indices
        self.slots = [EnvSlot(fn, i, seed) for fn, i in zip(env_fns, indices, strict=True)]
        self.num_env = num_env
        self._memory: _Memory | None = None
        self._arrays: SegmentArrays | None = None

    def spaces(self) -> tuple[gym.Space, gym.Space]:
        return self.slots[0].env.observation_space, self.slots[0].env.action_space

    def collect(self, name: str, steps: int, spec: ActorSpec, flat: np.ndarray, snapshot: Any, settings: Any) -> list:
        if self._memory is None or self._memory.name != name:
            self._release()
            self._memory = _Memory(name=name)
            observation_space, action_space = self.spaces()
            size = int(np.prod(observation_space.shape))
            self._arrays = _arrays_in(self._memory.buf, steps, size, action_space, self.num_env)
        actor = Actor(spec, flat)
        return [
            slot.collect(actor, snapshot, settings, self._arrays.of(i))
            for i, slot in zip(self.indices, self.slots, strict=True)
        ]

    def reset(self) -> list[np.ndarray]:
        for slot in self.slots:
            slot.pending = slot.reset()
        return [slot.pending for slot in self.slots]

    def step(self, actions: Sequence[Any]) -> list[tuple]:
        return [lock_step(slot, action) for slot, action in zip(self.slots, actions, strict=True)]

    def get_state(self) -> list[dict]:
        return [slot.state() for slot in self.slots]

    def set_state(self, states: Sequence[dict]) -> None:
        for slot, state in zip(self.slots, states, strict=True):
            slot.restore(state)

    def _release(self) -> None:
        self._arrays = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def close(self) -> None:
        self._release()
        for slot in self.slots:
            slot.close()


def _serve(pipe: Connection, env_fns: Sequence[EnvFn], indices: Sequence[int], seed: int, num_env: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business: it closes the workers
    worker = None
    try:
        worker = _Worker(env_fns, indices, seed, num_env)
        pipe.send(("ok", worker.spaces()))
        while True:
            command, args = pipe.recv()
            if command == "close":
                break
            pipe.send(("ok", getattr(worker, command)(*args)))
    except NonFiniteError as error:
        pipe.send(("non-finite", str(error)))
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone
    except Exception as error:
        # What is wrong with the environment's arguments is the user's to correct, wherever the environment is made.
        bad_input = worker is None and isinstance(error, ValueError)
        pipe.send(("bad input", error) if bad_input else ("error", traceback.format_exc()))
    finally:
        if worker is not None:
            worker.close()
        pipe.close()


@dataclasses.dataclass
class _Handle:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    indices: list[int]


class SubprocVecEnv(VecEnv):
    """Environments spread over `num_workers` spawned processes, neighbours together.

    Args:
      env_fns: picklable functions that make the environments (module-level functions, or partials of them).
      seed: seed of the run.
      num_workers: how many processes; default one per environment.

    Raises:
      ValueError: an environment refused to be made; as it would be raised in this process.
      WorkerError: a worker failed to start, raised, or died.
    """

    def __init__(self, env_fns: Sequence[EnvFn], seed: int = 0, num_workers: int | None = None):
        count = min(num_workers or len(env_fns), len(env_fns))
        context = multiprocessing.get_context("spawn")
        self._workers: list[_Handle] = []
        self._memory: _Memory | None = None
        self._arrays: SegmentArrays | None = None
        self._steps = 0
        for indices in np.array_split(np.arange(len(env_fns)), count):
            indices = [int(i) for i in indices]
            ours, theirs = context.Pipe()
            args = (theirs, [env_fns[i] for i in indices], indices, seed, len(env_fns))
            process = context.Process(target=_serve, args=args, daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Handle(process, ours, indices))
        try:
            observation_space, action_space = self._receive()[0]
        except BaseException:
            self.close()
            raise
        super().__init__(len(env_fns), observation_space, action_space)

    def _receive(self) -> list[Any]:
        replies = []
        for number, worker in enumerate(self._workers):
            try:
                status, value = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join(timeout=5)
                raise WorkerError(
                    f"Rollout worker {number} died (exit code {worker.process.exitcode}); continue with --resume."
                ) from None
            if status == "non-finite":
                raise NonFiniteError(value)
            if status == "bad input":
                raise value
            if status == "error":
                raise WorkerError(f"Rollout worker {number} failed:\n{value}")
            replies.append(value)
        return replies

    def _ask(self, command: str, args_of: Any = lambda worker: ()) -> list[Any]:
        for number, worker in enumerate(self._workers):
            try:
                worker.pipe.send((command, args_of(worker)))
            except (BrokenPipeError, ConnectionResetError):
                raise WorkerError(f"Rollout worker {number} is gone; continue with --resume.") from None
        return self._receive()

    def reset(self) -> np.ndarray:
        return np.stack([observation for part in self._ask("reset") for observation in part])

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        actions = self._actions
        parts = self._ask("step", lambda worker: ([actions[i] for i in worker.indices],))
        observations, rewards, dones, infos = zip(*[result for part in parts for result in part], strict=True)
        return np.stack(observations), np.asarray(rewards), np.asarray(dones), list(infos)

    def collect(
        self, spec: ActorSpec, flat: np.ndarray, nsteps: int, normalizer: Normalizer
    ) -> tuple[SegmentArrays, list[list[EpisodeRecord]]]:
        if self._steps != nsteps:
            self._allocate(nsteps)
        args = (self._memory.name, nsteps, spec, flat[: spec.size], normalizer.snapshot(), normalizer.settings)
        infos = [info for part in self._ask("collect", lambda worker: args) for info in part]
        return self._arrays, self._merge(infos, normalizer)

    def _allocate(self, nsteps: int) -> None:
        self._free()
        size = int(np.prod(self.observation_space.shape))
        shape = (nsteps, size, self.action_space, self.num_envs)
        self._memory = _Memory(create=True, size=_bytes(*shape))
        self._arrays = _arrays_in(self._memory.buf, *shape)
        self._steps = nsteps

    def _free(self) -> None:
        self._arrays = None
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None

    def get_state(self) -> list[dict[str, Any]]:
        return [state for part in self._ask("get_state") for state in part]

    def set_state(self, states: list[dict[str, Any]]) -> None:
        self._ask("set_state", lambda worker: ([states[i] for i in worker.indices],))

    def close(self) -> None:
        for worker in self._workers:
            try:
                worker.pipe.send(("close", ()))
            except (BrokenPipeError, ConnectionResetError, OSError):
                continue
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join()
            worker.pipe.close()
        self._workers = []
        self._free()
