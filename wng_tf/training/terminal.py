"""What a person sees of a training run: a progress bar that stays at the bottom of the terminal, and tables above it."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from baselines_compat import logger
from baselines_compat.log_formats import HumanOutputFormat, Writer

SECONDS_BETWEEN_TABLES = 5.0
"""A table fills a screen, and an update may take milliseconds."""


class ProgressBar:
    """Steps, return, steps/s, time left. Nothing is shown where stderr is no terminal.

    Args:
      total: environment steps of the run.
      enabled: True or False forces it; None shows it on a terminal.
    """

    def __init__(self, total: int, enabled: bool | None):
        self._total = total
        console = sys.stderr is not None and sys.stderr.isatty()
        self._enabled = console if enabled is None else enabled
        self._bar: Any = None

    def start(self, steps: int) -> None:
        """Show it, at `steps`, of which a resumed run took some before: they say nothing of its speed."""
        if self._enabled:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total, initial=steps, unit=" steps", unit_scale=True, dynamic_ncols=True, smoothing=0.05
            )

    def update(self, steps: int, eprewmean: float) -> None:
        """Move it to `steps`, with the return beside it unless that is not finite."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"return {eprewmean:.1f}" if math.isfinite(eprewmean) else "", refresh=False)
            self._bar.update(min(steps, self._total) - self._bar.n)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is written to stdout or stderr in the block stands above the bar, which is drawn again below it."""
        if self._bar is None:
            yield
            return
        with self._bar.external_write_mode():
            yield
            if sys.stdout is not None:
                sys.stdout.flush()

    def close(self) -> None:
        """Leave it as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class TerminalFormat(HumanOutputFormat):
    """Stdout where a person watches: a table every few seconds at most, and the last one always; above progress bars.

    Args:
      file: the terminal.
      seconds: between two tables.
      clock: seconds, from any beginning.
    """

    def __init__(self, file: TextIO, seconds: float, clock: Callable[[], float] = time.monotonic):
        super().__init__(file)
        self._seconds, self._clock = seconds, clock
        self._next = -math.inf
        self._waiting: Mapping[str, Any] | None = None

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        self._waiting = kvs
        if self._clock() >= self._next:
            self._show(kvs)

    def writeseq(self, seq: Sequence[Any]) -> None:
        with _above_bars(self.file):
            super().writeseq(seq)

    def close(self) -> None:
        self.show_waiting()
        super().close()

    def show_waiting(self) -> None:
        """Show the latest table now, if it has not been shown."""
        if self._waiting is not None:
            self._show(self._waiting)

    def _show(self, kvs: Mapping[str, Any]) -> None:
        # One write: a table in parts would flicker.
        text = io.StringIO()
        HumanOutputFormat(text).writekvs(kvs)
        with _above_bars(self.file):
            self.file.write(text.getvalue())
            self.file.flush()
        self._waiting = None
        self._next = self._clock() + self._seconds


@contextlib.contextmanager
def _above_bars(file: TextIO) -> Iterator[None]:
    from tqdm import tqdm

    with tqdm.external_write_mode(file=file):
        yield


def for_terminals(formats: Sequence[Writer]) -> list[Writer]:
    """The formats, with a `TerminalFormat` in place of each that writes to a terminal."""
    return [_for_terminal(fmt) for fmt in formats]


@contextlib.contextmanager
def log_to_stdout() -> Iterator[None]:
    """Log to stdout alone, unless the caller configured a log: Baselines' default would open a temporary folder."""
    if logger.Logger.CURRENT is not None:
        yield
        return
    own = logger.Logger(None, for_terminals([HumanOutputFormat(sys.stdout or os.devnull)]))
    logger.Logger.CURRENT = own
    try:
        yield
    finally:
        own.close()
        logger.Logger.CURRENT = None


def show_waiting(formats: Sequence[Writer]) -> None:
    """Show the latest table on each terminal among the formats, if it has not been shown."""
    for fmt in formats:
        if isinstance(fmt, TerminalFormat):
            fmt.show_waiting()


def _for_terminal(fmt: Writer) -> Writer:
    if type(fmt) is HumanOutputFormat and not fmt.own_file and fmt.file.isatty():
        return TerminalFormat(fmt.file, SECONDS_BETWEEN_TABLES)
    return fmt
