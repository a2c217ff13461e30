"""Atari games are not wrapped here: Gymnasium has wrappers with the meaning of Baselines'. Each name says which."""

from __future__ import annotations

from typing import Any

#: Baselines' name, and what to use.
INSTEAD = {
    "ClipRewardEnv": "gymnasium.wrappers.TransformReward(env, numpy.sign)",
    "EpisodicLifeEnv": "gymnasium.wrappers.AtariPreprocessing(env, terminal_on_life_loss=True)",
    "FrameStack": "gymnasium.wrappers.FrameStackObservation(env, 4)",
    "MaxAndSkipEnv": "gymnasium.wrappers.AtariPreprocessing(env, frame_skip=4)",
    "NoopResetEnv": "gymnasium.wrappers.AtariPreprocessing(env, noop_max=30)",
    "ScaledFloatFrame": "gymnasium.wrappers.AtariPreprocessing(env, scale_obs=True)",
    "TimeLimit": "gymnasium.wrappers.TimeLimit",
    "WarpFrame": "gymnasium.wrappers.AtariPreprocessing(env, screen_size=84)",
    "make_atari": "gymnasium.make, with the package ale-py installed, and gymnasium.wrappers.AtariPreprocessing",
    "wrap_deepmind": "gymnasium.wrappers.AtariPreprocessing and gymnasium.wrappers.FrameStackObservation",
}


def __getattr__(name: str) -> Any:
    hint = f": use {INSTEAD[name]}" if name in INSTEAD else ""
    raise AttributeError(f"baselines_compat.common.atari_wrappers has no {name}{hint}.")
