"""A body, a wall in its way and a goal behind the wall: the two deceptive tasks of Section 5 as Gymnasium environments.

`GoalTask` is data (model, goal, frames per step) with a few pure functions on batches of states. `GoalEnv` steps one
world, `GoalVectorEnv` steps many together through `mujoco.rollout`, in C++ threads; both give the same trajectories
to the last bit.

The contact solver starts cold at every environment step in both forms. `mujoco.rollout` hands out no warm start, so a
warm one would make a trajectory depend on which form ran it; and with it the state (time, qpos, qvel) is the whole
state.

No TensorFlow here: these classes run in rollout workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from mujoco import rollout
from numpy.typing import NDArray

#: Start states are the model's rest plus U(-0.1, 0.1) on positions and 0.1 N(0, 1) on velocities.
START_NOISE = 0.1

_STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS
_CONTROL = int(mujoco.mjtState.mjSTATE_CTRL.value)


@dataclass(frozen=True)
class GoalTask:
    """What distinguishes one task from another.

    Attributes:
      build: makes the model's specification.
      frame_skip: physics steps per environment step.
      goal: (x, y) in metres; the reward of a step is minus the distance to it after the step.
      camera: default camera for rendering (Gymnasium's `default_camera_config`).
      zeros: observation entries after qpos and qvel that are always zero.
    """

    build: Callable[[], mujoco.MjSpec]
    frame_skip: int
    goal: tuple[float, float]
    camera: dict[str, Any] = field(default_factory=dict)
    zeros: int = 0

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model; read only, shared by every world of the process."""
        return self.build().compile()

    @property
    def state_size(self) -> int:
        """Length of a state row: time, qpos, qvel."""
        return mujoco.mj_stateSize(self.model, _STATE)

    def observation_space(self) -> spaces.Box:
        """qpos, qvel, then `zeros` zeros; unbounded."""
        return spaces.Box(-np.inf, np.inf, (self.model.nq + self.model.nv + self.zeros,), np.float64)

    def action_space(self) -> spaces.Box:
        """The motors' control range."""
        low, high = self.model.actuator_ctrlrange.T.astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    def start(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A start state [state_size]: time, qpos, qvel."""
        model = self.model
        qpos = model.qpos0 + rng.uniform(-START_NOISE, START_NOISE, model.nq)
        qvel = START_NOISE * rng.standard_normal(model.nv)
        return np.concatenate([[0.0], qpos, qvel])

    def observe(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """The observations [..., observations] of states [..., state_size]; new memory."""
        if not self.zeros:
            return state[..., 1:].copy()
        size = state.shape[-1] - 1
        observation = np.zeros((*state.shape[:-1], size + self.zeros))
        observation[..., :size] = state[..., 1:]
        return observation

    def reward(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minus the distance to the goal, in metres: states [..., state_size] -> [...]."""
        return -np.hypot(state[..., 1] - self.goal[0], state[..., 2] - self.goal[1])


class GoalEnv(gymnasium.Env[Any, Any]):
    """One world of `task`. Episodes have no natural end: register it with a time limit."""

    task: ClassVar[GoalTask]
    metadata: dict[str, Any]

    def __init__(self, render_mode: str | None = None, width: int = 640, height: int = 480):
        """Makes the world.

        Args:
          render_mode: None, "rgb_array", "depth_array", or "human": a window that shows every reset and step.
          width, height: of the picture, in pixels.
        """
        self.model = self.task.model
        self.data = mujoco.MjData(self.model)
        self.observation_space = self.task.observation_space()
        self.action_space = self.task.action_space()
        self.render_mode = render_mode
        self._size = (width, height)
        self._renderer: Any = None
        self._state = np.zeros(self.task.state_size)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        """Starts an episode; the start state depends on the seed alone."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, self.task.start(self.np_random), _STATE)
        mujoco.mj_forward(self.model, self.data)
        observation, _, info = self._read()
        self._show()
        return observation, info

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, float]]:
        """One environment step; actions [nu] outside the control range are clipped by MuJoCo.

        Raises:
          ValueError: an action of the wrong shape.
        """
        if np.shape(action) != self.action_space.shape:
            raise ValueError(f"action has shape {np.shape(action)}, expected {self.action_space.shape}")
        self.data.qacc_warmstart[:] = 0.0
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, self.task.frame_skip)
        observation, reward, info = self._read()
        self._show()
        return observation, reward, False, False, info

    def _read(self) -> tuple[NDArray[np.float64], float, dict[str, float]]:
        mujoco.mj_getState(self.model, self.data, self._state, _STATE)
        info = {"x_position": float(self._state[1]), "y_position": float(self._state[2])}
        return self.task.observe(self._state), float(self.task.reward(self._state)), info

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()

    def render(self) -> NDArray[Any] | None:
        """The current frame, [height, width, 3] of uint8 for "rgb_array"; None for "human", which shows it."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs a render_mode: gym.make(..., render_mode='rgb_array').")
            return None
        if self._renderer is None:
            self._renderer = self._make_renderer()
        elif self._renderer.viewer is not None:
            # Another environment of this process may have drawn since.
            self._renderer.viewer.make_context_current()
        return self._renderer.render(self.render_mode)

    def _make_renderer(self) -> Any:
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Gymnasium would try GLFW first, which "succeeds" without a screen and then fails to draw.
            os.environ.setdefault("MUJOCO_GL", "egl")
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

        width, height = self._size
        frame = self.model.vis.global_
        frame.offwidth, frame.offheight = max(frame.offwidth, width), max(frame.offheight, height)
        return MujocoRenderer(self.model, self.data, self.task.camera, width=width, height=height)

    def close(self) -> None:
        """Frees the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class GoalVectorEnv(gymnasium.vector.VectorEnv[NDArray[np.float64], NDArray[np.float32], NDArray[Any]]):
    """`num_envs` worlds of `task`, stepped together by `mujoco.rollout`.

    World i after `reset(seed=s)` is the single environment after `reset(seed=s + i)`, whatever `num_envs` and
    `num_threads`.
    """

    task: ClassVar[GoalTask]

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        num_threads: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ):
        """Makes the worlds.

        Args:
          num_envs: number of worlds.
          max_episode_steps: truncation after this many steps; None: never.
          num_threads: threads that step them; the numbers do not depend on it.
          autoreset_mode: "NextStep" (Gymnasium's default) or "Disabled".
          render_mode: must be None; render the single environment.

        Raises:
          ValueError: an argument out of range.
        """
        if num_envs < 1 or num_threads < 1:
            raise ValueError(f"num_envs and num_threads must be at least 1, not {num_envs} and {num_threads}")
        if render_mode is not None:
            raise ValueError("The vector form does not render: make the single environment with this render_mode.")
        mode = AutoresetMode(autoreset_mode)
        if mode is AutoresetMode.SAME_STEP:
            raise ValueError("autoreset_mode is 'NextStep' or 'Disabled' here.")
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": mode, "render_modes": []}
        self.single_observation_space = self.task.observation_space()
        self.single_action_space = self.task.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._limit = max_episode_steps
        self._autoreset = mode is AutoresetMode.NEXT_STEP

        model, frames, size = self.task.model, self.task.frame_skip, self.task.state_size
        # One thread steps in the calling thread, without a pool.
        self._rollout = rollout.Rollout(nthread=num_threads if num_threads > 1 else 0)
        self._models = [model] * num_envs
        self._data = [mujoco.MjData(model) for _ in range(num_threads)]
        self._state = np.zeros((num_envs, size))
        self._control = np.zeros((num_envs, frames, model.nu))
        self._frames = np.zeros((num_envs, frames, size))
        self._sensors = np.zeros((num_envs, frames, model.nsensordata))
        self._everywhere = np.ones(num_envs, np.bool_)
        self._steps = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)
        self._generators: list[np.random.Generator] = []

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        """Starts an episode in every world, or in those of `options["reset_mask"]` (bool [num_envs]).

        Args:
          seed: one per world, or an int s for s, s + 1, ...; None: the worlds' generators go on.
          options: `reset_mask`.

        Raises:
          ValueError: a list of seeds or a mask of the wrong length.
        """
        mask = np.ones(self.num_envs, np.bool_)
        if options and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"], np.bool_)
            if mask.shape != (self.num_envs,):
                raise ValueError(f"reset_mask has shape {mask.shape}, expected ({self.num_envs},)")
        self._seed(seed, mask)
        self._start(mask)
        return self._read()

    def _seed(self, seed: int | Sequence[int | None] | None, mask: NDArray[np.bool_]) -> None:
        if seed is None:
            seeds: Sequence[int | None] = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None if one is None else int(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} worlds")
        if not self._generators:
            self._generators = [seeding.np_random(one)[0] for one in seeds]
        else:
            for i in np.flatnonzero(mask):
                if (own := seeds[int(i)]) is not None:
                    self._generators[i] = seeding.np_random(own)[0]

    def _start(self, mask: NDArray[np.bool_]) -> None:
        for i in np.flatnonzero(mask):
            self._state[i] = self.task.start(self._generators[i])
        self._steps[mask] = 0
        self._ended[mask] = False

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, NDArray[Any]]]:
        """One step of every world: actions [num_envs, nu] -> observations, rewards, terminated (never), truncated,
        infos.

        With autoreset "NextStep" a world that ended starts anew here instead, with reward 0.

        Raises:
          ValueError: actions of the wrong shape, or an ended world that was not reset although autoreset is disabled.
        """
        if np.shape(actions) != self.action_space.shape:
            raise ValueError(f"actions have shape {np.shape(actions)}, expected {self.action_space.shape}")
        restart = self._ended.copy() if self._ended.any() else None
        if restart is not None and not self._autoreset:
            raise ValueError("A world has ended: reset it (options={'reset_mask': ...}) before the next step.")
        self._control[:] = actions[:, np.newaxis, :]
        self._rollout.rollout(
            self._models,
            self._data,
            self._state,
            self._control,
            control_spec=_CONTROL,
            skip_checks=True,
            nstep=self.task.frame_skip,
            state=self._frames,
            sensordata=self._sensors,
        )
        self._state[:] = self._frames[:, -1]
        self._steps += 1
        rewards = self.task.reward(self._state)
        terminated = np.zeros(self.num_envs, np.bool_)
        if restart is not None:
            self._start(restart)
            rewards[restart] = 0.0
        truncated = np.zeros(self.num_envs, np.bool_) if self._limit is None else self._steps >= self._limit
        self._ended = truncated
        observation, info = self._read()
        return observation, rewards, terminated, truncated.copy(), info

    def _read(self) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        """Observations and infos; the positions in the infos are columns of the observations, not copies."""
        observation = self.task.observe(self._state)
        x, y, here = observation[:, 0], observation[:, 1], self._everywhere
        return observation, {"x_position": x, "_x_position": here, "y_position": y, "_y_position": here}

    def close_extras(self, **kwargs: Any) -> None:
        """Stops the thread pool."""
        self._rollout.close()
