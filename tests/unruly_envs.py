"""Registers environments with ways of their own, as `--env=unruly_envs:Name-v0`; worker processes find the module too."""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from baselines_compat.vec_env.watched import Watched


class Walk(gym.Env):
    """Well-behaved: a random observation, episodes of seven steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.length, self.t = 7, 0

    def observe(self) -> np.ndarray:
        return self.np_random.normal(size=2).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action: np.ndarray):
        self.t += 1
        return self.observe(), float(-np.square(action).sum()), self.t >= self.length, False, {}


class Stubborn(Exception):
    """Cannot be pickled, for its constructor asks for more than it keeps."""

    def __init__(self, joint: str, angle: float):
        super().__init__(f"joint {joint}\n  is at {angle} degrees")
        self.callback = lambda: None


class Speechless(Exception):
    """Fails where its text is asked for."""

    def __str__(self) -> str:
        raise ValueError("no text")


#: What an environment may do, and how the sentence names it.
FAULTS: dict[str, tuple[Any, str]] = {
    "runtime": (lambda: RuntimeError("a wheel fell off."), "RuntimeError: a wheel fell off"),
    "empty": (lambda: AssertionError(), "AssertionError"),
    "stubborn": (lambda: Stubborn("knee", 190.0), "Stubborn: joint knee is at 190.0 degrees"),
    "speechless": (lambda: Speechless(), "Speechless"),
    "exit": (lambda: SystemExit(0), "SystemExit: 0"),
    "interrupt": (lambda: KeyboardInterrupt(), "KeyboardInterrupt"),
    "disk": (lambda: OSError(errno.ENOSPC, "No space left"), "OSError: [Errno 28] No space left"),
    "pipe": (lambda: BrokenPipeError(errno.EPIPE, "Broken pipe"), "BrokenPipeError: [Errno 32] Broken pipe"),
    "eof": (lambda: EOFError("the simulator has gone"), "EOFError: the simulator has gone"),
    "value": (lambda: ValueError("no such joint"), "ValueError: no such joint"),
}


class Failing(Walk):
    """Raises one of `FAULTS` in a method: in its constructor, at its second reset, at its 70th step, or when closed."""

    def __init__(self, fault: str, where: str):
        super().__init__()
        self.fault, self.where, self.calls = fault, where, {"reset": 0, "step": 0}
        self._maybe("constructor")

    def _maybe(self, where: str) -> None:
        if where in self.calls:
            self.calls[where] += 1
        if where == self.where and self.calls.get(where, 0) in (0, {"reset": 12, "step": 70}.get(where)):
            raise FAULTS[self.fault][0]()

    def reset(self, **kwargs: Any):
        self._maybe("reset")
        return super().reset(**kwargs)

    def step(self, action: np.ndarray):
        self._maybe("step")
        return super().step(action)

    def close(self) -> None:
        self._maybe("close")


class Dying(Walk):
    """Ends its process at its 70th step: by a signal, or by exit code 0."""

    def __init__(self, number: int):
        super().__init__()
        self.number, self.steps = number, 0

    def step(self, action: np.ndarray):
        self.steps += 1
        if self.steps == 70:
            if not self.number:
                os._exit(0)
            os.kill(os.getpid(), self.number)
        return super().step(action)


class Hanging(Walk):
    """Does not come back from one call: its constructor, its twelfth reset, or its 70th step.

    From then on whoever waits for it has a hundred seconds in one: a time limit that a slow machine keeps is soon over.
    """

    def __init__(self, where: str):
        super().__init__()
        self.where, self.calls = where, {"reset": 0, "step": 0}
        self._maybe("constructor")

    def _maybe(self, where: str) -> None:
        if where in self.calls:
            self.calls[where] += 1
        if where == self.where and self.calls.get(where, 0) in (0, {"reset": 12, "step": 70}.get(where)):
            wait = Watched._wait
            Watched._wait = lambda self, seconds: wait(self, seconds / 100)
            time.sleep(1e6)

    def reset(self, **kwargs: Any):
        self._maybe("reset")
        return super().reset(**kwargs)

    def step(self, action: np.ndarray):
        self._maybe("step")
        return super().step(action)


gym.register("Walk-v0", entry_point=Walk, max_episode_steps=100)
for _fault in FAULTS:
    for _where in ("constructor", "reset", "step", "close"):
        gym.register(
            f"Failing-{_where}-{_fault}-v0",
            entry_point=Failing,
            max_episode_steps=100,
            kwargs={"fault": _fault, "where": _where},
        )
for _name, _number in (("exit", 0), ("KILL", signal.SIGKILL), ("SEGV", signal.SIGSEGV)):
    gym.register(f"Dying-{_name}-v0", entry_point=Dying, max_episode_steps=100, kwargs={"number": int(_number)})
for _where in ("constructor", "reset", "step"):
    gym.register(f"Hanging-{_where}-v0", entry_point=Hanging, max_episode_steps=100, kwargs={"where": _where})
