"""Where Baselines keeps `VecNormalize`."""

from baselines_compat.vec_env import VecNormalize

__all__ = ["VecNormalize"]
