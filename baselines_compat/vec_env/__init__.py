"""Vectorised environments in Baselines' names. Nothing here imports TensorFlow."""

from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError
from baselines_compat.vec_env.gym_vec_env import GymVecEnv
from baselines_compat.vec_env.make import make_vec_env
from baselines_compat.vec_env.normalizer import Normalizer, NormalizerSettings
from baselines_compat.vec_env.segment import EpisodeRecord, SegmentArrays
from baselines_compat.vec_env.slot import EnvSlot
from baselines_compat.vec_env.subproc_vec_env import SubprocVecEnv
from baselines_compat.vec_env.vec_env import DummyVecEnv, VecEnv
from baselines_compat.vec_env.vec_frame_stack import VecFrameStack
from baselines_compat.vec_env.vec_monitor import VecMonitor
from baselines_compat.vec_env.vec_normalize import VecNormalize
from baselines_compat.vec_env.wrapper import VecEnvObservationWrapper, VecEnvWrapper

__all__ = [
    "DummyVecEnv",
    "EnvSlot",
    "EnvironmentFailure",
    "EpisodeRecord",
    "GymVecEnv",
    "NonFiniteError",
    "Normalizer",
    "NormalizerSettings",
    "SegmentArrays",
    "SubprocVecEnv",
    "VecEnv",
    "VecEnvObservationWrapper",
    "VecEnvWrapper",
    "VecFrameStack",
    "VecMonitor",
    "VecNormalize",
    "WorkerError",
    "make_vec_env",
]
