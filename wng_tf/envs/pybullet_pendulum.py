"""The PyBullet InvertedDoublePendulum with the numbers of the packaged one; `pybullet_locomotion` tells how."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet
from wng_tf.envs.pybullet_world import BulletWorld
from wng_tf.envs.scalar_numpy import cos, sin

_TORQUE = 200.0  # at action 1
_ALIVE_BONUS = 10.0
_TIP = 0.3  # from the middle of the second pole to its end; upright, the end would be at a height of 2
_FALLEN = 1.0
_HINGES = ("hinge", "hinge2")
_SPREAD = 0.1  # of the angles at the start, radians to either side


class DoublePendulumEnv(BulletWorld):
    """InvertedDoublePendulumBulletEnv-v0: observation [9], action [1]."""

    file = "inverted_double_pendulum.xml"
    sizes = (9, 1)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One control step of 16.5 ms.

        Args:
          action: force on the cart relative to its maximum, [1]; the motor clips it to -1..1.

        Returns:
          observation float32 [9], reward, terminated, False, {}.

        Raises:
          ValueError: an action that is not finite.
        """
        share = float(action[0])
        if not math.isfinite(share):
            raise ValueError(f"the action is not finite: {action}")
        pybullet.setJointMotorControl2(
            self._body,
            self._slider,
            pybullet.TORQUE_CONTROL,
            force=_TORQUE * min(max(share, -1.0), 1.0),
            physicsClientId=self._client,
        )
        pybullet.stepSimulation(self._client)
        state, x, height = self._observe()
        # The packaged code squares NumPy scalars: by `pow`, which is not x * x to the last bit.
        penalty = float(0.01 * np.float64(x) ** 2 + np.float64(height + _TIP - 2) ** 2)
        self.rewards = [_ALIVE_BONUS, -penalty, 0.0]
        return state, sum(self.rewards), height + _TIP <= _FALLEN, False, {}

    def _start(self) -> None:
        starts = self.np_random.uniform(-_SPREAD, _SPREAD, 2).tolist()
        for name, start in zip(_HINGES, starts, strict=True):
            joint = self.robot.joints[name]
            joint.start(start)
            pybullet.setJointMotorControl2(
                joint.body, joint.index, pybullet.TORQUE_CONTROL, force=0.0, physicsClientId=self.physicsClientId
            )

    def _cache(self) -> None:
        joints = [self.robot.joints[name] for name in ("slider", *_HINGES)]
        self._client = self.physicsClientId
        self._body = joints[0].body
        self._slider = joints[0].index
        self._joints = [joint.index for joint in joints]
        self._pole = self.robot.parts["pole2"].link

    def _first(self, fresh: bool) -> np.ndarray:
        return self._observe()[0]

    def _observe(self) -> tuple[np.ndarray, float, float]:
        """Observation, and x and height of the second pole's middle."""
        (cart, cart_speed, _, _), (lower, lower_speed, _, _), (upper, upper_speed, _, _) = pybullet.getJointStates(
            self._body, self._joints, self._client
        )
        (x, _, height), *_ = pybullet.getLinkState(self._body, self._pole, 0, 0, self._client)
        features = [cart, cart_speed, x, cos(lower), sin(lower), lower_speed, cos(upper), sin(upper), upper_speed]
        return np.array(features, np.float32), x, height
