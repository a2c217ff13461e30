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
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet
from wng_tf.envs.pybullet_robot import Joint, Part, data_file
from wng_tf.envs.pybullet_world import BulletWorld
from wng_tf.envs.scalar_numpy import arctan2, cos, float32_limit, length, mean_xy, pairwise_sum, sin

_AT_LIMIT = float32_limit(0.99)  # the packaged code compares in float32
_BOUND = 5.0  # of every observed number
_TORQUE = pybullet.TORQUE_CONTROL
_TARGET = (1e3, 0.0)  # where the robot is to go, metres
_SPREAD = 0.1  # of the joints at the start, radians to either side
_POWER = 100.0  # of a joint's motor, if the task does not say otherwise
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


class LocomotionEnv(BulletWorld):
    """A robot that runs towards a far target: a `step` of few engine calls, with the packaged results."""

    torso = "torso"
    seconds = 0.0165 / 4 * 4  # in this order of operations
    substeps = 4
    #: Costs, each times its measure: work of the motors, torque at rest, joints at a limit.
    electricity_cost: ClassVar[float] = -2.0
    stall_torque_cost: ClassVar[float] = -0.1
    joints_at_limit_cost: ClassVar[float] = -0.1
    feet: ClassVar[tuple[str, ...]]
    power: ClassVar[float]  # of all motors
    powers: ClassVar[dict[str, float]] = {}  # of single ones, by joint

    _world: _World

    @abstractmethod
    def _alive_bonus(self, z: float, pitch: float) -> float:
        """The reward for not having fallen, from the torso's height in metres and its pitch; below 0 the episode ends."""

    def _load_floor(self) -> dict[str, Part]:
        client = self.physicsClientId
        (floor,) = pybullet.loadSDF(data_file("plane_stadium.sdf"), physicsClientId=client)
        pybullet.changeDynamics(floor, -1, lateralFriction=0.8, restitution=0.5, physicsClientId=client)
        pybullet.changeVisualShape(floor, -1, rgbaColor=[1, 1, 1, 0.8], physicsClientId=client)
        pybullet.configureDebugVisualizer(pybullet.COV_ENABLE_PLANAR_REFLECTION, floor, physicsClientId=client)
        return {"floor": Part(client, floor, -1)}

    def _start(self) -> None:
        for joint in self.robot.ordered_joints:
            joint.start(self.np_random.uniform(-_SPREAD, _SPREAD))
        self.robot.feet_contact = np.zeros(len(self.feet), np.float32)
        self.robot.initial_z = None

    def _cache(self) -> None:
        self._world = _describe(self)

    def _first(self, fresh: bool) -> np.ndarray:
        self._floor_is_a_part = not fresh
        state, _, _, _ = self._observe()
        self.potential = self._potential()
        self._floor_is_a_part = True
        return state

    def _is_done(self) -> bool:
        return self._alive < 0

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
        self._alive = float(self._alive_bonus(state[0] + robot.initial_z, robot.body_rpy[1]))
        terminated = self._is_done() or not finite
        last_potential, self.potential = self.potential, self._potential()
        self._update_feet()  # only now: observation and alive bonus tell of the contacts of the step before
        self.rewards = [
            self._alive,
            float(self.potential - last_potential),
            self._electricity(action, speeds),
            self.joints_at_limit_cost * at_limit,
            0.0,  # collisions of feet have no cost
        ]
        return state, sum(self.rewards), terminated, False, {}

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
        return -self._distance / self._world.seconds

    def _motors(self) -> list[tuple[int, float]]:
        """Joint index and torque at action 1 of each motor, in the order of the actions."""
        return [(joint.index, self.power * self.powers.get(name, _POWER)) for name, joint in self.robot.joints.items()]

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
        if self._floor_is_a_part:
            positions.append(world.floor_position)
        x, y = mean_xy(positions)
        z = position[2]
        if robot.initial_z is None:  # after a reset; NumPy's double keeps the sum with a float32 in double precision
            robot.initial_z = np.float64(z)
        roll, pitch, yaw = angles = pybullet.getEulerFromQuaternion(orientation)
        dx, dy = _TARGET[0] - x, _TARGET[1] - y
        robot.body_real_xyz, robot.body_xyz, robot.body_rpy = position, (x, y, z), angles
        self._distance = length(dy, dx)

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


def _describe(env: LocomotionEnv) -> _World:
    robot, motors = env.robot, env._motors()
    *own, floor = robot.parts.values()
    links, torso = [part.link for part in own], robot.torso
    bodies = {part.body for part in own}
    if torso is None or bodies != {torso.body} or floor.body in bodies or (-1 in links) != (torso.link < 0):
        raise RuntimeError(f"{env.file} of this pybullet is another robot than that of pybullet_envs_gymnasium 0.6")
    base = -1
    if torso.link < 0:
        base = links.index(-1)
        links.remove(-1)
    joints: list[Joint] = robot.ordered_joints
    return _World(
        client=env.physicsClientId,
        body=torso.body,
        floor=floor.body,
        joints=[joint.index for joint in joints],
        limits=[(joint.lowerLimit, joint.upperLimit - joint.lowerLimit) for joint in joints],
        motors=[motor for motor, _ in motors],
        torques=[torque for _, torque in motors],
        links=links,
        torso=links.index(torso.link) if torso.link >= 0 else -1,
        base=base,
        floor_position=floor.position(),
        feet=[robot.parts[foot].link for foot in env.feet],
        seconds=env.seconds,
        speeds=slice(_FIRST_JOINT + 1, _FIRST_JOINT + 2 * len(joints), 2),
        rotation=np.eye(3),
        velocity=np.zeros(3),
    )


class HopperEnv(LocomotionEnv):
    """HopperBulletEnv-v0: observation [15], action [3]."""

    file = "hopper.xml"
    sizes = (15, 3)
    feet: ClassVar[tuple[str, ...]] = ("foot",)
    power = 0.75

    def _alive_bonus(self, z: float, pitch: float) -> float:
        return 1.0 if z > 0.8 and abs(pitch) < 1.0 else -1.0


class Walker2dEnv(HopperEnv):
    """Walker2DBulletEnv-v0: observation [22], action [6]."""

    file = "walker2d.xml"
    sizes = (22, 6)
    feet = ("foot", "foot_left")
    power = 0.40
    powers = {"foot_joint": 30.0, "foot_left_joint": 30.0}


class HalfCheetahEnv(LocomotionEnv):
    """HalfCheetahBulletEnv-v0: observation [26], action [6]; its episodes end at the time limit alone."""

    file = "half_cheetah.xml"
    sizes = (26, 6)
    feet = ("ffoot", "fshin", "fthigh", "bfoot", "bshin", "bthigh")
    power = 0.90
    powers = {"bthigh": 120.0, "bshin": 90.0, "bfoot": 60.0, "fthigh": 140.0, "fshin": 60.0, "ffoot": 30.0}

    def _alive_bonus(self, z: float, pitch: float) -> float:
        _, front_shin, front_thigh, _, back_shin, back_thigh = self.robot.feet_contact.tolist()
        kneels = front_shin or front_thigh or back_shin or back_thigh
        return 1.0 if abs(pitch) < 1.0 and not kneels else -1.0

    def _is_done(self) -> bool:
        return False


class AntEnv(LocomotionEnv):
    """AntBulletEnv-v0: observation [28], action [8]."""

    file = "ant.xml"
    sizes = (28, 8)
    feet = ("front_left_foot", "front_right_foot", "left_back_foot", "right_back_foot")
    power = 2.5

    def _alive_bonus(self, z: float, pitch: float) -> float:
        return 1.0 if z > 0.26 else -1.0  # the torso is a sphere of 0.25 m


class HumanoidEnv(LocomotionEnv):
    """HumanoidBulletEnv-v0: observation [44], action [17]."""

    file = "humanoid_symmetric.xml"
    sizes = (44, 17)
    feet = ("right_foot", "left_foot")
    power = 0.41
    electricity_cost = 4.25 * LocomotionEnv.electricity_cost
    stall_torque_cost = 4.25 * LocomotionEnv.stall_torque_cost
    #: In the order of the actions, which is not that of the observation.
    powers = {
        **dict.fromkeys(("abdomen_z", "abdomen_y", "abdomen_x"), 100.0),
        **{"right_hip_x": 100.0, "right_hip_z": 100.0, "right_hip_y": 300.0, "right_knee": 200.0},
        **{"left_hip_x": 100.0, "left_hip_z": 100.0, "left_hip_y": 300.0, "left_knee": 200.0},
        **dict.fromkeys(("right_shoulder1", "right_shoulder2", "right_elbow"), 75.0),
        **dict.fromkeys(("left_shoulder1", "left_shoulder2", "left_elbow"), 75.0),
    }

    def _start(self) -> None:
        super()._start()
        self.robot.initial_z = 0.8

    def _motors(self) -> list[tuple[int, float]]:
        return [(self.robot.joints[name].index, power * self.power) for name, power in self.powers.items()]

    def _torques(self, action: np.ndarray) -> list[float]:
        # This robot multiplies before it converts to double: in the precision of the action.
        return (np.asarray(self._world.torques, action.dtype) * np.clip(action, -1.0, 1.0)).tolist()

    def _alive_bonus(self, z: float, pitch: float) -> float:
        return 2.0 if z > 0.78 else -1.0
