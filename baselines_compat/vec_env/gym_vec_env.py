"""A Gymnasium `VectorEnv` as a `VecEnv`: its three ways to begin the next episode, and none taken for a step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from baselines_compat import streams
from baselines_compat.vec_env import faults
from baselines_compat.vec_env.arguments import whole
from baselines_compat.vec_env.stepping import Moves
from baselines_compat.vec_env.vec_env import VecEnv


class GymVecEnv(VecEnv):
    """Environments of a Gymnasium `VectorEnv`, which stays open when this is closed: it belongs to whoever made it.

    A time limit is no end: what followed the last step is handed on, for the value that it has. In the mode SAME_STEP it is
    in the infos. In the others the environments that ended are reset by mask, where the `VectorEnv` can do that (Gymnasium's
    own, and every one whose mode is DISABLED); else the call that resets them is left out of the segment.

    Args:
      env: the environments; single observations are a Box.
      seed: of the first reset and of the exploration; environment i has the streams of one made by its id.

    Raises:
      ValueError: observations that are no Box.
    """

    def __init__(self, env: VectorEnv, seed: int = 0):
        space = env.single_observation_space
        if not isinstance(space, gym.spaces.Box):
            raise ValueError(
                f"{type(env.unwrapped).__name__} has the observation space {space}: wrap it so that an observation is one "
                "array, with gymnasium.wrappers.vector.FlattenObservation."
            )
        if len(space.shape) != 1:
            space = gym.spaces.flatten_space(space)
        super().__init__(env.num_envs, space, env.single_action_space)
        self.env = env
        self.seed = whole("seed", seed, 0)
        self._who = type(env.unwrapped).__name__
        self._packaged = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self._mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._masks = self._mode is AutoresetMode.DISABLED or (self._mode is AutoresetMode.NEXT_STEP and self._packaged)
        self._begun = False

    def reset(self) -> np.ndarray:
        seeds: Any = None
        if not self._begun:
            seeds = [streams.ENVIRONMENT_START.words(1, self.seed, i)[0] for i in range(self.num_envs)]
            seeds = seeds if self._packaged else seeds[0]
        self._begun = True
        with faults.naming(self._who, "reset"):
            observations, _ = self.env.reset(seed=seeds)
        return self._flat(observations)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        """In Baselines' form. Not in the mode NEXT_STEP without masks, whose resets are steps of their own.

        Raises:
          NotImplementedError: in that mode.
        """
        if self._mode is AutoresetMode.NEXT_STEP and not self._masks:
            raise NotImplementedError(f"{self._who} resets in steps of their own: collect segments, or use another mode.")
        assert self._actions is not None, "step_wait without step_async"
        moves = self._moves(list(self._actions))
        infos: list[dict] = [{} for _ in range(self.num_envs)]
        dones = moves.terminated | moves.truncated
        for i in np.flatnonzero(dones):
            cut = bool(moves.truncated[i] and not moves.terminated[i])
            infos[i] = {"terminal_observation": moves.followed[i], "TimeLimit.truncated": cut}
        return moves.now, moves.rewards, dones, infos

    def _moves(self, actions: list[Any]) -> Moves:
        batch = np.stack(actions).astype(self.action_space.dtype, copy=False)
        with faults.naming(self._who, "step"):
            observations, rewards, terminated, truncated, infos = self.env.step(batch)
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        followed, ended, ready = self._flat(observations), terminated | truncated, np.ones(self.num_envs, bool)
        now = followed
        if ended.any() and self._mode is AutoresetMode.SAME_STEP:
            last = infos["final_obs"] if "final_obs" in infos else infos["final_observation"]
            followed = followed.copy()
            for i in np.flatnonzero(ended):
                followed[i] = np.ravel(last[i])
        elif ended.any() and self._masks:
            with faults.naming(self._who, "reset"):
                now = self._flat(self.env.reset(options={"reset_mask": ended.copy()})[0])
        elif ended.any():
            ready = ~ended
        return Moves(followed, np.array(rewards, np.float64), terminated, truncated, now, ready)

    def _flat(self, observations: Any) -> np.ndarray:
        return np.array(observations, np.float64).reshape(self.num_envs, -1)
