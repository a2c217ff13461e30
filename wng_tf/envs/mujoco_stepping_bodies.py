"""Gymnasium's other MuJoCo tasks with the same numbers in less time: Ant, Humanoid, HumanoidStandup, Reacher, Pusher (v5).

As in `mujoco_stepping`: bodies are looked up once and not by name at every step, observations are joined once. The walkers
with legs in space observe the forces of contacts, which are therefore computed after every step.
"""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv as PackagedAnt
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv as PackagedHumanoid
from gymnasium.envs.mujoco.humanoidstandup_v5 import HumanoidStandupEnv as PackagedHumanoidStandup
from gymnasium.envs.mujoco.pusher_v5 import PusherEnv as PackagedPusher
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv as PackagedReacher

from wng_tf.envs.mujoco_stepping import FastStepping, Stepped, length

__all__ = ["FastAnt", "FastHumanoid", "FastHumanoidStandup", "FastPusher", "FastReacher"]


class _FastFeelers(FastStepping):
    """Mixin for bodies that feel contacts."""

    # Of the packaged environments.
    _exclude_current_positions_from_observation: bool
    _ctrl_cost_weight: float

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._forces = self.data.cfrc_ext
        self._plane = self._qpos[:2]
        self._seen_qpos = self._qpos[2:] if self._exclude_current_positions_from_observation else self._qpos

    def _advance(self, action: np.ndarray) -> None:
        super()._advance(action)
        mujoco.mj_rnePostConstraint(self.model, self.data)


class FastAnt(_FastFeelers, PackagedAnt):
    """`Ant-v5`: [105] observations, [8] torques."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._place = self.data.body(self._main_body).xpos[:2]

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, terminated, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        before = self._place.tolist()
        self._advance(action)
        x, y = self._place.tolist()
        x_velocity, y_velocity = (x - before[0]) / self._seconds, (y - before[1]) / self._seconds
        forces = self.contact_forces
        qpos = self._qpos.tolist()
        low, high = self._healthy_z_range
        healthy = low <= qpos[2] <= high and all(map(math.isfinite, qpos)) and all(map(math.isfinite, self._qvel.tolist()))
        alive = healthy * self._healthy_reward
        forward = x_velocity * self._forward_reward_weight
        effort = float(self._ctrl_cost_weight * np.add.reduce(np.square(action)))
        contact = float(self._contact_cost_weight * np.add.reduce(np.square(forces), axis=None))
        info = {
            "x_position": qpos[0],
            "y_position": qpos[1],
            "distance_from_origin": length(self._plane),
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_forward": forward,
            "reward_ctrl": -effort,
            "reward_contact": -contact,
            "reward_survive": alive,
        }
        self._seen()
        terminated = not healthy and self._terminate_when_unhealthy
        return self._joined(forces), float(forward + alive - (effort + contact)), terminated, False, info

    @property
    def contact_forces(self) -> np.ndarray:
        """Forces and torques on the bodies within bounds [bodies, 6]."""
        low, high = self._contact_force_range
        forces: np.ndarray = self._forces.clip(low, high)
        return forces

    def _get_obs(self) -> np.ndarray:
        return self._joined(self.contact_forces)

    def _joined(self, forces: np.ndarray) -> np.ndarray:
        felt = [forces[1:].reshape(-1)] if self._include_cfrc_ext_in_observation else []
        return np.concatenate([self._seen_qpos, self._qvel, *felt])


class _FastUpright(_FastFeelers):
    """Mixin for humanoids."""

    # Of the packaged environments.
    _include_cinert_in_observation: bool
    _include_cvel_in_observation: bool
    _include_qfrc_actuator_in_observation: bool
    _include_cfrc_ext_in_observation: bool

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        data = self.data
        optional = (
            (self._include_cinert_in_observation, data.cinert[1:]),
            (self._include_cvel_in_observation, data.cvel[1:]),
            (self._include_qfrc_actuator_in_observation, data.qfrc_actuator[6:]),
            (self._include_cfrc_ext_in_observation, data.cfrc_ext[1:]),
        )
        # Views of the state, as the packaged environments read their settings: exactly True.
        seen = (part.reshape(-1) for wanted, part in optional if wanted is True)
        self._parts = [self._seen_qpos, self._qvel, *seen]

    def _effort(self) -> float:
        return float(self._ctrl_cost_weight * np.add.reduce(np.square(self._ctrl)))

    def _impact(self, weight: float, bounds: tuple[float, float]) -> float:
        """The cost of contacts."""
        cost = float(weight * np.add.reduce(np.square(self._forces), axis=None))
        low, high = bounds
        return low if cost < low else high if cost > high else cost

    def _tendons(self) -> dict[str, np.ndarray]:
        return {"tendon_length": self.data.ten_length.copy(), "tendon_velocity": self.data.ten_velocity.copy()}

    def _get_obs(self) -> np.ndarray:
        return np.concatenate(self._parts)


class FastHumanoid(_FastUpright, PackagedHumanoid):
    """`Humanoid-v5`: [348] observations, [17] torques."""

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, terminated, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        before = self._centre()
        self._advance(action)
        after = self._centre()
        x_velocity, y_velocity = (after[0] - before[0]) / self._seconds, (after[1] - before[1]) / self._seconds
        x, y, z = self._qpos[:3].tolist()
        low, high = self._healthy_z_range
        healthy = low < z < high
        alive = healthy * self._healthy_reward
        forward = self._forward_reward_weight * x_velocity
        effort = self._effort()
        contact = self._impact(self._contact_cost_weight, self._contact_cost_range)
        info = {
            "x_position": x,
            "y_position": y,
            **self._tendons(),
            "distance_from_origin": length(self._plane),
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_survive": alive,
            "reward_forward": forward,
            "reward_ctrl": -effort,
            "reward_contact": -contact,
        }
        self._seen()
        terminated = not healthy and self._terminate_when_unhealthy
        return self._get_obs(), float(forward + alive - (effort + contact)), terminated, False, info

    def _centre(self) -> list[float]:
        """The centre of mass [x, y, z]."""
        mass = self.model.body_mass
        centre: list[float] = (np.einsum("b,bj->j", mass, self.data.xipos) / np.add.reduce(mass)).tolist()
        return centre


class FastHumanoidStandup(_FastUpright, PackagedHumanoidStandup):
    """`HumanoidStandup-v5`: [348] observations, [17] torques."""

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, False, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        self._advance(action)
        x, y, z = self._qpos[:3].tolist()
        height = z / self.model.opt.timestep
        effort = self._effort()
        impact = self._impact(self._impact_cost_weight, self._impact_cost_range)
        info = {
            "x_position": x,
            "y_position": y,
            "z_distance_from_origin": z - self.init_qpos.item(2),
            **self._tendons(),
            "reward_linup": height,
            "reward_quadctrl": -effort,
            "reward_impact": -impact,
        }
        self._seen()
        return self._get_obs(), float(height - effort - impact + 1), False, False, info


class FastReacher(FastStepping, PackagedReacher):
    """`Reacher-v5`: [10] observations, [2] torques."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._tip, self._target = (self.data.body(name).xpos for name in ("fingertip", "target"))
        self._angles, self._goal, self._speeds = self._qpos[:2], self._qpos[2:], self._qvel[:2]

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, False, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        self._advance(action)
        way = self._tip - self._target
        distance = -length(way) * self._reward_dist_weight
        effort = float(-np.add.reduce(np.square(action)) * self._reward_control_weight)
        self._seen()
        info = {"reward_dist": distance, "reward_ctrl": effort}
        return self._joined(way), float(distance + effort), False, False, info

    def _get_obs(self) -> np.ndarray:
        return self._joined(self._tip - self._target)

    def _joined(self, way: np.ndarray) -> np.ndarray:
        angles = self._angles
        return np.concatenate([np.cos(angles), np.sin(angles), self._goal, self._speeds, way[:2]])


class FastPusher(FastStepping, PackagedPusher):
    """`Pusher-v5`: [23] observations, [7] torques."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._bodies = [self.data.body(name).xpos for name in ("tips_arm", "object", "goal")]
        self._parts = [self._qpos[:7], self._qvel[:7], *self._bodies]

    def step(self, action: np.ndarray) -> Stepped:
        """As packaged: observation float64, reward, False, False, info.

        Raises:
          ValueError: an action of the wrong shape.
        """
        self._advance(action)
        tip, thing, goal = self._bodies
        near = -length(thing - tip) * self._reward_near_weight
        distance = -length(thing - goal) * self._reward_dist_weight
        effort = float(-np.add.reduce(np.square(action)) * self._reward_control_weight)
        self._seen()
        info = {"reward_dist": distance, "reward_ctrl": effort, "reward_near": near}
        return self._get_obs(), float(distance + effort + near), False, False, info

    def _get_obs(self) -> np.ndarray:
        return np.concatenate(self._parts)
