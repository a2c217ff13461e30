"""Point: a sphere on two slides that is drawn into a pocket on its way to the goal (Section 5; Pacchiano et al. 2019).

The wall at x = 13 to 14 is a pocket open to the agent; the goal is at (25, 0). Straight into the pocket scores about
-775 in 50 steps, going round about -560.

A sphere that rests exactly on the floor (centre at its radius, 0.5) touches it in MuJoCo 3.2 and newer for half of
the start states (rounding decides), and friction then eats the thrust: x reaches 5 in 50 steps, not 13. The sphere is
therefore lifted by 1e-4; with that the returns of the published runs come back.
"""

from __future__ import annotations

from typing import Any

import mujoco

from wng_tf.envs.goal_behind_wall import GoalEnv, GoalTask, GoalVectorEnv

RADIUS = 0.5
LIFT = 1e-4
GEAR = 2000.0
TIMESTEP = 0.02
FRAME_SKIP = 2
#: Boxes as centre (x, y) and half-size (x, y, z), metres.
WALLS = (((13.0, 2.0), (1.0, 0.3, 2.0)), ((13.0, -2.0), (1.0, 0.3, 2.0)), ((14.0, 0.0), (0.3, 2.0, 2.0)))
GOAL = (25.0, 0.0)


def build() -> mujoco.MjSpec:
    """The model: floor, walls, and a sphere with a heading box on slides x, y and a hinge z."""
    spec = mujoco.MjSpec()
    spec.modelname = "point"
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_RK4
    geom = spec.default.geom
    geom.conaffinity = 0
    geom.density = 100.0
    geom.friction = [1.0, 0.5, 0.5]
    geom.rgba = [0.8, 0.6, 0.4, 1.0]
    add_scenery(spec, WALLS, GOAL)

    torso = spec.worldbody.add_body(name="torso")
    torso.add_geom(name="sphere", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[RADIUS, 0, 0], pos=[0, 0, RADIUS + LIFT])
    torso.add_geom(name="heading", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.5, 0.1, 0.1], pos=[0.6, 0, RADIUS + LIFT])
    torso.add_joint(name="x", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[1, 0, 0])
    torso.add_joint(name="y", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 1, 0])
    torso.add_joint(name="heading", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
    for name in ("x", "y"):
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.gear[0] = GEAR
        motor.ctrllimited = True
        motor.ctrlrange = [-1.0, 1.0]
    return spec


def add_scenery(
    spec: mujoco.MjSpec,
    walls: tuple[tuple[tuple[float, float], tuple[float, float, float]], ...],
    goal: tuple[float, float],
) -> None:
    """Adds the floor if there is none, a light, the walls, and a mark at the goal that nothing touches."""
    world = spec.worldbody
    if spec.geom("floor") is None:
        world.add_geom(
            name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[40, 40, 40], conaffinity=1, rgba=[0.8, 0.9, 0.8, 1]
        )
        world.add_light(pos=[0, 0, 1.3], dir=[0, 0, -1.3], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    for i, ((x, y), size) in enumerate(walls):
        box = mujoco.mjtGeom.mjGEOM_BOX
        world.add_geom(name=f"wall_{i}", type=box, pos=[x, y, 0], size=size, conaffinity=1, rgba=[0.6, 0.2, 0.2, 1])
    mark = mujoco.mjtGeom.mjGEOM_CYLINDER
    world.add_geom(
        name="goal",
        type=mark,
        pos=[*goal, 0.01],
        size=[0.6, 0.01, 0],
        contype=0,
        conaffinity=0,
        rgba=[0.2, 0.8, 0.2, 1],
    )


POINT = GoalTask(
    build=build,
    frame_skip=FRAME_SKIP,
    goal=GOAL,
    camera={"lookat": [13.0, 0.0, 0.0], "distance": 38.0, "elevation": -60.0, "azimuth": 90.0},
)


class PointEnv(GoalEnv):
    """Observation: x, y, heading and their velocities. Action: thrust along x and y in [-1, 1]. Step: 0.04 s."""

    task = POINT
    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 25}


class PointVectorEnv(GoalVectorEnv):
    """Many Point worlds stepped together."""

    task = POINT
