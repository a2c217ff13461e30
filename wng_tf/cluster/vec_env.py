"""Environments in the actors of a cluster. A lost actor's environments are made again, and led to where they were.

For each actor this process keeps the state that its environments had (the random streams, and the open episode's actions,
which are what a checkpoint has of them) and what they were told since. From these another actor brings them back: it
replays the open episodes. Where that does not give the same numbers, for reasons in the environment that a resumed run
would meet as well, it says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from baselines_compat.actor import ActorSpec, JointActor
from baselines_compat.conform import size_of
from baselines_compat.vec_env.arguments import check, whole
from baselines_compat.vec_env.faults import WorkerError
from baselines_compat.vec_env.normalizer import Normalizer
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays
from baselines_compat.vec_env.vec_env import EnvFn, VecEnv
from wng_tf.cluster.engine import MOST_LOSSES, START_SECONDS, TICK_SECONDS, Engine, Lost, asked_to_close
from wng_tf.cluster.slots_worker import SlotsWorker, States
from wng_tf.errors import UserError

_LONGEST_JOURNAL = 1000  # steps to repeat, at most
_SETTLE_SECONDS = 10.0  # until a cluster knows what a lost actor has set free


@dataclasses.dataclass
class _Place:
    """An actor's environments.

    Attributes:
      indices: their numbers.
      make: makes the actor's object.
      actor: the actor.
      states: what the environments were at some time; None: just made.
      journal: what they were told since.
      losses: actors lost in turn.
    """

    indices: list[int]
    make: Callable[[], SlotsWorker]
    actor: Any
    states: States | None = None
    journal: list[tuple[str, tuple[Any, ...]]] = dataclasses.field(default_factory=list)
    losses: int = 0


class ClusterVecEnv(VecEnv):
    """Environments spread over actors, neighbours together.

    Args:
      engine: runs the actors; it is closed with this object.
      env_fns: picklable functions that make the environments.
      seed: seed of the run.
      num_workers: how many actors.
      timeout: seconds after which an environment that does not come back is given up; 0: never.
      patience: seconds to wait for an actor to start.

    Raises:
      UserError: the actors cannot start, or an environment cannot be made in them.
      ValueError, WorkerError: an environment refused to be made.
    """

    def __init__(
        self,
        engine: Engine,
        env_fns: Sequence[EnvFn],
        seed: int = 0,
        num_workers: int = 1,
        timeout: float = 0.0,
        patience: float = START_SECONDS,
    ):
        check(env_fns, timeout)
        seed, num_workers = whole("seed", seed, 0), whole("num_workers", num_workers, 1)
        self._engine, self._patience = engine, patience
        self._failure: BaseException | None = None
        self._remarks: list[str] = []
        self._places: list[_Place] = []
        self._started = False
        try:
            for number, part in enumerate(np.array_split(np.arange(len(env_fns)), min(num_workers, len(env_fns)))):
                indices = [int(i) for i in part]
                make = functools.partial(SlotsWorker, number, [env_fns[i] for i in indices], indices, seed, timeout)
                self._places.append(_Place(indices, make, engine.start(make)))
            observation_space, action_space = self._ask("spaces", patience=patience)[0]
            self._started = True
        except BaseException:
            self._end()
            raise
        super().__init__(len(env_fns), observation_space, action_space)

    # ---- calls ------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, args_of: Any = lambda place: (), patience: float | None = None) -> list[Any]:
        """Every actor's result, or the first failure among them."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._asked(method, args_of, patience)
        except Exception as error:
            self._failure = error  # there is nothing to be had from this object any more
            raise

    def _asked(self, method: str, args_of: Any, patience: float | None) -> list[Any]:
        asked = {self._engine.call(place.actor, method, *args_of(place)): place for place in self._places}
        results: dict[int, Any] = {}
        since = time.monotonic()
        while asked:
            ready = self._engine.wait(list(asked), TICK_SECONDS)
            if not ready and patience is not None and time.monotonic() - since > patience:
                raise self._not_started(patience)
            for ticket in ready:
                place = asked.pop(ticket)
                try:
                    results[place.indices[0]] = self._engine.result(ticket)
                    place.losses = 0
                except Lost as lost:
                    self._rebuild(place, lost)
                    asked[self._engine.call(place.actor, method, *args_of(place))] = place
        return [results[place.indices[0]] for place in self._places]

    def _rebuild(self, place: _Place, lost: Lost) -> None:
        """Another actor with the place's environments as they were before the call that was lost."""
        while True:
            place.losses += 1
            if place.losses >= MOST_LOSSES:
                raise self._hopeless(place, lost) from lost
            self._engine.end(place.actor)
            place.actor = self._engine.start(place.make, cpus=self._cpus())
            try:
                gone: list[str] = []
                self._call(place, "spaces", patience=self._patience)
                if place.states is not None:
                    gone = self._call(place, "set_state", place.states)
                for method, args in place.journal:
                    self._call(place, method, *args)
            except Lost as again:
                lost = again
                continue
            self._remarks.append(
                f"The Ray actor of environments {_listed(place.indices)} was lost ({lost}): another has taken them over, and "
                "what they were told last is done again."
            )
            self._remarks += gone
            return

    def _cpus(self) -> int:
        """Of a new actor: none, where the lost one's went with its machine and no other is free."""
        if not self._started:
            return 1
        until = time.monotonic() + _SETTLE_SECONDS
        while self._engine.free() < 1.0:
            if time.monotonic() > until:
                return 0
            time.sleep(0.1)
        return 1

    def _call(self, place: _Place, method: str, *args: Any, patience: float | None = None) -> Any:
        ticket, since = self._engine.call(place.actor, method, *args), time.monotonic()
        while not self._engine.wait([ticket], TICK_SECONDS):
            if patience is not None and time.monotonic() - since > patience:
                raise self._not_started(patience)
        return self._engine.result(ticket)

    def _hopeless(self, place: _Place, lost: Lost) -> Exception:
        what = f"{place.losses} Ray actors in turn that had environments {_listed(place.indices)} were lost"
        if self._started:
            return WorkerError(f"{what}, the last one because: {lost}; continue with --resume.")
        return UserError(f"Ray actors do not start: {what}, the last one because: {lost}.")

    def _not_started(self, patience: float) -> Exception:
        sentence = f"A Ray actor has not started within {patience:g} s: {self._engine.describe()}"
        if self._started:
            return WorkerError(f"{sentence}. Continue with --resume.")
        return UserError(f"{sentence}. Free some, or choose a smaller --num_workers.")

    # ---- what a VecEnv does -----------------------------------------------------------------------------------------

    def reset(self) -> np.ndarray:
        parts = self._ask("reset")
        self._write_down("reset", lambda place: ())
        return np.stack([observation for part in parts for observation in part])

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        assert self._actions is not None, "step_wait without step_async"
        actions = self._actions

        def own(place: _Place) -> tuple[Any]:
            return ([actions[i] for i in place.indices],)

        parts = self._ask("step", own)
        self._write_down("step", own)
        observations, rewards, dones, infos = zip(*[result for part in parts for result in part], strict=True)
        return np.stack(observations), np.asarray(rewards), np.asarray(dones), list(infos)

    def _write_down(self, method: str, args_of: Callable[[_Place], tuple[Any, ...]]) -> None:
        for place in self._places:
            place.journal.append((method, args_of(place)))
        if len(self._places[0].journal) >= _LONGEST_JOURNAL:
            self.get_state()

    def collect(
        self, spec: ActorSpec | JointActor, flat: np.ndarray, nsteps: int, normalizer: Normalizer
    ) -> tuple[SegmentArrays, list[list[EpisodeRecord]]]:
        if isinstance(spec, JointActor):
            raise UserError(
                "Actors on a cluster act by chains of Dense layers alone; this network acts for all worlds in one process: "
                "leave out --engine, or use --network=mlp."
            )
        told = self._engine.share((spec, flat[: spec.size], normalizer.snapshot(), normalizer.settings, nsteps))
        parts = self._ask("collect", lambda place: (told,))
        arrays = SegmentArrays.empty(nsteps, size_of(self.observation_space), self.action_space, self.num_envs)
        infos = []
        for place, (own, its_infos, states) in zip(self._places, parts, strict=True):
            for field in dataclasses.fields(SegmentArrays):
                getattr(arrays, field.name)[place.indices] = getattr(own, field.name)
            infos += its_infos
            place.states, place.journal = states, []
        return arrays, self._merge(infos, normalizer)

    def get_state(self) -> list[dict[str, Any]]:
        parts = self._ask("get_state")
        for place, states in zip(self._places, parts, strict=True):
            place.states, place.journal = states, []
        return [state for part in parts for state in part]

    def set_state(self, states: list[dict[str, Any]]) -> list[str]:
        parts = self._ask("set_state", lambda place: ([states[i] for i in place.indices],))
        for place in self._places:
            place.states, place.journal = [states[i] for i in place.indices], []
        return [line for part in parts for line in part]

    def remarks(self) -> list[str]:
        told, self._remarks = self._remarks, []
        return [*told, *(line for part in self._ask("remarks") for line in part)]

    def close(self) -> None:
        failure = None
        if self._failure is None:
            failure = asked_to_close(self._engine, [place.actor for place in self._places])
        self._end()
        if failure is not None:
            raise failure

    def _end(self) -> None:
        for place in self._places:
            with contextlib.suppress(Exception):  # what it was is told elsewhere
                self._engine.end(place.actor)
        self._places = []
        self._engine.close()


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
