"""Environments in spawned worker processes that share memory with this one. Workers import no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import traceback
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

from baselines_compat.actor import Actor, ActorSpec, JointActor
from baselines_compat.conform import size_of
from baselines_compat.errors import NonFiniteError, UserError
from baselines_compat.vec_env.arguments import check, whole
from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError, described
from baselines_compat.vec_env.normalizer import Normalizer
from baselines_compat.vec_env.processes import end, ending, ignore_stop_signals, start_process, survives_pickling
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays, SegmentInfo
from baselines_compat.vec_env.shared_memory import SharedMemory
from baselines_compat.vec_env.slot import EnvSlot
from baselines_compat.vec_env.slots import Slots
from baselines_compat.vec_env.together import Together
from baselines_compat.vec_env.vec_env import EnvFn, VecEnv, lock_step

_PATIENCE = 5.0  # seconds for a worker to close its environments, and to end


def _arrays_in(buffer: Any, steps: int, obs_size: int, action_space: gym.Space, num_env: int) -> SegmentArrays:
    views, start = {}, 0
    for name, (shape, dtype) in SegmentArrays.layout(steps, obs_size, action_space).items():
        full = (num_env, *shape)
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

    def __init__(
        self,
        pipe: Connection,
        number: int,
        env_fns: Sequence[EnvFn],
        indices: Sequence[int],
        seed: int,
        num_env: int,
        timeout: float,
    ):
        self.pipe = pipe
        self.indices = indices
        self.slots = Slots(env_fns, indices, seed, f" in worker {number}", timeout)
        self.num_env = num_env
        self._arrays: SegmentArrays | None = None
        self._together: Together | None = None

    def spaces(self) -> tuple[gym.Space, gym.Space]:
        return self.slots[0].env.observation_space, self.slots[0].env.action_space

    def attach(self, steps: int) -> None:
        """Take the memory that the parent sends, for segments of so many steps."""
        observation_space, action_space = self.spaces()
        shape = (steps, size_of(observation_space), action_space, self.num_env)
        memory = SharedMemory.receive(self.pipe, _bytes(*shape))
        self._arrays = _arrays_in(memory.buf, *shape)
        memory.close()

    def collect(self, spec: ActorSpec, flat: np.ndarray, snapshot: Any, settings: Any) -> list:
        actor = Actor(spec, flat)

        assert self._arrays is not None  # `attach` came first
        arrays = self._arrays

        def collect_one(slot: EnvSlot) -> SegmentInfo:
            own = arrays.of(slot.index)
            return slot.watch_draws(lambda: slot.collect(actor, snapshot, settings, own))

        return self.slots.map(collect_one)

    def begin(self, head: Any, free: np.ndarray, snapshot: Any, settings: Any) -> None:
        """Segments for which actions come from outputs that the parent computes: see `Together`."""
        assert self._arrays is not None  # `attach` came first
        self._together = Together(self.slots, head, free, self._arrays, snapshot, settings)
        self._together.begin()

    def advance(self, outputs: np.ndarray) -> None:
        assert self._together is not None  # `begin` came first
        self._together.advance(outputs)

    def infos(self) -> list[SegmentInfo]:
        assert self._together is not None
        return self._together.infos()

    def reset(self) -> list[np.ndarray]:
        return self.slots.map(EnvSlot.begin)

    def step(self, actions: Sequence[Any]) -> list[tuple]:
        return self.slots.map(lock_step, actions)

    def get_state(self) -> list[dict]:
        return [slot.state() for slot in self.slots]

    def set_state(self, states: Sequence[dict]) -> list[str]:
        return [line for lines in self.slots.map(EnvSlot.restore, states) for line in lines]

    def remarks(self) -> list[str]:
        return [line for slot in self.slots for line in slot.remarks()]

    def close(self) -> None:
        self.slots.close()


def _serve(pipe: Connection, *about: Any) -> None:
    """A worker's life: make the environments, then obey until told to close, or the parent is gone."""
    ignore_stop_signals()
    worker = None
    try:
        worker = _Worker(pipe, *about)
        pipe.send(("ok", worker.spaces()))
        while True:
            command, args = pipe.recv()
            pipe.send(("ok", getattr(worker, command)(*args)))
            if command == "close":
                return
    except (EOFError, ConnectionError):
        pass  # the parent is gone; what environments raise has another type
    except BaseException as error:
        with contextlib.suppress(ConnectionError):
            pipe.send(_reply(error, making=worker is None))
    if worker is not None:
        with contextlib.suppress(WorkerError):
            worker.close()


def _reply(error: BaseException, *, making: bool) -> tuple[str, Any]:
    """How a worker tells its parent what it met."""
    if isinstance(error, NonFiniteError | UserError | EnvironmentFailure):
        return "raised", error
    # What is wrong with the environment's arguments is the user's to correct, wherever the environment is made.
    if making and isinstance(error, ValueError):
        return "raised", error if survives_pickling(error) else ValueError(described(error))
    return "error", traceback.format_exc()


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
      timeout: seconds after which an environment that does not come back is given up; 0: never.

    Raises:
      UserError: no functions, or a number that is none.
      ValueError: an environment refused to be made; as it would be raised in this process.
      WorkerError: a worker failed to start, raised, or died.
    """

    def __init__(self, env_fns: Sequence[EnvFn], seed: int = 0, num_workers: int | None = None, timeout: float = 0.0):
        check(env_fns, timeout)
        seed = whole("seed", seed, 0)
        count = min(whole("num_workers", num_workers or len(env_fns), 1), len(env_fns))
        context = multiprocessing.get_context("spawn")
        self._workers: list[_Handle] = []
        self._memory: SharedMemory | None = None
        self._arrays: SegmentArrays | None = None
        self._steps = 0
        self._failure: BaseException | None = None
        for number, part in enumerate(np.array_split(np.arange(len(env_fns)), count)):
            indices = [int(i) for i in part]
            ours, theirs = context.Pipe()
            args = (theirs, number, [env_fns[i] for i in indices], indices, seed, len(env_fns), timeout)
            process = context.Process(target=_serve, args=args, daemon=True)
            start_process(process)
            theirs.close()
            self._workers.append(_Handle(process, ours, indices))
        try:
            observation_space, action_space = self._receive()[0]
        except BaseException:
            with contextlib.suppress(WorkerError):
                self.close()
            raise
        super().__init__(len(env_fns), observation_space, action_space)

    def _receive(self) -> list[Any]:
        """Everybody's reply, or the first failure among them: nobody is waited for after that."""
        replies: dict[int, Any] = {}
        number_of: dict[Any, int] = {worker.pipe: number for number, worker in enumerate(self._workers)}
        while len(replies) < len(self._workers):
            for pipe in connection.wait([pipe for pipe, number in number_of.items() if number not in replies]):
                replies[number_of[pipe]] = self._reply_of(number_of[pipe])
        return [replies[number] for number in range(len(self._workers))]

    def _reply_of(self, number: int) -> Any:
        worker = self._workers[number]
        try:
            status, value = worker.pipe.recv()
        except (EOFError, ConnectionError):
            raise self._failed(self._death_of(number)) from None
        if status == "raised":
            raise self._failed(value)
        if status == "error":
            raise self._failed(WorkerError(f"Rollout worker {number} failed:\n{value}"))
        return value

    def _failed(self, error: BaseException) -> BaseException:
        """Keep the first failure: there is nothing to be had from this object any more."""
        self._failure = self._failure or error
        return self._failure

    def _death_of(self, number: int) -> WorkerError:
        return WorkerError(f"Rollout worker {number} died {ending(self._workers[number].process)}; continue with --resume.")

    def _ask(self, command: str, args_of: Any = lambda worker: ()) -> list[Any]:
        self._tell(command, args_of)
        return self._receive()

    def _tell(self, command: str, args_of: Any = lambda worker: ()) -> None:
        if self._failure is not None:
            raise self._failure
        for number, worker in enumerate(self._workers):
            try:
                worker.pipe.send((command, args_of(worker)))
            except ConnectionError:
                raise self._failed(self._death_of(number)) from None

    def reset(self) -> np.ndarray:
        return np.stack([observation for part in self._ask("reset") for observation in part])

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        assert self._actions is not None, "step_wait without step_async"
        actions = self._actions
        parts = self._ask("step", lambda worker: ([actions[i] for i in worker.indices],))
        observations, rewards, dones, infos = zip(*[result for part in parts for result in part], strict=True)
        return np.stack(observations), np.asarray(rewards), np.asarray(dones), list(infos)

    def collect(
        self, spec: ActorSpec | JointActor, flat: np.ndarray, nsteps: int, normalizer: Normalizer
    ) -> tuple[SegmentArrays, list[list[EpisodeRecord]]]:
        if self._arrays is None or self._steps != nsteps:
            self._arrays = self._allocate(nsteps)
        if isinstance(spec, JointActor):
            spec.load(flat)
            together = (spec.head, spec.free(), normalizer.snapshot(), normalizer.settings)
            self._ask("begin", lambda worker: together)
            for t in range(nsteps):
                outputs = spec.outputs(self._arrays.observations[:, t])
                self._ask("advance", lambda worker, outputs=outputs: (outputs[worker.indices],))
            return self._arrays, self._merge([info for part in self._ask("infos") for info in part], normalizer)
        args = (spec, flat[: spec.size], normalizer.snapshot(), normalizer.settings)
        infos = [info for part in self._ask("collect", lambda worker: args) for info in part]
        return self._arrays, self._merge(infos, normalizer)

    def _allocate(self, nsteps: int) -> SegmentArrays:
        self._free()
        size = size_of(self.observation_space)
        shape = (nsteps, size, self.action_space, self.num_envs)
        self._memory = SharedMemory(_bytes(*shape))
        self._tell("attach", lambda worker: (nsteps,))
        for number, worker in enumerate(self._workers):
            try:
                assert worker.process.pid is not None  # it was started
                self._memory.send(worker.pipe, worker.process.pid)
            except ConnectionError:
                raise self._failed(self._death_of(number)) from None
        self._receive()
        self._steps = nsteps
        return _arrays_in(self._memory.buf, *shape)

    def _free(self) -> None:
        self._arrays = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def get_state(self) -> list[dict[str, Any]]:
        return [state for part in self._ask("get_state") for state in part]

    def set_state(self, states: list[dict[str, Any]]) -> list[str]:
        parts = self._ask("set_state", lambda worker: ([states[i] for i in worker.indices],))
        return [line for part in parts for line in part]

    def remarks(self) -> list[str]:
        return [line for part in self._ask("remarks") for line in part]

    def close(self) -> None:
        failure = None
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(("close", ()))
        for worker in self._workers:
            with contextlib.suppress(EOFError, OSError):
                if worker.pipe.poll(_PATIENCE):
                    status, value = worker.pipe.recv()
                    failure = failure or (value if status == "raised" else None)
            end(worker.process, _PATIENCE)
            worker.pipe.close()
        self._workers = []
        self._free()
        if failure is not None and self._failure is None:
            raise failure
