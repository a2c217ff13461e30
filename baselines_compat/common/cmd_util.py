"""Environments and command lines for scripts, in Baselines' form."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from baselines_compat.bench import Monitor
from baselines_compat.common.misc_util import set_global_seeds
from baselines_compat.common.retro_wrappers import RewardScaler
from baselines_compat.errors import UserError
from baselines_compat.logger import Logger
from baselines_compat.vec_env import make as plain
from baselines_compat.vec_env.arguments import count
from baselines_compat.vec_env.subproc_vec_env import SubprocVecEnv
from baselines_compat.vec_env.vec_env import DummyVecEnv, VecEnv
from baselines_compat.whole_numbers import parse

#: Types of environments that Baselines wraps in ways of its own, and what to use for them.
ELSEWHERE = {
    "atari": "wrap the game with gymnasium.wrappers.AtariPreprocessing, register that, and give its id",
    "retro": "make the game with stable-retro, register that, and give its id",
}


def make_vec_env(env_id: str | Callable[[], gym.Env], *args: Any, **kwargs: Any) -> VecEnv:
    """Several copies of an environment: `make_vec_env("Hopper-v5", "mujoco", 4, 0)`, as in Baselines.

    Each copy has a monitor that writes `0.N.monitor.csv` to the logger's folder, if a logger is configured. One copy is
    stepped in this process, more in a process each. See `make_env` for the arguments that are not here.

    Args:
      env_id: a Gymnasium id, or a picklable function that makes one environment.
      env_type: "mujoco", "classic_control" or whatever; "atari" and "retro" are refused.
      num_env: how many copies.
      seed: of the environments, and of Python's, NumPy's and TensorFlow's global generators; None: from the system.
      start_index: the number of the first copy, in the names of the monitors' files.
      force_dummy: step all of them in this process.

    Without a type, `make_vec_env(env_id, num_env, seed, ...)` is `baselines_compat.vec_env.make_vec_env`.

    Raises:
      UserError: a type that is not supported.
    """
    typed = "env_type" in kwargs or (args and isinstance(args[0], str))
    return _monitored(env_id, *args, **kwargs) if typed else plain.make_vec_env(env_id, *args, **kwargs)


def _monitored(
    env_id: str | Callable[[], gym.Env],
    env_type: str,
    num_env: int,
    seed: int | None,
    wrapper_kwargs: Mapping[str, Any] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    start_index: int = 0,
    reward_scale: float = 1.0,
    flatten_dict_observations: bool = True,
    gamestate: Any = None,
    initializer: Callable[[int, int], None] | None = None,
    force_dummy: bool = False,
) -> VecEnv:
    _check_type(env_type)
    num_env = count(num_env)
    set_global_seeds(seed)
    start = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
    make = functools.partial(
        make_env,
        env_id,
        env_type,
        reward_scale=reward_scale,
        flatten_dict_observations=flatten_dict_observations,
        gamestate=gamestate,
        wrapper_kwargs=wrapper_kwargs,
        env_kwargs=env_kwargs,
        logger_dir=Logger.CURRENT.get_dir() if Logger.CURRENT else None,
        initializer=initializer,
    )
    numbers = range(start_index, start_index + num_env)
    env_fns = [functools.partial(make, subrank=i, seed=start) for i in numbers]
    if num_env > 1 and not force_dummy:
        return SubprocVecEnv(env_fns, start + start_index)
    return DummyVecEnv(env_fns, start + start_index)


def make_env(
    env_id: str | Callable[[], gym.Env],
    env_type: str,
    mpi_rank: int = 0,
    subrank: int = 0,
    seed: int | None = None,
    reward_scale: float = 1.0,
    gamestate: Any = None,
    flatten_dict_observations: bool = True,
    wrapper_kwargs: Mapping[str, Any] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    logger_dir: str | None = None,
    initializer: Callable[[int, int], None] | None = None,
) -> gym.Env:
    """One environment with a monitor, whose first reset has the seed `seed + subrank`.

    Args:
      reward_scale: what rewards are multiplied by, after they are recorded.
      flatten_dict_observations: whether a Dict observation becomes one vector.
      env_kwargs: for the environment's constructor.
      logger_dir: folder of the monitor's file `<mpi_rank>.<subrank>.monitor.csv`; None: no file.
      initializer: called with `mpi_rank` and `subrank` before the environment is made.
      wrapper_kwargs, gamestate: of Atari and Retro games, which are not supported: refused.

    Raises:
      UserError: what is not supported.
    """
    _check_type(env_type)
    if wrapper_kwargs or gamestate is not None:
        raise UserError(
            "wrapper_kwargs and gamestate are for Atari and Retro games, which are not supported: leave them out."
        )
    if initializer is not None:
        initializer(mpi_rank, subrank)
    env: gym.Env = env_id(**(env_kwargs or {})) if callable(env_id) else gym.make(env_id, **(env_kwargs or {}))
    if flatten_dict_observations and isinstance(env.observation_space, gym.spaces.Dict):
        env = gym.wrappers.FlattenObservation(env)
    if seed is not None:
        env.reset(seed=seed + subrank)
        env.action_space.seed(seed + subrank)
    env = Monitor(env, logger_dir and os.path.join(logger_dir, f"{mpi_rank}.{subrank}"), allow_early_resets=True)
    return env if reward_scale == 1.0 else RewardScaler(env, reward_scale)


def _check_type(env_type: str) -> None:
    if env_type in ELSEWHERE:
        raise UserError(f"Environments of the type {env_type} are not wrapped here: {ELSEWHERE[env_type]}.")


def arg_parser() -> argparse.ArgumentParser:
    """A parser without arguments, whose help shows defaults."""
    return argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)


def common_arg_parser() -> argparse.ArgumentParser:
    """The arguments of `python -m baselines_compat.run`; others are settings of the algorithm."""
    parser = arg_parser()
    parser.add_argument("--env", default="Reacher-v5", help="environment id")
    parser.add_argument("--env_type", default=None, help="kind of the environment; atari and retro are refused")
    parser.add_argument("--seed", type=parse, default=None, help="seed of everything random")
    parser.add_argument("--alg", default="ppo2", help="algorithm")
    parser.add_argument("--num_timesteps", type=float, default=1e6, help="environment steps to train for")
    parser.add_argument("--network", default=None, help="mlp, or another that is registered")
    parser.add_argument("--gamestate", default=None, help="of Retro games: refused")
    parser.add_argument("--num_env", type=parse, default=None, help="copies of the environment; default 1")
    parser.add_argument("--reward_scale", type=float, default=1.0, help="refused unless 1: rewards are normalised")
    parser.add_argument("--save_path", default=None, help="file for the trained policy")
    parser.add_argument("--save_video_interval", type=int, default=0, help="refused unless 0")
    parser.add_argument("--save_video_length", type=int, default=200, help="of no effect")
    parser.add_argument("--log_path", default=None, help="folder of the run; default: $OPENAI_LOGDIR, if it is set")
    parser.add_argument("--play", action="store_true", help="show the trained policy on a screen")
    return parser


def parse_unknown_args(args: Sequence[str]) -> dict[str, str]:
    """Arguments `--key=value` and `--key value` as texts by key; what belongs to no key is left out."""
    found: dict[str, str] = {}
    key = ""
    for argument in args:
        if argument.startswith("--"):
            key, given, value = argument[2:].partition("=")
            if given:
                found[key], key = value, ""
        elif key:
            found[key], key = argument, ""
    return found
