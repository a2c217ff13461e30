"""The PyBullet locomotion tasks with the numbers of the packaged environments, in a fraction of the time.

`pybullet_envs_gymnasium` asks the engine for every joint, link and foot by itself, several times over, and computes on
arrays of a few numbers: four fifths of its `step` are Python. Here one step makes one `setJointMotorControlArray`, one
`getJointStates`, one `getLinkStates` and one `getContactPoints` call, and the arithmetic is on Python floats.

Observations, rewards and endings equal the packaged ones to the last bit. So sums run in NumPy's order, float32 is rounded
where the packaged code rounds, and what IEEE 754 does not fix to the bit (sine, BLAS) goes through the same NumPy function.

A world remembers: `reset(seed=5)` restores positions and velocities, but not the engine's caches, so a second one differs
from the first in the last digits. A fresh world with the same history of resets and actions repeats exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet, quiet

with quiet():
    from pybullet_envs_gymnasium import gym_locomotion_envs as packaged

# The packaged code compares positions rounded to float32 with float32(0.99). That number's last mantissa bit is even, so a
# double rounds to something larger exactly when it lies above the midpoint to the next float32.
_LIMIT32 = np.float32(0.99)
_AT_LIMIT = (float(_LIMIT32) + float(np.nextafter(_LIMIT32, np.float32(1.0)))) / 2
_BOUND = 5.0  # of every observed number
_TORQUE = pybullet.TORQUE_CONTROL
_FIRST_JOINT = 8  # in the observation: height, target (2), velocity (3), roll, pitch, then joints, then feet


@dataclass(frozen=True)
class _World:
    """What never changes in a loaded world: ids, joint limits, and buffers for the NumPy calls."""

    client: int
    body: int
    floor: int
    joints: list[int]
    limits: list[tuple[float, float]]  # lower limit and range of each joint
    motors: list[int]  # joints in the order of the actions
    torques: list[float]  # of the motors at action 1
    links: list[int]  # of the parts, in their order; the base is not a link
    torso: int | None  # place of the torso in `links`; None: the torso is the base
    base: int  # place of the base among the parts; used where the torso is the base
    floor_position: tuple[float, float, float]  # the last part, and the only one that cannot move
    feet: list[int]
    rotation: np.ndarray
    velocity: np.ndarray
    to_target: np.ndarray
    costs: np.ndarray


def _describe(env: FastStepping) -> _World:
    robot = env.robot
    *own, floor = robot.parts.values()
    links = [part.bodyPartIndex for part in own]
    torso = robot.robot_body.bodyPartIndex
    if {part.bodyIndex for part in own} != {0} or floor.bodies[0] == own[0].bodies[0] or (-1 in links) != (torso < 0):
        raise RuntimeError("this version of pybullet_envs_gymnasium builds its worlds in another way; version 0.6 fits")
    base = links.index(-1) if torso < 0 else -1
    if torso < 0:
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
        torso=None if torso < 0 else links.index(torso),
        base=base,
        floor_position=tuple(floor.get_position().tolist()),
        feet=[foot.bodyPartIndex for foot in robot.feet],
        rotation=np.eye(3),
        velocity=np.zeros(3),
        to_target=np.zeros(2),
        costs=np.zeros((2, len(joints)), np.float32),
    )


class FastStepping(packaged.WalkerBaseBulletEnv):
    """Mixin before a packaged locomotion environment: its `reset`, and a faster `step` with the same results."""

    _world: _World | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """As packaged. The first one connects to the engine, which would print to stdout."""
        if self._world is not None:
            return super().reset(seed=seed, options=options)
        with quiet():
            result = super().reset(seed=seed, options=options)
        self._world = _describe(self)
        return result

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
        torques = self._torques(action)
        if not math.isfinite(sum(torques)):
            raise ValueError(f"the action is not finite: {action}")
        pybullet.setJointMotorControlArray(
            world.body, world.motors, _TORQUE, forces=torques, physicsClientId=world.client
        )
        pybullet.stepSimulation(world.client)

        features = self._features()
        state = np.array(features, np.float32)
        speeds = state[_FIRST_JOINT + 1 : _FIRST_JOINT + 2 * len(world.joints) : 2]
        electricity = self._electricity(action, speeds)
        diverged = False
        if not -_BOUND <= min(features) <= max(features) <= _BOUND or not math.isfinite(sum(features)):
            state = np.clip(state, -_BOUND, _BOUND)
            diverged = not np.isfinite(state).all()

        self._alive = float(robot.alive_bonus(state[0] + robot.initial_z, robot.body_rpy[1]))
        terminated = bool(self._isDone()) or diverged
        last_potential, self.potential = self.potential, robot.calc_potential()
        # Only now: the observation shows the contacts of the step before, and so does the HalfCheetah's alive bonus.
        self._update_feet()
        self.rewards = [
            self._alive,
            float(self.potential - last_potential),
            electricity,
            self.joints_at_limit_cost * robot.joints_at_limit,
            0.0,  # feet collisions, without a cost since Roboschool
        ]
        reward = sum(self.rewards)
        self.reward += reward
        return state, reward, terminated, False, {}

    def _motors(self) -> list[tuple[int, float]]:
        """Joint index and torque at action 1 of each motor, in the order of the actions."""
        robot = self.robot
        return [(joint.jointIndex, robot.power * joint.power_coef) for joint in robot.ordered_joints]

    def _torques(self, action: np.ndarray) -> list[float]:
        """The torque of each motor, [joints]."""
        return [
            scale * (1.0 if a > 1.0 else -1.0 if a < -1.0 else a)
            for scale, a in zip(self._world.torques, action.tolist(), strict=True)
        ]

    def _features(self) -> list[float]:
        """The observation in double precision and without bounds; keeps the pose that rewards and cameras read."""
        world, robot = self._world, self.robot
        body, client = world.body, world.client
        links = pybullet.getLinkStates(body, world.links, 1, physicsClientId=client)
        xs = [link[0][0] for link in links]
        ys = [link[0][1] for link in links]
        if world.torso is not None:
            torso = links[world.torso]
            position, orientation, velocity = torso[0], torso[1], torso[6]
        else:
            position, orientation = pybullet.getBasePositionAndOrientation(body, client)
            velocity, _ = pybullet.getBaseVelocity(body, client)
            xs.insert(world.base, position[0])
            ys.insert(world.base, position[1])
        xs.append(world.floor_position[0])
        ys.append(world.floor_position[1])
        x, y, z = _sum(xs) / len(xs), _sum(ys) / len(ys), position[2]
        roll, pitch, yaw = pybullet.getEulerFromQuaternion(orientation)
        robot.body_real_xyz, robot.body_xyz, robot.body_rpy = position, (x, y, z), (roll, pitch, yaw)

        dx, dy = robot.walk_target_x - x, robot.walk_target_y - y
        world.to_target[0], world.to_target[1] = dy, dx
        robot.walk_target_dist = math.sqrt(world.to_target.dot(world.to_target))
        robot.walk_target_theta = float(np.arctan2(dy, dx))
        angle = robot.walk_target_theta - yaw

        rotation = world.rotation
        rotation[0, 0] = rotation[1, 1] = np.cos(-yaw)
        rotation[1, 0] = sine = np.sin(-yaw)
        rotation[0, 1] = -sine
        world.velocity[:] = velocity
        vx, vy, vz = rotation.dot(world.velocity).tolist()  # seen from the body
        features = [z - robot.initial_z, np.sin(angle), np.cos(angle), 0.3 * vx, 0.3 * vy, 0.3 * vz, roll, pitch]

        robot.joints_at_limit = 0
        joints = pybullet.getJointStates(body, world.joints, client)
        for (angle, speed, _, _), (lower, span) in zip(joints, world.limits, strict=True):
            scaled = 2 * (angle - lower) / span - 1.0
            robot.joints_at_limit += abs(scaled) > _AT_LIMIT
            features.append(scaled)
            features.append(0.1 * speed)
        features += robot.feet_contact.tolist()
        return features

    def _electricity(self, action: np.ndarray, speeds: np.ndarray) -> float:
        """Cost of the motors' work, |action · speed|, and of torque at rest, action²; means over joints, in the action's precision."""
        costs = self._world.costs
        if action.dtype != np.float32:
            costs = np.empty(costs.shape, np.result_type(action, np.float32))
        np.multiply(action, speeds, out=costs[0])
        np.abs(costs[0], out=costs[0])
        np.square(action, out=costs[1])
        work, rest = (np.add.reduce(costs, axis=1) / costs.shape[1]).tolist()
        return self.electricity_cost * work + self.stall_torque_cost * rest

    def _update_feet(self) -> None:
        """Marks each foot that touches the floor with 1."""
        world, contact = self._world, self.robot.feet_contact
        if len(world.feet) == 1:
            (foot,) = world.feet
            contact[0] = bool(pybullet.getContactPoints(world.body, world.floor, foot, -1, world.client))
            return
        touching = {point[3] for point in pybullet.getContactPoints(world.body, world.floor, physicsClientId=world.client)}
        for place, foot in enumerate(world.feet):
            contact[place] = foot in touching


def _sum(values: list[float]) -> float:
    """Adds in the order of NumPy's pairwise summation of up to 128 numbers, so that means are equal to the last bit."""
    if len(values) < 8:
        total = 0.0
        for value in values:
            total += value
        return total
    a, b, c, d, e, f, g, h = values[:8]
    rest = len(values) % 8
    end = len(values) - rest
    for start in range(8, end, 8):
        i, j, k, m, n, o, p, q = values[start : start + 8]
        a, b, c, d, e, f, g, h = a + i, b + j, c + k, d + m, e + n, f + o, g + p, h + q
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for value in values[end:]:
        total += value
    return total


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
