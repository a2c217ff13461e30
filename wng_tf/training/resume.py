"""What a run that is resumed finds in its folder, read and checked before anything in it is changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines_compat.vec_env.segment import EpisodeRecord
from wng_tf.errors import UserError
from wng_tf.training import checkpoint, run_folder
from wng_tf.training.judgement import Judge


@dataclass(frozen=True)
class RunState:
    """The part of a checkpoint that is the run's own, beside the learner's.

    Attributes:
      episodes: the last finished ones, at most a hundred.
      num_episodes: all that were finished.
      monitor_rows: episodes in each monitor file.
      best: score of the best checkpoint so far; -inf before the first.
      updates: done so far.
      elapsed: seconds of training.
      log_rows: rows of progress.csv; None in a checkpoint of an older version.
      judge: what says which checkpoint is the best.
      evaluated: mean return of the evaluation at this checkpoint; NaN if there was none.
    """

    episodes: Sequence[EpisodeRecord]
    num_episodes: int
    monitor_rows: Sequence[int]
    best: float
    updates: int
    elapsed: float
    log_rows: int | None
    judge: Judge = "training"
    evaluated: float = math.nan

    def tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "episodes": [list(episode) for episode in self.episodes],
            "num_episodes": self.num_episodes,
            "monitor_rows": list(self.monitor_rows),
            "best": self.best,
            "updates": self.updates,
            "elapsed": self.elapsed,
            "log_rows": self.log_rows,
            **({} if self.judge == "training" else {"judge": self.judge, "evaluated": self.evaluated}),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> RunState:
        """The inverse of `tree`. KeyError, TypeError or ValueError on anything else."""
        return cls(
            episodes=[EpisodeRecord(float(r), int(n), float(t)) for r, n, t in tree["episodes"]],
            num_episodes=int(tree["num_episodes"]),
            monitor_rows=[int(rows) for rows in tree["monitor_rows"]],
            best=float(tree["best"]),
            updates=int(tree["updates"]),
            elapsed=float(tree["elapsed"]),
            log_rows=None if tree.get("log_rows") is None else int(tree["log_rows"]),
            judge="evaluation" if tree.get("judge") == "evaluation" else "training",
            evaluated=float(tree.get("evaluated", math.nan)),
        )


@dataclass(frozen=True)
class Found:
    """The newest checkpoint of a run.

    Attributes:
      steps: at which it was saved.
      run: the run's own state.
      best: score of what `best.npz` holds, or will once `repair` has run.
      donor: step of the checkpoint that `best.npz` is to be made from, because a kill kept it from being written.
      lost: whether `best.npz` is of a lower score than the run's best, whose checkpoint is gone.
    """

    steps: int
    run: RunState
    best: float
    donor: int | None
    lost: bool


def find(folder: Path, num_env: int, restore: Callable[[Any], None]) -> Found | None:
    """Read the newest checkpoint of the run in `folder`, and hand its learner's state to `restore`.

    Args:
      num_env: monitor files of the run.
      restore: brings the learner there; `checkpoint.MisfitError` if the state is another learner's.

    Returns:
      what was found; None if the run has no checkpoint yet.

    Raises:
      UserError: the checkpoint or `best.npz` is damaged, or does not fit the run.
    """
    directory = folder / run_folder.CHECKPOINTS
    if checkpoint.latest_step(directory) is None:
        return None
    steps, state = checkpoint.load(directory)
    try:
        run = RunState.from_tree(_part(state, "run"))
        if len(run.monitor_rows) != num_env:
            raise checkpoint.MisfitError(f"it is of {len(run.monitor_rows)} environments, not {num_env}")
    except (KeyError, TypeError, ValueError) as error:
        raise _misfit(directory, steps, error) from error
    best, donor, lost = _find_best(directory, run.best)
    try:
        restore(_part(state, "learner"))
    except checkpoint.MisfitError as error:
        raise _misfit(directory, steps, error) from error
    return Found(steps, run, best, donor, lost)


def repair(folder: Path, found: Found, keep: int | None) -> None:
    """Make the checkpoints what they would be if the run had not been killed amid saving them."""
    directory = folder / run_folder.CHECKPOINTS
    if found.donor is not None:
        checkpoint.make_best(directory, found.donor)
    checkpoint.tidy(directory, keep)


def _find_best(directory: Path, claimed: float) -> tuple[float, int | None, bool]:
    """The score that `best.npz` holds, where to take a better one from, and whether there should be a better one.

    A run now writes `best.npz` first, so that it is at least what the newest checkpoint claims. Older versions wrote it
    last: after a kill between the two a checkpoint claims a best that is its own score and nowhere else.
    """
    held = -math.inf
    if (directory / checkpoint.BEST).exists():
        _, state = checkpoint.load(directory, "best", advice="delete it to continue without it")
        held = _score(state)
    if held >= claimed:
        return held, None, False
    for step in reversed(checkpoint.steps(directory)):
        if _score(checkpoint.load(directory, step)[1]) == claimed:
            return claimed, step, False
    return held, None, True


def _score(state: Any) -> float:
    """What a checkpoint is judged by: the mean return of the last episodes, or of the evaluation; -inf for none."""
    try:
        learner = state["learner"]
        if state["run"].get("judge") == "evaluation":
            score = float(state["run"]["evaluated"])
        elif "policy_return" in learner:
            score = float(learner["policy_return"])
        else:
            returns = [episode[0] for episode in state["run"]["episodes"]]
            score = float(np.mean(returns)) if returns else -math.inf
    except (IndexError, KeyError, TypeError, ValueError):
        return -math.inf
    return score if math.isfinite(score) else -math.inf


def _part(state: Any, name: str) -> Any:
    if not isinstance(state, dict) or name not in state:
        raise checkpoint.MisfitError(f"it has no {name}")
    return state[name]


def _misfit(directory: Path, steps: int, error: Exception) -> UserError:
    reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return UserError(
        f"The checkpoint of step {steps} in '{directory}' is not one of this run ({reason}): restore the run's own "
        f"{run_folder.FLAGS} and checkpoints, or start another run with another --log_path."
    )
