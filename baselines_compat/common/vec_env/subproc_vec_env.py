"""Where Baselines keeps `SubprocVecEnv`."""

from baselines_compat.vec_env import SubprocVecEnv

__all__ = ["SubprocVecEnv"]
