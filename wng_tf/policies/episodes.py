"""Episodes that a policy plays with its normalizer frozen, and what their returns say."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env import faults
from baselines_compat.vec_env.intake import Intake
from wng_tf.envs import traits
from wng_tf.errors import UserError
from wng_tf.policies.saved import SavedPolicy
from wng_tf.training import streams
from wng_tf.training.streams import Purpose

#: Steps after which an episode without any time limit is taken to have no end.
ENDLESS = 50_000


@dataclasses.dataclass(frozen=True)
class Returns:
    """Undiscounted returns of some episodes, and what they say of the mean.

    Attributes:
      returns, lengths: of each episode.
      mean, sd: of the returns; sd is that of the sample (divisor n - 1), None for one episode.
      interval: 95% confidence interval of the mean by Student's t; None for one episode.
      mean_length: in steps.
    """

    returns: list[float]
    lengths: list[int]
    mean: float
    sd: float | None
    interval: tuple[float, float] | None
    mean_length: float

    @classmethod
    def of(cls, returns: Sequence[float], lengths: Sequence[int]) -> Returns:
        """The statistics of at least one episode."""
        n = len(returns)
        mean = float(np.mean(returns))
        sd = interval = None
        if n > 1:
            sd = float(np.std(returns, ddof=1))
            from scipy import special  # runs, which import this module, start sooner without it

            half = float(special.stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
            interval = (mean - half, mean + half)
        return cls(list(returns), list(lengths), mean, sd, interval, float(np.mean(lengths)))


def play(
    policy: SavedPolicy,
    world: gymnasium.Env,
    episodes: int,
    seed: int,
    *,
    deterministic: bool,
    max_episode_steps: int = 0,
    progress: Callable[[], object] = lambda: None,
    starts: Purpose = streams.EVALUATION_START,
) -> Returns:
    """Play `episodes` in `world`.

    Args:
      policy: who acts.
      world: a `Guarded` one, or from `tasks.make`; fresh, if its physics remembers (PyBullet's does).
      seed: episode i starts from, and draws its actions by, streams keyed by (seed, i).
      deterministic: whether the policy's likeliest action is taken, or a sampled one.
      max_episode_steps: cut an episode after so many steps; 0: at the environment's own time limit.
      progress: called after each episode.
      starts: the streams of the start states.

    Raises:
      UserError: the environment has no time limit, and an episode does not end.
      NonFiniteError: an observation or reward is NaN or infinite.
      UnusableOutput: an observation, reward or flag whose meaning is not clear.
    """
    limited = bool(max_episode_steps) or time_limit(world) is not None
    limit = max_episode_steps or (sys.maxsize if limited else ENDLESS)
    intake = Intake(world, faults.name_of(world))
    returns, lengths = [], []
    for episode in range(episodes):
        rng = streams.generator(seed, streams.EVALUATION_ACTIONS, episode)
        observation, _ = intake.reset(world.reset(seed=starts.words(1, seed, episode)[0]))
        total, steps, over = 0.0, 0, False
        while not over and steps < limit:
            _check_finite("observation", observation, episode)
            result = world.step(policy.act(observation, rng, deterministic))
            observation, reward, terminated, truncated, _ = intake.step(result)
            _check_finite("reward", reward, episode)
            over = terminated or truncated
            total += reward
            steps += 1
        if not over and not limited:
            raise UserError(
                f"{faults.name_of(world)} has no time limit, and an episode did not end within {ENDLESS} steps: say with "
                "--max_episode_steps after how many steps an episode is cut (of an evaluation during training, with "
                "--env_kwargs='{\"max_episode_steps\": 1000}')."
            )
        returns.append(total)
        lengths.append(steps)
        progress()
    return Returns.of(returns, lengths)


def time_limit(world: gymnasium.Env) -> int | None:
    """Steps after which the environment itself cuts an episode; None if it does not say."""
    return traits.limit_of(world)


def _check_finite(name: str, value: Any, episode: int) -> None:
    if not np.isfinite(value).all():
        raise NonFiniteError(f"The environment returned a non-finite {name} in episode {episode}: evaluation stopped.")
