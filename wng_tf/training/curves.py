"""The files of a run that grow with it: the log in its formats and a monitor file for each environment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from baselines_compat import logger
from baselines_compat.log_formats import FILES
from baselines_compat.monitor import LoadMonitorResultsError, Monitor, ResultsWriter
from baselines_compat.table import complete_lines
from baselines_compat.vec_env.segment import EpisodeRecord
from wng_tf.errors import UserError
from wng_tf.training.resume import Found, RunState
from wng_tf.training.terminal import for_terminals

STEPS_KEY = "misc/total_timesteps"


class Curves:
    """See the module's docstring. Rows are on the disk when they are written.

    Args:
      folder: of the run.
      formats: of the logger.
      num_env: how many monitor files there are.
      env_id: for their headers.

    Attributes:
      log_rows: rows that progress.csv and progress.json are sure to have.
    """

    def __init__(self, folder: Path, formats: Sequence[str], num_env: int, env_id: str):
        self.log_rows = 0
        self._folder = folder
        self._formats = list(formats)
        self._header = {"t_start": time.time(), "env_id": env_id}
        self._files = [folder / f"{i}.{Monitor.EXT}" for i in range(num_env)]
        self._monitors: list[ResultsWriter] = []

    def check(self, found: Found) -> None:
        """UserError if rows that were there at the checkpoint are missing, or a file is damaged. Nothing is written."""
        try:
            logger.check_resume(self._folder, self._formats, (STEPS_KEY, found.steps), rows=found.run.log_rows)
            for file, rows in zip(self._files, found.run.monitor_rows, strict=True):
                ResultsWriter.check_resume(file, rows)
        except (ValueError, LoadMonitorResultsError) as error:
            raise UserError(f"The run in '{self._folder}' cannot be continued: {error}") from error

    def open(self, found: Found | None, opened: contextlib.ExitStack) -> None:
        """Begin the files, or continue them without what is later than the checkpoint; `opened` closes them."""
        steps = 0 if found is None else found.steps
        resume_from = None if found is None else (STEPS_KEY, steps)
        gone = [] if found is None else self._gone(found.run)
        if found is not None:
            self.log_rows = 0 if any(name in FILES.values() for name in gone) else found.run.log_rows or 0
        opened.enter_context(logger.scoped_configure(self._folder, self._formats, resume_from=resume_from))
        current = logger.get_current()
        current.output_formats = for_terminals(current.output_formats)
        for name in gone:
            logger.warn(f"'{name}' is gone or empty: what it held up to step {steps} is lost, it begins anew.")
        kept = [None] * len(self._files) if found is None else found.run.monitor_rows
        for file, rows in zip(self._files, kept, strict=True):
            self._monitors.append(ResultsWriter(file, self._header, resume_rows=rows))
            opened.callback(self._monitors[-1].close)

    @property
    def monitor_rows(self) -> list[int]:
        """Episodes in each monitor file."""
        return [writer.rows for writer in self._monitors]

    def add(self, environment: int, episode: EpisodeRecord) -> None:
        """Write an episode to the monitor file of its environment; its time counts from the start of the file."""
        writer = self._monitors[environment]
        started = writer.header.get("t_start", self._header["t_start"])
        writer.write_row({"r": round(episode.r, 6), "l": episode.l, "t": round(episode.t - started, 6)})

    def _gone(self, state: RunState) -> list[str]:
        """Files that had rows at the checkpoint and have none, or are no longer there."""
        logs = [self._folder / name for format, name in FILES.items() if format in self._formats and state.log_rows != 0]
        monitors = [file for file, rows in zip(self._files, state.monitor_rows, strict=True) if rows]
        return [file.name for file in logs + monitors if not _has_rows(file)]


def _has_rows(file: Path) -> bool:
    header = {".json": 0, ".csv": 2 if file.name.endswith(Monitor.EXT) else 1}[file.suffix]
    return file.exists() and sum(bool(line.strip()) for line in complete_lines(file)) > header
