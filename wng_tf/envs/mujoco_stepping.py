"""Gymnasium's MuJoCo tasks with the same numbers in less time: those in a plane (v5). The others are beside it, in
`mujoco_stepping_bodies`.

A third to a half of the packaged `step` is Python: arrays of a few numbers made and joined, and forces computed after
every step (`mj_rnePostConstraint`, for `data.cfrc_ext`) that these tasks do not observe. Here a step is one engine
call, arithmetic on Python floats, and one array for the observation. (An engine step empties the processor's caches, so
that each NumPy call after it costs some 5 µs, however small its arrays.)

Observations, rewards, endings and infos equal the packaged ones to the last bit. `data.cfrc_ext`, `data.cfrc_int` and
`data.cacc` are not kept up to date.

`tasks.make` puts these classes in the place of the packaged ones, under Gymnasium's ids.
"""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv as PackagedHalfCheetah
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv as PackagedHopper
from gymnasium.envs.mujoco.inverted_double_pendulum_v5 import InvertedDoublePendulumEnv as PackagedDoublePendulum
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv as PackagedPendulum
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv as PackagedSwimmer
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv as PackagedWalker2d

_SPEED = 10.0  # bound of observed velocities

#: What a step returns: observation, reward, terminated, truncated, info.
Stepped = tuple[np.ndarray, Any, bool, bool, dict[str, Any]]


def length(vector: np.ndarray) -> float:
    """`np.linalg.norm` of a vector, to the last bit."""
    return math.sqrt(vector.dot(vector))


class FastStepping(MujocoEnv):
    """Mixin before a packaged environment: an engine step without what nothing reads. Keeps views of the state."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._qpos, self._qvel, self._ctrl = self.data.qpos, self.data.qvel, self.data.ctrl
        self._seconds = self.dt

    def _advance(self, action: np.ndarray) -> None:
        if np.shape(action) != (self.model.nu,):
            raise ValueError(f"Action dimension mismatch. Expected {(self.model.nu,)}, found {np.shape(action)}")
        self._ctrl[:] = action
        mujoco.mj_step(self.model, self.data, self.frame_skip)

    def _seen(self) -> None:
        if self.render_mode == "human":
            self.render()


class _FastRunner(FastStepping):
    """A planar body that is paid for running: position and velocity, less the cost of its actions."""

    # Of the packaged environments.
    _exclude_current_positions_from_observation: bool
    _ctrl_cost_weight: float
    _forward_reward_weight: float

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._first = int(self._exclude_current_positions_from_observation)

    def _run(self, action: np.ndarray) -> tuple[list[float], list[float], float, float, float]:
        """Step. Returns qpos, qvel, forward velocity, its reward, and the cost of the action."""
        before = self._qpos.item(0)
        self._advance(action)
        qpos, qvel = self._qpos.tolist(), self._qvel.tolist()
        velocity = (qpos[0] - before) / self._seconds
        cost = float(self._ctrl_cost_weight * np.add.reduce(np.square(action)))
        return qpos, qvel, velocity, self._forward_reward_weight * velocity, cost


class _FastFaller(_FastRunner):
    """A runner whose episode ends when it falls: it is paid for being up, and its velocities are seen within bounds."""

    # Of the packaged environments.
    _healthy_z_range: tuple[float, float]
    _healthy_angle_range: tuple[float, float]
    _healthy_reward: float
    _terminate_when_unhealthy: bool

    def _upright(self, qpos: list[float], qvel: list[float]) -> bool:
        low, high = self._healthy_z_range
        least, most = self._healthy_angle_range
        return low < qpos[1] < high and least < qpos[2] < most

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, terminated, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        qpos, qvel, velocity, forward, cost = self._run(action)
        upright = self._upright(qpos, qvel)
        alive = upright * self._healthy_reward
        bounded = [-_SPEED if v < -_SPEED else _SPEED if v > _SPEED else v for v in qvel]
        info = {
            "x_position": qpos[0],
            "z_distance_from_origin": qpos[1] - self.init_qpos.item(1),
            "x_velocity": velocity,
            "reward_forward": forward,
            "reward_ctrl": -cost,
            "reward_survive": alive,
        }
        self._seen()
        terminated = not upright and self._terminate_when_unhealthy
        return np.array(qpos[self._first :] + bounded), forward + alive - cost, terminated, False, info


class FastHopper(_FastFaller, PackagedHopper):
    """`Hopper-v5`: [11] observations, [3] torques."""

    def _upright(self, qpos: list[float], qvel: list[float]) -> bool:
        low, high = self._healthy_state_range
        return super()._upright(qpos, qvel) and all(low < x < high for x in qpos[2:] + qvel)


class FastWalker2d(_FastFaller, PackagedWalker2d):
    """`Walker2d-v5`: [17] observations, [6] torques."""


class FastHalfCheetah(_FastRunner, PackagedHalfCheetah):
    """`HalfCheetah-v5`: [17] observations, [6] torques."""

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, False, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        qpos, qvel, velocity, forward, cost = self._run(action)
        info = {"x_position": qpos[0], "x_velocity": velocity, "reward_forward": forward, "reward_ctrl": -cost}
        self._seen()
        return np.array(qpos[self._first :] + qvel), forward - cost, False, False, info


class FastDoublePendulum(FastStepping, PackagedDoublePendulum):
    """`InvertedDoublePendulum-v5`: [9] observations, [1] force."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._tip = self.data.site_xpos[0]
        self._force = self.data.qfrc_constraint

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, terminated, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        self._advance(action)
        x, _, y = self._tip
        terminated = bool(y <= 1)
        reward, info = self._get_rew(x, y, terminated)
        self._seen()
        return self._get_obs(), float(reward), terminated, False, info

    def _get_obs(self) -> np.ndarray:
        angles, force = self._qpos[1:], min(max(self._force.item(0), -_SPEED), _SPEED)
        observation = np.empty(9)
        observation[0] = self._qpos[0]
        np.sin(angles, out=observation[1:3])
        np.cos(angles, out=observation[3:5])
        np.minimum(np.maximum(self._qvel, -_SPEED), _SPEED, out=observation[5:8])
        observation[8] = force
        return observation


class FastPendulum(FastStepping, PackagedPendulum):
    """`InvertedPendulum-v5`: [4] observations, [1] force."""

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, terminated, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        self._advance(action)
        state = [*self._qpos.tolist(), *self._qvel.tolist()]
        terminated = not all(map(math.isfinite, state)) or abs(state[1]) > 0.2
        reward = int(not terminated)
        self._seen()
        return np.array(state), float(reward), terminated, False, {"reward_survive": reward}


class FastSwimmer(_FastRunner, PackagedSwimmer):
    """`Swimmer-v5`: [8] observations, [2] torques."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._first *= 2  # both coordinates
        self._place = self._qpos[:2]

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, False, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        before = self._qpos.item(1)
        qpos, qvel, velocity, forward, cost = self._run(action)
        info = {
            "x_position": qpos[0],
            "y_position": qpos[1],
            "distance_from_origin": length(self._place),
            "x_velocity": velocity,
            "y_velocity": (qpos[1] - before) / self._seconds,
            "reward_forward": forward,
            "reward_ctrl": -cost,
        }
        self._seen()
        return np.array(qpos[self._first :] + qvel), forward - cost, False, False, info
