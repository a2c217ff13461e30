"""Where Baselines keeps `DummyVecEnv`."""

from baselines_compat.vec_env import DummyVecEnv

__all__ = ["DummyVecEnv"]
