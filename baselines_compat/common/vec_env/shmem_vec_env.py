"""Where Baselines keeps `ShmemVecEnv`: here `SubprocVecEnv` shares memory with its workers."""

from baselines_compat.vec_env import SubprocVecEnv as ShmemVecEnv

__all__ = ["ShmemVecEnv"]
