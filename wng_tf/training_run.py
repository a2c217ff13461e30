"""What a training run does besides learning: its folder, log, monitor files, progress, checkpoints and summary.

Both families of algorithms run inside it:

    with TrainingRun(...) as run:
        state = run.start()                 # None, or the state of the last checkpoint
        while ...:
            ...                             # one update
            run.log(kvs, episodes, steps)
            run.checkpoint(steps, make_state)   # when it is due
        run.finish(steps, make_state)

Without a folder nothing is written and only the current logger is used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shlex
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines_compat import logger
from baselines_compat.monitor import LoadMonitorResultsError, ResultsWriter
from baselines_compat.vec_env.slot import EpisodeRecord
from wng_tf import checkpoint, run_folder
from wng_tf.errors import UserError

STEPS_KEY = "misc/total_timesteps"
FORMATS = ("stdout", "log", "csv", "json", "tensorboard")
WINDOW = 100


class Interrupted(Exception):
    """The user asked to stop (Ctrl-C or SIGTERM); the state is saved."""


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What a run is: enough to name it and to repeat it.

    Attributes:
      alg, env, env_id: algorithm, environment as the user named it, and what that became.
      seed, total_timesteps: seed and length of the run.
      flags: every flag with its value, in the order of `flags.txt`; None values are left out.
      defaults: flags whose value in a run of an older version, which did not have them, is known.
    """

    alg: str
    env: str
    env_id: str
    seed: int
    total_timesteps: int
    flags: Mapping[str, Any]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def flags_text(self) -> str:
        """One `--name=value` a line."""
        return "\n".join(f"--{name}={_text(value)}" for name, value in self.flags.items() if value is not None)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _StopRequest:
    """Turns the first SIGINT or SIGTERM into a flag; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("Stopping after this update; once more stops at once.", file=sys.stderr, flush=True)

    def remove(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


class _Progress:
    """A bar on a terminal: steps, return, steps/s, time left. Nothing when piped."""

    def __init__(self, total: int, enabled: bool | None):
        self._bar = None
        if enabled if enabled is not None else sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=" steps", unit_scale=True, dynamic_ncols=True, smoothing=0.05)

    def start(self, steps: int) -> None:
        """Begin at `steps`, of which a resumed run took some before: they say nothing of its speed."""
        if self._bar is not None:
            self._bar.initial = self._bar.n = self._bar.last_print_n = steps

    def update(self, steps: int, eprewmean: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"return {eprewmean:.1f}" if math.isfinite(eprewmean) else "", refresh=False)
            self._bar.update(min(steps, self._bar.total) - self._bar.n)

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def _log_to_stdout() -> Iterator[None]:
    """Log to stdout alone, unless the caller configured a log: Baselines' default would open a temporary folder."""
    previous = logger.Logger.CURRENT
    if previous is None:
        logger.Logger.CURRENT = logger.Logger(None, [logger.HumanOutputFormat(sys.stdout)])
    try:
        yield
    finally:
        logger.Logger.CURRENT = previous


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
    ):
        if resume and log_path is None:
            raise UserError("--resume needs --log_path, the folder of the run to continue.")
        self.info = info
        self.folder = None if log_path is None else Path(log_path)
        self.episodes: deque[EpisodeRecord] = deque(maxlen=WINDOW)
        self.num_episodes = 0
        self._resume = resume
        self._num_env = num_env
        self._save_interval = save_interval
        self._keep = keep
        self._formats = list(formats)
        self._monitors: list[ResultsWriter] = []
        self._opened = contextlib.ExitStack()
        self._monitor_rows = [0] * num_env
        self._best = -math.inf
        self._elapsed_before = 0.0
        self._started = time.time()
        self._last_logged = (time.time(), 0)
        self._progress = _Progress(info.total_timesteps, progress)
        self._stop = _StopRequest()
        self._updates = 0

    # ---- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> TrainingRun:
        self._stop.install()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.remove()
        self._progress.close()
        self._opened.close()

    def start(self) -> Any:
        """Open the folder and the log. Returns the learner's state of the last checkpoint, or None at the beginning."""
        if self.folder is None:
            self._opened.enter_context(_log_to_stdout())
            return None
        saved = None
        if self._resume:
            run_folder.read_flags(self.folder)
            if checkpoint.latest_step(self.folder / run_folder.CHECKPOINTS) is not None:
                steps, saved = checkpoint.load(self.folder / run_folder.CHECKPOINTS)
        defaults = {name: _text(value) for name, value in self.info.defaults.items() if value is not None}
        run_folder.create(self.folder, self.info.flags_text(), resume=self._resume, defaults=defaults)
        resume_from = None
        if saved is not None:
            self._restore(saved["run"])
            resume_from = (STEPS_KEY, steps)
            self._last_logged = (time.time(), steps)
            self._progress.start(steps)
        try:
            self._open(resume_from)
        except (ValueError, LoadMonitorResultsError) as error:
            raise UserError(f"The run in '{self.folder}' cannot be continued: {error}") from error
        run_folder.write_versions(self.folder)
        if saved is None:
            settings = {name: value for name, value in self.info.flags.items() if value is not None}
            logger.write_hparams(self.folder / run_folder.TENSORBOARD, settings, ["eprewmean"])
        else:
            logger.log(f"Continuing from step {steps}")
        return None if saved is None else saved["learner"]

    def _open(self, resume_from: tuple[str, int] | None) -> None:
        """Open the log and the monitor files, dropping what is later than the checkpoint."""
        self._opened.enter_context(logger.scoped_configure(self.folder, self._formats, resume_from=resume_from))
        header = {"t_start": self._started, "env_id": self.info.env_id}
        for i, rows in enumerate(self._monitor_rows):
            writer = ResultsWriter(
                self.folder / f"{i}.monitor.csv", header, resume_rows=None if resume_from is None else rows
            )
            self._monitors.append(writer)
            self._opened.callback(writer.close)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.episodes.extend(EpisodeRecord(float(r), int(n), float(t)) for r, n, t in state["episodes"])
        self.num_episodes = state["num_episodes"]
        self._monitor_rows = list(state["monitor_rows"])
        self._best = state["best"]
        self._updates = state["updates"]
        self._elapsed_before = state["elapsed"]

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
                if self._monitors:
                    writer = self._monitors[i]
                    started = writer.header.get("t_start", self._started)
                    writer.write_row({"r": round(episode.r, 6), "l": episode.l, "t": round(episode.t - started, 6)})

    def show(self, steps: int, eprewmean: float | None = None) -> None:
        """Move the progress bar."""
        self._progress.update(steps, self.eprewmean if eprewmean is None else eprewmean)

    def log(self, kvs: Mapping[str, Any], steps: int, updates: int) -> None:
        """Write a row of the log: the usual columns, then `kvs`, which may replace them."""
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
        self._progress.clear()
        logger.logkvs(row)
        logger.dumpkvs()

    def checkpoint_if_due(self, steps: int, make_state: Callable[[], Any], eprewmean: float | None = None) -> None:
        """Save every `save_interval` updates. If the user asked to stop, save and raise `Interrupted`."""
        self._updates += 1
        due = self._save_interval > 0 and self._updates % self._save_interval == 0
        if due or self._stop.asked:
            # An interruption must not decide which checkpoint is the best.
            self._save(steps, make_state(), eprewmean, may_be_best=due)
        if self._stop.asked:
            if self.folder is None:
                raise Interrupted(f"Stopped at step {steps}.")
            flagfile = shlex.quote(str(self.folder / run_folder.FLAGS))
            raise Interrupted(
                f"Stopped at step {steps}, saved. Continue with: python -m wng_tf.run --flagfile={flagfile} --resume"
            )

    def _save(self, steps: int, learner_state: Any, eprewmean: float | None, *, may_be_best: bool = True) -> None:
        if self.folder is None:
            return
        score = self.eprewmean if eprewmean is None else eprewmean
        best = may_be_best and math.isfinite(score) and score > self._best
        if best:
            self._best = score
        state = {
            "learner": learner_state,
            "run": {
                "episodes": [list(e) for e in self.episodes],
                "num_episodes": self.num_episodes,
                "monitor_rows": [writer.rows for writer in self._monitors],
                "best": self._best,
                "updates": self._updates,
                "elapsed": self.elapsed,
            },
        }
        checkpoint.save(self.folder / run_folder.CHECKPOINTS, steps, state, keep=self._keep, best=best)

    def finish(self, steps: int, make_state: Callable[[], Any], eprewmean: float | None = None) -> None:
        """Save the last checkpoint, then write the summary, which marks the run as finished."""
        self._save(steps, make_state(), eprewmean)
        if self.folder is None:
            return
        run_folder.write_summary(
            self.folder,
            {
                "status": "finished",
                "alg": self.info.alg,
                "env": self.info.env,
                "seed": self.info.seed,
                "total_timesteps": steps,
                "eprewmean": self.eprewmean if eprewmean is None else eprewmean,
                "episodes": self.num_episodes,
                "time_elapsed": self.elapsed,
            },
        )
