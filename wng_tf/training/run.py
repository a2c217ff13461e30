"""What a training run does besides learning: its folder, log, monitor files, progress, checkpoints and summary.

Both families of algorithms run inside it:

    with TrainingRun(...) as run:
        resumed = run.start(restore)        # restore(state) is called with the last checkpoint's, if there is one
        while ...:
            ...                             # one update
            run.add_episodes(episodes)
            run.log(kvs, steps, updates)
            run.checkpoint_if_due(steps, make_state)    # run.stop(reason, steps) before it makes this the last update
        run.finish(steps, make_state)

Without a folder nothing is written and only the current logger is used.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines_compat import logger
from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env.segment import EpisodeRecord
from wng_tf.errors import UserError
from wng_tf.runtime import compile_cache, faults
from wng_tf.runtime.paths import expanded
from wng_tf.training import checkpoint, resume, run_flags, run_folder
from wng_tf.training.curves import STEPS_KEY, Curves
from wng_tf.training.judgement import Judge, Judgement
from wng_tf.training.run_info import RunInfo
from wng_tf.training.stopping import Interrupted, StopRequest
from wng_tf.training.terminal import ProgressBar, log_to_stdout, show_waiting

FORMATS = ("stdout", "log", "csv", "json", "tensorboard")
WINDOW = 100
MAY_BE_INFINITE = frozenset({"wng/condition_number"})
"""Columns in which an infinity is an answer: a singular matrix has one. Elsewhere the policy has left the numbers."""


class TrainingRun:
    """See the module's docstring.

    Args:
      info: what the run is.
      log_path: folder of the run; None writes nothing.
      resume: continue the run in that folder.
      num_env: how many monitor files there are.
      save_interval: updates between checkpoints; 0 saves at the end only.
      keep: checkpoints kept, besides the best.
      progress: True or False forces the bar; None shows it on a terminal.
      formats: output formats of the logger.
      conclude: called with the folder when the last checkpoint is saved, before the run counts as finished.
      judge: what says which checkpoint is the best: the episodes of training, or `evaluated`.
      stop_return: of that, at which the run stops; None: never.

    Raises:
      UserError: the folder holds something else, or is to be resumed and does not fit.
    """

    def __init__(
        self,
        info: RunInfo,
        *,
        log_path: str | os.PathLike[str] | None,
        resume: bool,
        num_env: int,
        save_interval: int,
        keep: int = 3,
        progress: bool | None = None,
        formats: Sequence[str] = FORMATS,
        conclude: Callable[[Path], object] | None = None,
        judge: Judge = "training",
        stop_return: float | None = None,
    ):
        if resume and log_path is None:
            raise UserError("--resume needs --log_path, the folder of the run to continue.")
        self.info = info
        # An environment may change the working folder: the run stays where it began.
        self.folder = None if log_path is None else expanded(log_path).absolute()
        self.episodes: deque[EpisodeRecord] = deque(maxlen=WINDOW)
        self.num_episodes = 0
        self._resume = resume
        self._num_env = num_env
        self._curves = None if self.folder is None else Curves(self.folder, formats, num_env, info.env_id)
        self._save_interval = save_interval
        self._keep = keep
        self._conclude = conclude
        self._saved_at: int | None = None
        self._fault: BaseException | None = None
        self._opened = contextlib.ExitStack()
        self._elapsed_before = 0.0
        self._started = time.time()
        self._last_logged = (time.time(), 0)
        self._progress = ProgressBar(info.total_timesteps, progress)
        self._stop = StopRequest(self._say)
        self._updates = 0
        self._stopped_by: str | None = None
        self._judgement = Judgement(judge, stop_return)

    # ---- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> TrainingRun:
        self._stop.install()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.remove()
        self._fault = exc[1]
        with self._progress.aside():
            self._opened.close()
        self._progress.close()

    def _say(self, text: str) -> None:
        # A signal may arrive within a write to the same stream, which Python refuses to enter twice.
        with contextlib.suppress(RuntimeError), self._progress.aside():
            print(text, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Log a line."""
        with self._progress.aside():
            logger.log(text)

    def start(self, restore: Callable[[Any], None]) -> bool:
        """Open the folder and the log. Returns whether the run goes on from a checkpoint.

        Whatever is refused is refused before anything in the folder changes: a finished run stays finished.

        Args:
          restore: brings the learner to its state in the last checkpoint, if there is one; `checkpoint.MisfitError`
            where it is not a state of this learner.

        Raises:
          UserError: see the class; another process is at work in the folder; a file in it is damaged or does not fit.
        """
        if self.folder is None or self._curves is None:
            self._opened.enter_context(log_to_stdout())
            self._progress.start(0)
            return False
        defaults = {name: run_flags.value_text(value) for name, value in self.info.defaults.items() if value is not None}
        text = self.info.flags_text()
        run_folder.check_free(self.folder)
        run_folder.check(self.folder, text, resume=self._resume, may_change=self.info.may_change, defaults=defaults)
        self._opened.enter_context(run_folder.writing(self.folder))
        found = resume.find(self.folder, self._num_env, restore) if self._resume else None
        if found is not None:
            self._curves.check(found)
        run_folder.create(self.folder, text, resume=self._resume, may_change=self.info.may_change, defaults=defaults)
        if not self._resume:
            self._opened.callback(self._clear)  # of what is there from here on: it is this run's
        if found is not None:
            self._restore(found)
        self._curves.open(found, self._opened)
        run_folder.write_versions(self.folder)
        if found is None:
            settings = {name: value for name, value in self.info.flags.items() if value is not None}
            logger.write_hparams(self.folder / run_folder.TENSORBOARD, settings, ["eprewmean"])
            self._progress.start(0)
            return False
        logger.log(f"Continuing from step {found.steps}")
        resume.repair(self.folder, found, self._keep)
        if found.lost:
            logger.log(
                f"The best checkpoint, of score {found.run.best:g}, is gone: {checkpoint.BEST} will be the best of those "
                "to come and the one that is there."
            )
        self._progress.start(found.steps)
        return True

    def _clear(self) -> None:
        """Leave nothing of a new run kept from its first checkpoint: the command, corrected, finds the folder free."""
        folder = self.folder
        refused = isinstance(self._fault, (UserError, OSError)) or (
            self._fault is not None and faults.is_out_of_memory(self._fault)
        )
        if folder is not None and refused and checkpoint.latest_step(folder / run_folder.CHECKPOINTS) is None:
            run_folder.clear(folder)

    def _restore(self, found: resume.Found) -> None:
        state = found.run
        self.episodes.extend(state.episodes)
        self.num_episodes = state.num_episodes
        if state.judge == self._judgement.judge:  # returns of another kind do not compare
            self._judgement.best = found.best
        self._updates = state.updates
        self._elapsed_before = state.elapsed
        self._saved_at = found.steps
        self._last_logged = (time.time(), found.steps)

    # ---- every update ---------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, over all the parts of a resumed run."""
        return self._elapsed_before + time.time() - self._started

    @property
    def eprewmean(self) -> float:
        """Mean return of the last hundred episodes; NaN before the first ends."""
        return float(np.mean([e.r for e in self.episodes])) if self.episodes else math.nan

    def add_episodes(self, episodes: Sequence[Sequence[EpisodeRecord]]) -> None:
        """Record finished episodes, environment by environment."""
        for i, of_environment in enumerate(episodes):
            for episode in of_environment:
                self.episodes.append(episode)
                self.num_episodes += 1
                if self._curves is not None:
                    self._curves.add(i, episode)

    def show(self, steps: int, eprewmean: float | None = None) -> None:
        """Move the progress bar."""
        self._progress.update(steps, self.eprewmean if eprewmean is None else eprewmean)

    def log(self, kvs: Mapping[str, Any], steps: int, updates: int) -> None:
        """Write a row of the log: the usual columns, then `kvs`, which may replace them.

        Raises:
          NonFiniteError: one of `kvs` is infinite; NaN stands for what is not known.
        """
        for key, value in kvs.items():
            if key not in MAY_BE_INFINITE and np.ndim(value) == 0 and np.isinf(float(value)):
                raise NonFiniteError(
                    f"{key} became infinite at step {steps}: training stopped; smaller steps (--lr, --trust_radius, --sigma) "
                    "may help."
                )
        now = time.time()
        then, steps_then = self._last_logged
        self._last_logged = (now, steps)
        row = {
            "eprewmean": self.eprewmean,
            "eplenmean": float(np.mean([e.l for e in self.episodes])) if self.episodes else math.nan,
            "fps": (steps - steps_then) / max(now - then, 1e-9),
            "misc/nupdates": updates,
            STEPS_KEY: steps,
            "misc/time_elapsed": self.elapsed,
            **kvs,
        }
        # A run's own formats take the bar away for a write; of the caller's nothing is known.
        with self._progress.aside() if self.folder is None else contextlib.nullcontext():
            logger.logkvs(row)
            logger.dumpkvs()
        if self._curves is not None:
            self._curves.log_rows += 1
        compile_cache.keep()  # what an update compiles is there

    def evaluated(self, steps: int, columns: Mapping[str, float]) -> None:
        """The policy after so many steps was evaluated: its mean return is the column eval/eprewmean."""
        self._judgement.evaluated(steps, float(columns["eval/eprewmean"]))

    def checkpoint_if_due(self, steps: int, make_state: Callable[[], Any], eprewmean: float | None = None) -> None:
        """Save every `save_interval` updates, and the best of the evaluated policies.

        If the user asked to stop, save and raise `Interrupted`.
        """
        self._updates += 1
        due = self._save_interval > 0 and self._updates % self._save_interval == 0
        best = self._judgement.judge == "evaluation" and self._is_best(steps, eprewmean)
        if due or best or self._stop.asked:
            # An interruption must not decide which checkpoint is the best.
            self._save(steps, make_state(), eprewmean, may_be_best=due or best)
        if self._stop.asked:
            if self.folder is None:
                raise Interrupted(f"Stopped at step {steps}.")
            flagfile = shlex.quote(str(self.folder / run_folder.FLAGS))
            raise Interrupted(
                f"Stopped at step {steps}, saved. Continue with: python -m wng_tf.run --flagfile={flagfile} --resume"
            )

    @property
    def goes_on(self) -> bool:
        """Whether nothing has stopped the run before its end."""
        return self._stopped_by is None

    def stop(self, reason: str, steps: int) -> None:
        """This update is the last one: what `finish` saves can be resumed. `reason` goes into the summary."""
        if self.goes_on and steps < self.info.total_timesteps:
            self._stopped_by = reason
            self.note(f"Stopped at step {steps} by {reason}")

    def stop_if_reached(self, steps: int, eprewmean: float | None = None) -> None:
        """`stop`, where the return that is asked for is reached."""
        reached = self._judgement.reached(steps, self._training(eprewmean))
        if reached is not None:
            self.stop(reached, steps)

    def _save(self, steps: int, learner_state: Any, eprewmean: float | None, *, may_be_best: bool = True) -> None:
        if self.folder is None or self._curves is None:
            return
        best = may_be_best and self._is_best(steps, eprewmean)
        if best:
            self._judgement.best = self._judgement.score(steps, self._training(eprewmean))
        run = resume.RunState(
            episodes=self.episodes,
            num_episodes=self.num_episodes,
            monitor_rows=self._curves.monitor_rows,
            best=self._judgement.best,
            updates=self._updates,
            elapsed=self.elapsed,
            log_rows=self._curves.log_rows,
            judge=self._judgement.judge,
            evaluated=self._judgement.score(steps, math.nan),
        )
        state = {"learner": learner_state, "run": run.tree()}
        checkpoint.save(self.folder / run_folder.CHECKPOINTS, steps, state, keep=self._keep, best=best)
        self._saved_at = steps

    def _training(self, eprewmean: float | None) -> float:
        return self.eprewmean if eprewmean is None else eprewmean

    def _is_best(self, steps: int, eprewmean: float | None) -> bool:
        return self._judgement.is_best(steps, self._training(eprewmean))

    def finish(self, steps: int, make_state: Callable[[], Any], eprewmean: float | None = None) -> None:
        """Save the last checkpoint and conclude, then write the summary, which marks the run as finished."""
        # One that is there stays, to the last bit, unless it was saved by Ctrl-C, which leaves open whether it is the best.
        if self._saved_at != steps or self._is_best(steps, eprewmean):
            self._save(steps, make_state(), eprewmean)
        with self._progress.aside():
            show_waiting(logger.get_current().output_formats)
        self._progress.close()  # the bar is full, and what follows has lines of its own
        if self.folder is None:
            return
        if self._conclude is not None:
            self._conclude(self.folder)
        run_folder.write_summary(
            self.folder,
            {
                "status": "finished" if self.goes_on else "stopped",
                "alg": self.info.alg,
                "env": self.info.env,
                "seed": self.info.seed,
                "total_timesteps": steps,
                "eprewmean": self._training(eprewmean),
                "episodes": self.num_episodes,
                "time_elapsed": self.elapsed,
                **({} if self._judgement.judge == "training" else {"best_evaluation": self._judgement.best}),
                **({} if self.goes_on else {"stopped_by": self._stopped_by}),
            },
        )
