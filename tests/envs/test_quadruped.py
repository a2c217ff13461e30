"""The quadruped's model against Gymnasium's ant, from which it is made."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np

import wng_tf.envs  # noqa: F401
from wng_tf.envs.quadruped import GEAR, QUADRUPED, WALLS


def test_model_is_gymnasiums_ant_but_for_gear_and_wall():
    ours, ant = QUADRUPED.model, gym.make("Ant-v5").unwrapped.model
    assert (ours.nq, ours.nv, ours.nu) == (ant.nq, ant.nv, ant.nu)
    np.testing.assert_array_equal(ours.body_mass[1:], ant.body_mass[1:])
    np.testing.assert_array_equal(ours.jnt_range, ant.jnt_range)
    np.testing.assert_array_equal(ours.dof_damping, ant.dof_damping)
    np.testing.assert_array_equal(ours.actuator_trnid, ant.actuator_trnid)
    assert ours.opt.timestep == ant.opt.timestep
    assert ours.opt.integrator == ant.opt.integrator
    assert (ours.actuator_gear[:, 0] == GEAR).all()
    assert ours.ngeom == ant.ngeom + len(WALLS) + 1


def test_the_wall_stops_the_ant():
    """Thrown at the pocket at 12 m/s it comes to the wall (front at x = 4.7) and not through it."""

    def farthest(spec):
        model = spec.compile()
        data = mujoco.MjData(model)
        data.qpos[0], data.qvel[0] = 2.0, 12.0
        positions = []
        for _ in range(300):
            mujoco.mj_step(model, data)
            positions.append(data.qpos[0])
        return max(positions)

    open_field = QUADRUPED.build()
    for i in range(len(WALLS)):
        open_field.delete(open_field.geom(f"wall_{i}"))
    assert 3.9 < farthest(QUADRUPED.build()) < 4.7
    assert farthest(open_field) > 10.0


def test_reward_is_minus_the_torsos_distance_to_the_goal():
    env = gym.make("wng_tf/Quadruped-v0")
    env.reset(seed=0)
    observation, reward, *_ = env.step(np.zeros(8, np.float32))
    assert reward == -np.hypot(observation[0] - 15.0, observation[1])
