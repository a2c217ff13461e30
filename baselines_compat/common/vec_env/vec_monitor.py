"""Where Baselines keeps `VecMonitor`."""

from baselines_compat.vec_env import VecMonitor

__all__ = ["VecMonitor"]
