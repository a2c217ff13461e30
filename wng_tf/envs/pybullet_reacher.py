"""The PyBullet Reacher with the numbers of the packaged one; `pybullet_locomotion` tells how."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet
from wng_tf.envs.pybullet_world import BulletWorld
from wng_tf.envs.scalar_numpy import cos, length3, sin

_TORQUE = 0.05  # at action 1
_ARM = ("joint0", "joint1")
_TARGET = ("target_x", "target_y")
_REACH, _TURN = 0.27, 3.14  # the target's largest coordinate, metres; the arm's largest angle at the start, radians


class ReacherEnv(BulletWorld):
    """ReacherBulletEnv-v0: observation [9], action [2]; its episodes end at the time limit alone."""

    file = "reacher.xml"
    sizes = (9, 2)
    gravity = 0.0
    restores = False

    potential: float

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One control step of 16.5 ms.

        Args:
          action: torques of shoulder and elbow relative to their maximum, [2]; the motors clip them to -1..1.

        Returns:
          observation float32 [9], reward, False, False, {}.

        Raises:
          ValueError: an action that is not finite.
        """
        shoulder, elbow = action
        if not math.isfinite(shoulder + elbow):
            raise ValueError(f"the action is not finite: {action}")
        torques = [_TORQUE * min(max(float(share), -1.0), 1.0) for share in (shoulder, elbow)]
        pybullet.setJointMotorControlArray(
            self._arm, self._joints, pybullet.TORQUE_CONTROL, forces=torques, physicsClientId=self._client
        )
        pybullet.stepSimulation(self._client)

        last_potential = self.potential
        state, shoulder_speed, elbow_position, elbow_speed = self._observe()
        # Terms with an action are in its precision, as in the packaged code.
        work = abs(shoulder * shoulder_speed) + abs(elbow * elbow_speed)
        electricity = -0.10 * work - 0.01 * (abs(shoulder) + abs(elbow))
        stuck = -0.1 if abs(abs(elbow_position) - 1) < 0.01 else 0.0
        self.rewards = [self.potential - last_potential, float(electricity), stuck]
        return state, sum(self.rewards), False, False, {}

    def _start(self) -> None:
        for names, limit in ((_TARGET, _REACH), (_ARM, _TURN)):
            for name in names:
                self.robot.joints[name].start(self.np_random.uniform(-limit, limit))

    def _cache(self) -> None:
        joints = [self.robot.joints[name] for name in _ARM]
        self._client = self.physicsClientId
        self._arm = joints[0].body
        self._joints = [joint.index for joint in joints]
        self._fingertip = self.robot.parts["fingertip"].link
        self._lower = [joint.lowerLimit for joint in joints]
        self._span = [joint.upperLimit - joint.lowerLimit for joint in joints]

    def _first(self, fresh: bool) -> np.ndarray:
        # Nothing moves the target within an episode: there is no gravity, and the arm passes through it.
        self._target_joints = [self.robot.joints[name].position() for name in _TARGET]
        self._target = self.robot.parts["target"].position()
        return self._observe()[0]

    def _observe(self) -> tuple[np.ndarray, float, float, float]:
        """Observation, shoulder speed, elbow position and elbow speed; sets the potential."""
        (shoulder, shoulder_speed, _, _), (elbow, elbow_speed, _, _) = pybullet.getJointStates(
            self._arm, self._joints, self._client
        )
        shoulder = 2 * (shoulder - self._lower[0]) / self._span[0] - 1.0
        elbow = 2 * (elbow - self._lower[1]) / self._span[1] - 1.0
        shoulder_speed, elbow_speed = 0.1 * shoulder_speed, 0.1 * elbow_speed
        (tip_x, tip_y, tip_z), *_ = pybullet.getLinkState(self._arm, self._fingertip, 0, 0, self._client)
        x, y, z = self._target
        dx, dy = tip_x - x, tip_y - y
        self.potential = -100 * length3(dx, dy, tip_z - z)
        features = [*self._target_joints, dx, dy, cos(shoulder), sin(shoulder), shoulder_speed, elbow, elbow_speed]
        return np.array(features, np.float32), shoulder_speed, elbow, elbow_speed
