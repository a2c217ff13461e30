"""The PyBullet locomotion tasks with the numbers of the packaged environments, in a fraction of the time.

`pybullet_envs_gymnasium` asks the engine for every joint, link and foot by itself, several times over, and computes
on arrays of a few numbers: four fifths of its `step` are Python. Here one step makes one
`setJointMotorControlArray`, one `getJointStates`, one `getLinkStates` and one `getContactPoints` call, and the
arithmetic is on Python floats. (An engine step empties the processor's caches, so that each NumPy call after it
costs some 5 µs, however small its arrays.)

Observations, rewards and endings equal the packaged ones to the last bit. So sums run in NumPy's order, float32 is
rounded where the packaged code rounds, and functions that IEEE 754 does not fix to the bit are NumPy's where `math`
differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet, quiet
from wng_tf.envs.pybullet_world import FastWorld
from wng_tf.envs.scalar_numpy import arctan2, cos, float32_limit, length, mean_xy, pairwise_sum, sin

with quiet():
    from pybullet_envs_gymnasium import gym_locomotion_envs as packaged

_AT_LIMIT = float32_limit(0.99)  # the packaged code compares in float32
_BOUND = 5.0  # of every observed number
_TORQUE = pybullet.TORQUE_CONTROL
_FIRST_JOINT = 8  # in the observation: height, target (2), velocity (3), roll, pitch, then joints, then feet


@dataclass(frozen=True, slots=True)
class _World:
    """What never changes in a loaded world: ids, joint limits, and buffers for the one NumPy product."""

    client: int
    body: int
    floor: int
    joints: list[int]
    limits: list[tuple[float, float]]  # lower limit and range of each joint
    motors: list[int]  # joints in the order of the actions
    torques: list[float]  # of the motors at action 1
    links: list[int]  # of the parts, in their order; the base is not a link
    torso: int  # place of the torso in `links`; -1: the torso is the base
    base: int  # place of the base among the parts, where the torso is the base
    floor_position: tuple[float, float, float]  # the last part, and the only one that cannot move
    feet: list[int]
    seconds: float  # of a control step
    speeds: slice  # joint speeds in the observation
    rotation: np.ndarray
    velocity: np.ndarray


class FastStepping(FastWorld, packaged.WalkerBaseBulletEnv):
    """Mixin before a packaged locomotion environment: a faster `step` with the same results."""

    _world: _World

    def _cache(self) -> None:
        self._world = _describe(self)

    def _first(self) -> np.ndarray:
        state, _, _, _ = self._observe()
        self.potential = self._potential()
        return state

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One control step: four engine steps of 4.125 ms.

        Args:
          action: torques relative to the motors' maximum, [joints]; the motors clip them to -1..1.

        Returns:
          observation float32 [observation size], reward, terminated, False, {}.

        Raises:
          ValueError: an action that is not finite.
        """
        world, robot = self._world, self.robot
        action = np.asarray(action)
        if action.dtype.kind != "f":
            action = action.astype(np.float64)
        if not math.isfinite(sum(action.tolist())):
            raise ValueError(f"the action is not finite: {action}")
        torques = self._torques(action)
        pybullet.setJointMotorControlArray(world.body, world.motors, _TORQUE, forces=torques, physicsClientId=world.client)
        pybullet.stepSimulation(world.client)

        state, speeds, at_limit, finite = self._observe()
        self._alive = float(robot.alive_bonus(state[0] + robot.initial_z, robot.body_rpy[1]))
        terminated = bool(self._isDone()) or not finite
        last_potential, self.potential = self.potential, self._potential()
        self._update_feet()  # only now: observation and alive bonus tell of the contacts of the step before
        self.rewards = [
            self._alive,
            float(self.potential - last_potential),
            self._electricity(action, speeds),
            self.joints_at_limit_cost * at_limit,
            0.0,  # collisions of feet have no cost
        ]
        reward = sum(self.rewards)
        self.reward += reward
        return state, reward, terminated, False, {}

    def _observe(self) -> tuple[np.ndarray, np.ndarray, int, bool]:
        """Bounded observation, unbounded joint speeds, number of joints at a limit, and whether all is finite."""
        features = self._pose()
        at_limit = self._append_joints(features)
        features += self.robot.feet_contact.tolist()
        state = np.array(features, np.float32)
        speeds = state[self._world.speeds]
        if math.hypot(*features) <= _BOUND:  # then every number is within the bounds, and two NumPy calls are saved
            return state, speeds, at_limit, True
        state = np.clip(state, -_BOUND, _BOUND)
        return state, speeds, at_limit, bool(np.isfinite(state).all())

    def _potential(self) -> float:
        return -self.robot.walk_target_dist / self._world.seconds

    def _motors(self) -> list[tuple[int, float]]:
        """Joint index and torque at action 1 of each motor, in the order of the actions."""
        robot = self.robot
        return [(joint.jointIndex, robot.power * joint.power_coef) for joint in robot.ordered_joints]

    def _torques(self, action: np.ndarray) -> list[float]:
        """The torque of each motor, [joints]."""
        torques = []
        for torque, share in zip(self._world.torques, action.tolist(), strict=True):
            torques.append(torque * (1.0 if share > 1.0 else -1.0 if share < -1.0 else share))
        return torques

    def _pose(self) -> list[float]:
        """The first eight features: place, attitude and motion; keeps what rewards and cameras read."""
        world, robot = self._world, self.robot
        client, body = world.client, world.body
        links = pybullet.getLinkStates(body, world.links, world.torso >= 0, physicsClientId=client)
        positions = [link[0] for link in links]
        if world.torso >= 0:
            position, orientation, _, _, _, _, velocity, _ = links[world.torso]
        else:
            position, orientation = pybullet.getBasePositionAndOrientation(body, client)
            velocity, _ = pybullet.getBaseVelocity(body, client)
            positions.insert(world.base, position)
        positions.append(world.floor_position)
        x, y = mean_xy(positions)
        z = position[2]
        if robot.initial_z is None:  # after a reset; NumPy's double keeps the sum with a float32 in double precision
            robot.initial_z = np.float64(z)
        roll, pitch, yaw = angles = pybullet.getEulerFromQuaternion(orientation)
        dx, dy = robot.walk_target_x - x, robot.walk_target_y - y
        robot.body_real_xyz, robot.body_xyz, robot.body_rpy = position, (x, y, z), angles
        robot.walk_target_dist = length(dy, dx)

        to_target = arctan2(dy, dx) - yaw
        rotation = world.rotation
        sine = sin(-yaw)
        rotation[0, 0] = rotation[1, 1] = cos(-yaw)
        rotation[0, 1] = -sine
        rotation[1, 0] = sine
        world.velocity[:] = velocity
        # BLAS may fuse multiplications and additions, so the product is left to it.
        vx, vy, vz = rotation.dot(world.velocity).tolist()
        return [z - robot.initial_z, sin(to_target), cos(to_target), 0.3 * vx, 0.3 * vy, 0.3 * vz, roll, pitch]

    def _append_joints(self, features: list[float]) -> int:
        """Appends position (-1..1 between limits) and scaled speed of each joint; returns how many are at a limit."""
        world, at_limit = self._world, 0
        states = pybullet.getJointStates(world.body, world.joints, world.client)
        for (angle, speed, _, _), (lower, span) in zip(states, world.limits, strict=True):
            position = 2 * (angle - lower) / span - 1.0
            features.append(position)
            features.append(0.1 * speed)
            if position > _AT_LIMIT or position < -_AT_LIMIT:
                at_limit += 1
        return at_limit

    def _update_feet(self) -> None:
        """Marks each foot that touches the floor with 1."""
        world, contact = self._world, self.robot.feet_contact
        if len(world.feet) == 1:
            contact[0] = bool(pybullet.getContactPoints(world.body, world.floor, world.feet[0], -1, world.client))
            return
        points = pybullet.getContactPoints(world.body, world.floor, physicsClientId=world.client)
        touching = {point[3] for point in points}
        for place, foot in enumerate(world.feet):
            contact[place] = foot in touching

    def _electricity(self, action: np.ndarray, speeds: np.ndarray) -> float:
        """Cost of the motors' work, |action · speed|, and of torque at rest, action²: means over the joints."""
        # Iterating an array gives NumPy scalars: the products and sums round as the packaged arrays do.
        work = [abs(share * speed) for share, speed in zip(action, speeds, strict=True)]
        rest = [share * share for share in action]
        count = len(rest)
        work_mean, rest_mean = float(pairwise_sum(work) / count), float(pairwise_sum(rest) / count)
        return self.electricity_cost * work_mean + self.stall_torque_cost * rest_mean


def _describe(env: FastStepping) -> _World:
    robot = env.robot
    *own, floor = robot.parts.values()
    links = [part.bodyPartIndex for part in own]
    torso = robot.robot_body.bodyPartIndex
    if {part.bodyIndex for part in own} != {0} or floor.bodies[0] == own[0].bodies[0] or (-1 in links) != (torso < 0):
        raise RuntimeError("this version of pybullet_envs_gymnasium builds its worlds in another way: install 0.6")
    base = -1
    if torso < 0:
        base = links.index(-1)
        links.remove(-1)
    joints, motors = robot.ordered_joints, env._motors()
    return _World(
        client=env.physicsClientId,
        body=own[0].bodies[0],
        floor=floor.bodies[0],
        joints=[joint.jointIndex for joint in joints],
        limits=[(joint.lowerLimit, joint.upperLimit - joint.lowerLimit) for joint in joints],
        motors=[motor for motor, _ in motors],
        torques=[torque for _, torque in motors],
        links=links,
        torso=links.index(torso) if torso >= 0 else -1,
        base=base,
        floor_position=tuple(floor.get_position().tolist()),
        feet=[foot.bodyPartIndex for foot in robot.feet],
        seconds=env.scene.dt,
        speeds=slice(_FIRST_JOINT + 1, _FIRST_JOINT + 2 * len(joints), 2),
        rotation=np.eye(3),
        velocity=np.zeros(3),
    )


class HopperEnv(FastStepping, packaged.HopperBulletEnv):
    """HopperBulletEnv-v0: observation [15], action [3]."""


class Walker2dEnv(FastStepping, packaged.Walker2DBulletEnv):
    """Walker2DBulletEnv-v0: observation [22], action [6]."""


class HalfCheetahEnv(FastStepping, packaged.HalfCheetahBulletEnv):
    """HalfCheetahBulletEnv-v0: observation [26], action [6]; its episodes end at the time limit alone."""


class AntEnv(FastStepping, packaged.AntBulletEnv):
    """AntBulletEnv-v0: observation [28], action [8]."""


class HumanoidEnv(FastStepping, packaged.HumanoidBulletEnv):
    """HumanoidBulletEnv-v0: observation [44], action [17]."""

    def _motors(self) -> list[tuple[int, float]]:
        # The robot lists its motors in an order of its own, which its observation does not follow.
        robot = self.robot
        powers = zip(robot.motors, robot.motor_power, strict=True)
        return [(motor.jointIndex, power * robot.power) for motor, power in powers]

    def _torques(self, action: np.ndarray) -> list[float]:
        # This robot multiplies before it converts to double: in the precision of the action.
        return (np.asarray(self._world.torques, action.dtype) * np.clip(action, -1.0, 1.0)).tolist()
