"""Quadruped: Gymnasium's ant behind a wall (Section 5, Figure 7; Pacchiano et al. 2019).

The model is Gymnasium's own `ant.xml`, read from the installed package, with weaker motors (gear 50), the wall at x =
4 to 5 and the goal at (15, 0). Observation: qpos (15), qvel (14), then the external forces on the 14 bodies (84),
which are all zero in the published environment because MuJoCo computes them only on request; the zeros are kept for
the shape of the policy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import mujoco

from wng_tf.envs.goal_behind_wall import GoalEnv, GoalTask, GoalVectorEnv
from wng_tf.envs.point import add_scenery

GEAR = 50.0
FRAME_SKIP = 5
#: Boxes as centre (x, y) and half-size (x, y, z), metres.
WALLS = (((4.5, 1.7), (0.5, 0.3, 3.0)), ((4.5, -1.7), (0.5, 0.3, 3.0)), ((5.0, 0.0), (0.3, 2.0, 3.0)))
GOAL = (15.0, 0.0)
NUM_FORCES = 84


def build() -> mujoco.MjSpec:
    """Gymnasium's ant (0.01 s, RK4) with motor gear 50 and the wall."""
    spec = mujoco.MjSpec.from_file(str(Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "ant.xml"))
    for motor in spec.actuators:
        motor.gear[0] = GEAR
    add_scenery(spec, WALLS, GOAL)
    return spec


QUADRUPED = GoalTask(
    build=build,
    frame_skip=FRAME_SKIP,
    goal=GOAL,
    camera={"lookat": [6.0, 0.0, 0.0], "distance": 22.0, "elevation": -40.0, "azimuth": 90.0},
    zeros=NUM_FORCES,
)


class QuadrupedEnv(GoalEnv):
    """Observation: qpos, qvel and 84 zeros. Action: torques of the eight joints in [-1, 1]. Step: 0.05 s."""

    task = QUADRUPED
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 20}


class QuadrupedVectorEnv(GoalVectorEnv):
    """Many Quadruped worlds stepped together."""

    task = QUADRUPED
