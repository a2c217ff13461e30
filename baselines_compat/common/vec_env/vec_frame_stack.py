"""Where Baselines keeps `VecFrameStack`."""

from baselines_compat.vec_env import VecFrameStack

__all__ = ["VecFrameStack"]
