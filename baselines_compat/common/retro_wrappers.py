"""Of Baselines' wrappers for Retro games the one that is not of Retro: `RewardScaler`."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym


class RewardScaler(gym.RewardWrapper):
    """Rewards times `scale`."""

    def __init__(self, env: gym.Env, scale: float = 0.01):
        super().__init__(env)
        self.scale = scale

    def reward(self, reward: SupportsFloat) -> float:
        return float(reward) * self.scale


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"baselines_compat.common.retro_wrappers has no {name}: Retro games are not supported. Make the environment with "
        "stable-retro and Gymnasium's wrappers, and pass its id."
    )
