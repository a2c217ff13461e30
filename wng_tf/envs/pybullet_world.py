"""What the PyBullet tasks share: loading the world without a word, resetting it with few calls, and drawing it.

The engine sets each world up as `pybullet_envs_gymnasium` 0.6 does, so that the numbers are the same; but a later reset
does not set parameters again that did not change.

From its second reset on, a world's episode follows from the random stream and the actions alone, whatever happened in
it before. The first episode is a little different, as packaged: the floor joins the robot's parts, over which positions
are averaged, only after the first reset. So the first step's reward differs (in Hopper by up to 0.2), and Ant's and
Humanoid's first observation in the last digits. Where episodes are to be interchangeable, reset a fresh world once
before use.
"""

from __future__ import annotations

import importlib.util
import os
import time
from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium
import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet, quiet
from wng_tf.envs.pybullet_robot import Robot

_SOLVER_ITERATIONS = 5
_CONTACT_ERP = 0.9  # share of a contact's error that a step corrects
_DISTANCE, _YAW, _PITCH = 3.0, 0.0, -30.0  # of the camera from what it looks at: metres, degrees
_FIELD_OF_VIEW, _NEAR, _FAR = 60.0, 0.1, 100.0


class BulletWorld(gymnasium.Env):
    """A task on PyBullet.

    A subclass says what it loads (the class variables, `_load_floor`), how an episode starts (`_start`), what it keeps of
    a loaded world (`_cache`), how it observes (`_first`), and has the `step`.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 60}

    file: ClassVar[str]  # of the engine's MJCF files
    torso: ClassVar[str] = ""  # name of the part that stands for the robot
    sizes: ClassVar[tuple[int, int]]  # of an observation and of an action
    gravity: ClassVar[float] = 9.8  # metres a second squared
    seconds: ClassVar[float] = 0.0165  # of a control step
    substeps: ClassVar[int] = 1  # of the engine, in a control step
    restores: ClassVar[bool] = True  # whether a reset goes back to the state that was saved after the first one

    def __init__(self, render_mode: str | None = None):
        observation, action = self.sizes
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action,), np.float32)
        self.render_mode = render_mode
        self.physicsClientId = -1
        self.stateId = -1  # of the saved state
        self._render_width, self._render_height = 320, 240  # by the names of the packaged environments
        self.robot: Robot

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Observation float32 and {}; `options` are ignored. The first call loads the world."""
        super().reset(seed=seed)
        fresh = self.physicsClientId < 0
        if fresh:
            with quiet():
                self._load()
        elif self.restores:
            pybullet.restoreState(self.stateId, physicsClientId=self.physicsClientId)
        self._start()
        if fresh:
            self._cache()
        observation = self._first(fresh)
        if fresh and self.restores:
            self.stateId = pybullet.saveState(self.physicsClientId)
        return observation, {}

    def _load(self) -> None:
        self.physicsClientId = client = pybullet.connect(pybullet.GUI if self.render_mode == "human" else pybullet.DIRECT)
        pybullet.resetSimulation(physicsClientId=client)
        pybullet.setPhysicsEngineParameter(deterministicOverlappingPairs=1, physicsClientId=client)
        if os.environ.get("PYBULLET_EGL") and self.render_mode != "human":
            _draw_on_the_graphics_card(client)
        pybullet.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0, physicsClientId=client)
        pybullet.setGravity(0.0, 0.0, -self.gravity, client)
        pybullet.setDefaultContactERP(_CONTACT_ERP, client)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=self.seconds,
            numSolverIterations=_SOLVER_ITERATIONS,
            numSubSteps=self.substeps,
            physicsClientId=client,
        )
        floor = self._load_floor()
        self.robot = Robot(client, self.file, self.torso)
        self.robot.parts.update(floor)

    def _load_floor(self) -> dict[str, Any]:
        """Loads what there is beside the robot; the parts by name that count among the robot's."""
        return {}

    @abstractmethod
    def _start(self) -> None:
        """Draws where the joints are at the start of an episode, and puts them there."""

    @abstractmethod
    def _cache(self) -> None:
        """Keeps ids and constants of the world that has just been loaded."""

    @abstractmethod
    def _first(self, fresh: bool) -> np.ndarray:
        """The observation after a reset; prepares what the next step compares with. `fresh`: it is the world's first."""

    def render(self) -> np.ndarray | None:
        """An image [240, 320, 3] uint8 (films are larger) with `render_mode="rgb_array"`; None with "human", a window."""
        client, target = self.physicsClientId, self.robot.body_real_xyz
        width, height = self._render_width, self._render_height
        if self.render_mode == "human":
            pybullet.resetDebugVisualizerCamera(_DISTANCE, _YAW, _PITCH, target, client)
            time.sleep(1.0 / self.metadata["render_fps"])
        if self.render_mode != "rgb_array":
            return None
        view = pybullet.computeViewMatrixFromYawPitchRoll(target, _DISTANCE, _YAW, _PITCH, 0.0, 2, client)
        projection = pybullet.computeProjectionMatrixFOV(_FIELD_OF_VIEW, width / height, _NEAR, _FAR, client)
        image = pybullet.getCameraImage(
            width, height, view, projection, renderer=pybullet.ER_BULLET_HARDWARE_OPENGL, physicsClientId=client
        )[2]
        pixels = np.reshape(np.asarray(image, np.uint8), (height, width, -1))
        return np.ascontiguousarray(pixels[:, :, :3])

    def close(self) -> None:
        """Leave the engine; a reset loads the world anew."""
        if self.physicsClientId >= 0:
            pybullet.disconnect(self.physicsClientId)
        self.physicsClientId = self.stateId = -1


def _draw_on_the_graphics_card(client: int) -> None:
    spec = importlib.util.find_spec("eglRenderer")
    if spec and spec.origin:
        pybullet.loadPlugin(spec.origin, "_eglRendererPlugin", physicsClientId=client)
    else:
        pybullet.loadPlugin("eglRendererPlugin", physicsClientId=client)
