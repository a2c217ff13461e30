"""Environments of this project; importing this package registers their ids with Gymnasium.

Entry points are strings, so neither MuJoCo nor PyBullet is imported before an environment is made.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

_MUJOCO_WORLDS = {
    # id: (module, class stem, time limit)
    "wng_tf/Point-v0": ("wng_tf.envs.point", "Point", 50),
    "wng_tf/Quadruped-v0": ("wng_tf.envs.quadruped", "Quadruped", 400),
}

# The time limits are those of the packaged ids (HopperBulletEnv-v0, ...).
_PYBULLET_WORLDS = {
    "wng_tf/HopperBullet-v0": ("wng_tf.envs.pybullet_locomotion:HopperEnv", 1000),
    "wng_tf/Walker2dBullet-v0": ("wng_tf.envs.pybullet_locomotion:Walker2dEnv", 1000),
    "wng_tf/HalfCheetahBullet-v0": ("wng_tf.envs.pybullet_locomotion:HalfCheetahEnv", 1000),
    "wng_tf/AntBullet-v0": ("wng_tf.envs.pybullet_locomotion:AntEnv", 1000),
    "wng_tf/HumanoidBullet-v0": ("wng_tf.envs.pybullet_locomotion:HumanoidEnv", 1000),
    "wng_tf/ReacherBullet-v0": ("wng_tf.envs.pybullet_reacher:ReacherEnv", 150),
    "wng_tf/InvertedDoublePendulumBullet-v0": ("wng_tf.envs.pybullet_pendulum:DoublePendulumEnv", 1000),
}


def register_environments() -> None:
    """Registers every id of this project that Gymnasium does not know yet; calling it again changes nothing."""
    for env_id, (module, stem, limit) in _MUJOCO_WORLDS.items():
        if env_id not in registry:
            register(
                env_id,
                entry_point=f"{module}:{stem}Env",
                vector_entry_point=f"{module}:{stem}VectorEnv",
                max_episode_steps=limit,
            )
    for env_id, (entry_point, limit) in _PYBULLET_WORLDS.items():
        if env_id not in registry:
            register(env_id, entry_point=entry_point, max_episode_steps=limit)


register_environments()
