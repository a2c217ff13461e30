"""A robot of one of the engine's own MJCF files: its parts and joints, by the names in the file.

Parts and joints are in the order of `pybullet_envs_gymnasium` 0.6, because numbers depend on it: positions are averaged
over the parts, and each joint draws its start in its turn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet, quiet

with quiet():
    import pybullet_data

#: Flags of every robot: its parts touch each other, but for those that hang together.
_FLAGS = (
    pybullet.URDF_USE_SELF_COLLISION
    | pybullet.URDF_USE_SELF_COLLISION_EXCLUDE_ALL_PARENTS
    | pybullet.URDF_GOOGLEY_UNDEFINED_COLORS
)
_NAME, _LOWER, _UPPER, _LINK_NAME = 1, 8, 9, 12  # in what `getJointInfo` returns
_BASE = -1  # the link number of a body's base


def data_file(*parts: str) -> str:
    """The path of a file that comes with the engine."""
    return str(Path(pybullet_data.getDataPath(), *parts))


class Part:
    """A link of a body, or its base (link -1)."""

    def __init__(self, client: int, body: int, link: int):
        self._client = client
        self.body = body
        self.link = link

    def position(self) -> tuple[float, float, float]:
        """Of the centre of mass, in metres."""
        if self.link == _BASE:
            return pybullet.getBasePositionAndOrientation(self.body, self._client)[0]
        return pybullet.getLinkState(self.body, self.link, 0, 0, self._client)[0]


class Joint:
    """A joint that moves: `lowerLimit` and `upperLimit` in radians or metres."""

    def __init__(self, client: int, body: int, index: int):
        self._client = client
        self.body = body
        self.index = index
        information = pybullet.getJointInfo(body, index, client)
        self.lowerLimit: float = information[_LOWER]
        self.upperLimit: float = information[_UPPER]

    def position(self) -> float:
        """In radians or metres."""
        return pybullet.getJointState(self.body, self.index, self._client)[0]

    def set_state(self, position: float, speed: float) -> None:
        """Put the joint at a position, with a speed; its motor stays as it is."""
        pybullet.resetJointState(self.body, self.index, position, speed, self._client)

    def start(self, position: float) -> None:
        """Put the joint at rest at a position, with its motor off."""
        self.set_state(position, 0.0)
        release(self._client, self.body, self.index)


class Robot:
    """The bodies of a file, loaded into a world.

    Attributes:
      parts: by name, in their order.
      joints: those that move, by name, in their order.
      torso: the part that stands for the robot; None if the file has no part of that name.
      initial_z: the torso's height that the observed one is counted from; None until it is observed after a reset.
      feet_contact: 1 for each foot that touched the floor in the step before, float32 [feet].
      body_xyz: x and y averaged over the parts, z of the torso, metres.
      body_real_xyz: of the torso, metres.
      body_rpy: roll, pitch and yaw of the torso, radians.
    """

    initial_z: float | None = None
    feet_contact: np.ndarray
    body_xyz = body_real_xyz = body_rpy = (0.0, 0.0, 0.0)

    def __init__(self, client: int, file: str, torso: str):
        self.parts: dict[str, Part] = {}
        self.joints: dict[str, Joint] = {}
        bodies = pybullet.loadMJCF(data_file("mjcf", file), flags=_FLAGS, physicsClientId=client)
        for body in bodies:
            count = pybullet.getNumJoints(body, client)
            if count == 0:
                self.parts[pybullet.getBodyInfo(body, client)[0].decode()] = Part(client, body, _BASE)
            for index in range(count):
                information = pybullet.getJointInfo(body, index, client)
                joint, link = information[_NAME].decode(), information[_LINK_NAME].decode()
                release(client, body, index)
                self.parts[link] = Part(client, body, index)
                if body == bodies[0] and index == 0:
                    # The base, unless a link of this name comes: which then has its place in the order.
                    self.parts.setdefault(torso, Part(client, body, _BASE))
                if not joint.startswith(("ignore", "jointfix")):
                    self.joints[joint] = Joint(client, body, index)
        self.torso = self.parts.get(torso)

    @property
    def ordered_joints(self) -> list[Joint]:
        """The joints that move, in the order of the observation."""
        return list(self.joints.values())


def release(client: int, body: int, index: int) -> None:
    """Turn the motor off that the engine gives each joint."""
    pybullet.setJointMotorControl2(
        body,
        index,
        pybullet.POSITION_CONTROL,
        targetPosition=0.0,
        targetVelocity=0.0,
        positionGain=0.1,
        velocityGain=0.1,
        force=0.0,
        physicsClientId=client,
    )
