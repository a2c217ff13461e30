"""Where Baselines keeps the interface of vectorised environments."""

from baselines_compat.vec_env import VecEnv, VecEnvObservationWrapper, VecEnvWrapper

__all__ = ["VecEnv", "VecEnvObservationWrapper", "VecEnvWrapper"]
