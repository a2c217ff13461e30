"""What the faster PyBullet tasks share: loading the world without a word, and resetting it with few calls.

The packaged `reset` sets engine parameters again that did not change and wraps the floor anew; without that the numbers
are the same.

From its second reset on, a world's episode follows from the random stream and the actions alone, whatever happened in
it before. The first episode is a little different, as packaged: the floor joins the robot's parts, over which positions
are averaged, only after the first reset. So the first step's reward differs (in Hopper by up to 0.2), and Ant's and
Humanoid's first observation in the last digits. Where episodes are to be interchangeable, reset a fresh world once
before use.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from wng_tf.envs.pybullet_quiet import pybullet, quiet

with quiet():
    from pybullet_envs_gymnasium.env_bases import MJCFBaseBulletEnv


class FastWorld(MJCFBaseBulletEnv):
    """Mixin before a packaged environment. A subclass says what it caches (`_cache`) and how it observes (`_first`)."""

    stateId = -1  # of the saved state; the Reacher saves none
    _loaded = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """As packaged: observation float32 and {}; `options` are ignored. The first call loads the world."""
        if not self._loaded:
            with quiet():
                result = super().reset(seed=seed, options=options)
            self._cache()
            self._loaded = True
            return result
        if seed is not None:
            self.seed(seed)
        self.reward = 0
        if self.stateId >= 0:
            pybullet.restoreState(self.stateId, physicsClientId=self.physicsClientId)
        self.robot.robot_specific_reset(self._p)
        return self._first(), {}

    @abstractmethod
    def _cache(self) -> None:
        """Keeps ids and constants of the world that has just been loaded."""

    @abstractmethod
    def _first(self) -> np.ndarray:
        """The observation after a reset; prepares what the next step compares with."""

    def render(self) -> np.ndarray | None:
        """An image [240, 320, 3] uint8 (films are larger) with `render_mode="rgb_array"`; None with "human"."""
        image = super().render()
        return None if image is None else np.ascontiguousarray(image, np.uint8)
