"""What a terminal shows of a run: a bar at the bottom, tables above it now and then, no line broken by another."""

from __future__ import annotations

import csv
import io
import re
import sys
import time

import pytest
from short_runs import train

from baselines_compat import logger
from baselines_compat.log_formats import HumanOutputFormat
from wng_tf.training import terminal
from wng_tf.training.terminal import ProgressBar, TerminalFormat, for_terminals

BAR = re.compile(r"\s*\d+%\|.*\| .* steps/s.*\]")


class Screen(io.StringIO):
    """A terminal that stdout and stderr share."""

    def isatty(self):
        return True

    def lines(self) -> list[str]:
        """What is to be seen: a carriage return goes back to the line's beginning, and what follows covers it."""
        shown = []
        for line in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in line.split("\r"):
                cells[: len(part)] = part
            shown.append("".join(cells).rstrip())
        return shown


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def watch(screen, monkeypatch):
    """Train with stdout and stderr on the screen. (Between a test's setup and its call pytest sets both itself.)"""

    # Updates may take milliseconds here and seconds elsewhere: the first table is shown and the last one.
    monkeypatch.setattr(terminal, "SECONDS_BETWEEN_TABLES", 1e9)

    def watching(*arguments, stdout=None, **settings):
        monkeypatch.setattr(sys, "stdout", stdout or screen)
        monkeypatch.setattr(sys, "stderr", screen)
        train(*arguments, **settings)

    return watching


def tables(lines: list[str]) -> int:
    return sum("misc/nupdates" in line for line in lines)


def assert_whole(lines: list[str]) -> None:
    """The bar, drawn once, and tables and sentences have lines of their own."""
    bars = [line for line in lines if "steps/s" in line]
    assert len(bars) == 1 and BAR.fullmatch(bars[0]), bars
    for line in lines:
        assert line in ("", *bars) or re.fullmatch(r"\|.*\||-+|[A-Z].*|\w+ on .*|ppo.*|wnes.*", line), line


@pytest.mark.parametrize("name", ["ppo on CartPole", "wnes on Point"])
@pytest.mark.parametrize("log_interval", [1, 2])
def test_the_bar_stays_at_the_bottom_and_the_files_have_every_row(name, log_interval, screen, watch, tmp_path):
    glances = []
    watch(
        name,
        tmp_path / "run",
        log_interval=log_interval,
        total_timesteps={"ppo on CartPole": 384, "wnes on Point": 2500}[name],
        callback=lambda *_: glances.append(screen.lines()),
    )
    with open(tmp_path / "run" / "progress.csv") as file:
        rows = list(csv.DictReader(file))
    updates = int(rows[-1]["misc/nupdates"])
    assert [int(row["misc/nupdates"]) for row in rows] == sorted({*range(log_interval, updates + 1, log_interval), updates})
    assert tables((tmp_path / "run" / "log.txt").read_text().splitlines()) == len(rows)
    lines = screen.lines()
    assert_whole(lines)
    assert tables(lines) == 2 < len(rows)
    latest = [line for line in lines if "misc/nupdates" in line][-1]
    assert latest.split("|")[2].strip() == str(updates)
    assert [line for line in lines if line][-1].startswith("100%")
    assert len(glances) == updates and all(BAR.fullmatch(glance[-1]) for glance in glances)


def test_without_a_folder_too(screen, watch):
    watch("ppo on CartPole", None)
    assert_whole(screen.lines())
    assert tables(screen.lines()) == 2


def test_a_log_that_the_caller_configured_is_shown_above_the_bar(screen, watch, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", screen)
    with logger.scoped_configure(tmp_path, ["stdout"]):
        watch("ppo on CartPole", None)
    assert_whole(screen.lines())
    assert tables(screen.lines()) == 6, "the caller's format says how often"


def test_where_no_bar_is_wanted_tables_still_come_now_and_then(screen, watch):
    watch("ppo on CartPole", None, progress=False)
    assert tables(screen.lines()) == 2 and "steps/s" not in screen.getvalue()


def test_what_is_piped_has_every_table(screen, watch, tmp_path):
    piped = io.StringIO()
    watch("ppo on CartPole", tmp_path / "run", stdout=piped)
    assert tables(piped.getvalue().splitlines()) == 6
    assert "steps/s" not in piped.getvalue() and "steps/s" in screen.getvalue()


def test_a_table_every_few_seconds_and_the_last_one(screen):
    now = [0.0]
    shown = TerminalFormat(screen, seconds=5.0, clock=lambda: now[0])
    for second in range(13):
        now[0] = float(second)
        shown.writekvs({"second": second})
    shown.close()
    shown.close()
    assert re.findall(r"second \| (\d+)", screen.getvalue()) == ["0", "5", "10", "12"]


def test_a_table_looks_as_everywhere(screen):
    kvs = {"loss/a": 1.25, "b": 3, "c": float("nan")}
    plain = io.StringIO()
    HumanOutputFormat(plain).writekvs(kvs)
    TerminalFormat(screen, 1.0).writekvs(kvs)
    assert screen.getvalue() == plain.getvalue()


def test_only_terminals_are_treated_so(screen, tmp_path):
    formats = [HumanOutputFormat(screen), HumanOutputFormat(io.StringIO()), HumanOutputFormat(tmp_path / "log.txt")]
    assert [type(fmt) for fmt in for_terminals(formats)] == [TerminalFormat, HumanOutputFormat, HumanOutputFormat]
    formats[-1].close()


def test_the_bar_of_a_resumed_run_counts_its_own_steps_alone(capfd):
    bar = ProgressBar(1000, True)
    bar.start(900)
    time.sleep(0.2)
    bar.update(950, 3.0)
    bar.close()
    rate = re.findall(r"([\d.]+)(k?) steps/s", capfd.readouterr().err)[-1]
    assert float(rate[0]) < 260 and not rate[1], "50 steps in 0.2 seconds; 950 would be 4.75k"


def test_seconds_between_tables_are_a_few():
    assert 1.0 <= terminal.SECONDS_BETWEEN_TABLES <= 10.0


@pytest.mark.parametrize("folder", [True, False])
def test_a_process_without_a_console_trains(folder, tmp_path, monkeypatch):
    """A service or a program without windows has neither stream."""
    from wng_tf.evolution.learn import learn

    path = tmp_path / "run" if folder else None
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", None)
        context.setattr(sys, "stderr", None)
        learn(env="CartPole-v1", alg="es", total_timesteps=30, population=1, horizon=5, num_hidden=4, log_path=path)
    assert not folder or (path / "log.txt").read_text().count("eprewmean") > 1
