"""Which checkpoint is the best, and whether a run has reached what was asked of it."""

from __future__ import annotations

import math
from typing import Literal

Judge = Literal["training", "evaluation"]


class Judgement:
    """Scores of a run's updates: the return of training's episodes, or of the evaluation that followed the update.

    Args:
      judge: which of the two.
      stop_return: score that is asked for; None: none is.

    Attributes:
      best: of the checkpoints so far; -inf before the first.
    """

    def __init__(self, judge: Judge, stop_return: float | None):
        self.judge: Judge = judge
        self.best = -math.inf
        self._stop_return = stop_return
        self._evaluated: tuple[int | None, float] = (None, math.nan)

    def evaluated(self, steps: int, mean: float) -> None:
        """The policy after so many steps was evaluated."""
        self._evaluated = steps, mean

    def score(self, steps: int, training: float) -> float:
        """Of the update that ended at `steps`; NaN if that is not known. `training`: mean return of its episodes."""
        if self.judge == "training":
            return training
        at, mean = self._evaluated
        return mean if at == steps else math.nan

    def is_best(self, steps: int, training: float) -> bool:
        """Whether it is better than `best`."""
        score = self.score(steps, training)
        return math.isfinite(score) and score > self.best

    def reached(self, steps: int, training: float) -> str | None:
        """In words, that the score is what is asked for; None if it is not."""
        score = self.score(steps, training)
        if self._stop_return is None or not score >= self._stop_return:
            return None
        return f"stop_return: {score:g} is at least {self._stop_return:g}"
