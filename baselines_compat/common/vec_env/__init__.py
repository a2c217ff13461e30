"""Vectorised environments where Baselines keeps them. Nothing here imports TensorFlow."""

from baselines_compat.common.vec_env.shmem_vec_env import ShmemVecEnv
from baselines_compat.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecEnvObservationWrapper,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

__all__ = [
    "DummyVecEnv",
    "ShmemVecEnv",
    "SubprocVecEnv",
    "VecEnv",
    "VecEnvObservationWrapper",
    "VecEnvWrapper",
    "VecFrameStack",
    "VecMonitor",
    "VecNormalize",
]
