"""Every command in README, the docs and the results: its flags are right; and it runs, with a tiny budget (slow)."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import doc_pages
import pytest
from absl import flags
from doc_commands import ONLY_CHECKED, budget
from short_runs import uncompiled

from wng_tf import algorithms
from wng_tf.cli.parse import check_trust, parse
from wng_tf.envs import tasks
from wng_tf.errors import UserError

ROOT = doc_pages.ROOT
SETUP = (ROOT / "setup.py").read_text()
SCRIPTS = dict(re.findall(r'"(wng-\w+)=([\w.]+):app"', SETUP))
EXTRAS = set(re.findall(r'^        "(\w+)": \[', SETUP, re.MULTILINE))
#: Words that stand for something of the reader's own.
PLACEHOLDERS = {"FOLDER", "RUN...", "OLD_CHECKOUT", "ADDRESS"}
PAGES = [page for page in doc_pages.PAGES if any(doc_pages.commands(page))]
GUIDES = [page for page in PAGES if (ROOT / "runs") not in page.parents]


def plain(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without the folder of the virtual environment, and scripts as modules."""
    first = words[0].removeprefix(".venv/bin/")
    return ("python", "-m", SCRIPTS[first], *words[1:]) if first in SCRIPTS else (first, *words[1:])


def module_of(words: tuple[str, ...]) -> str:
    """The module of ours that a command runs; "" if it is another program."""
    ours = (
        words[0] == "python"
        and words[1:2] == ("-m",)
        and words[2].split(".")[0] in ("wng_tf", "benchmarks", "baselines_compat")
    )
    return words[2] if ours else ""


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with what a reader has: the flagfiles and the examples of the repository."""
    shutil.copytree(ROOT / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("results", "out"))
    (tmp_path / "runs" / "results").symlink_to(ROOT / "runs" / "results")
    for name in ("examples", "requirements.txt", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def save_files(page: Path, folder: Path) -> None:
    """The blocks that a page says to save."""
    for block in doc_pages.blocks(page):
        if block.title and block.language == "python":
            (folder / block.title).write_text(block.text)


def checked(module, main, positionals: bool) -> int:
    """What an entry point does with its command line, up to where the work would begin."""
    argv = parse(sys.argv)
    if len(argv) > 1 and not positionals:
        raise UserError(f"{argv[1]} is no flag.")
    values = flags.FLAGS
    if module.__name__ == "wng_tf.run":
        if values.play and values.num_timesteps == 0:
            return 0  # of a run that is there by then
        check_trust([values.env], [values.flag_values_dict()])
        module._check(algorithms.find(values.alg), tasks.resolve(values.env))
    if "dry_run" in values:
        values["dry_run"].value = True
        return main(argv)
    return 0


def check_ours(words: tuple[str, ...], call, monkeypatch) -> None:
    """Flags, flagfiles, algorithms, tasks and parts of a command of ours."""
    if words[2].startswith("benchmarks"):  # each defines flags when it is imported, of the same names
        source = ROOT.joinpath(*words[2].split(".")).with_suffix(".py").read_text()
        for word in words[3:]:
            if word.startswith("--"):
                assert re.search(rf'"{word[2:].partition("=")[0].removeprefix("no")}"', source), f"{words[2]} has no {word}"
        return
    module = importlib.import_module(words[2])
    if words[2] == "baselines_compat.run":  # Baselines' words for the command that trains
        words = ("python", "-m", module.PROGRAM.partition(":")[0], *module.arguments(words[3:]))
        module = importlib.import_module(words[2])

    def instead(main, *, positionals=False):
        try:
            code = checked(module, main, positionals)
        except UserError as error:
            sys.exit(f"{error}")
        sys.exit(code)

    monkeypatch.setattr(module, "run_app", instead, raising=False)
    if hasattr(module, "cli"):
        monkeypatch.setattr(module.cli, "run_app", instead)
    outcome = call(module.app, *words[3:])
    assert outcome.code == 0, f"{' '.join(words)}: {outcome.code} {outcome.stderr}"


def leave_flags(words: tuple[str, ...]) -> None:
    """What a command leaves for a later one of its page: the file of a run's flags, or of the best that were found."""
    given = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    file, kept = {"wng_tf.run": ("flags.txt", None), "wng_tf.tune": ("best.flags", ("alg", "env"))}.get(words[2], ("", ()))
    if file and "log_path" in given and "flagfile" not in given:
        folder = Path(given["log_path"])
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"--{name}={value}\n" for name, value in given.items() if kept is None or name in kept]
        (folder / file).write_text("".join(lines))


def check_other(words: tuple[str, ...]) -> None:
    """A command of another program: that what it names is there."""
    program = words[0]
    paths = [word for word in words[1:] if "/" in word and not word.startswith("-")]
    if program.startswith("python") and words[1] == "-m":
        assert words[2] in ("venv", "pytest", "ruff", "mypy", "mkdocs"), words
        if words[2] == "pytest":
            assert all(Path(path).exists() for path in paths), words
            known = ("-n", "2", "--dist", "loadscope", "-m", "slow", "-k", "flags", "--random-order")
            assert all(word in known or word in paths for word in words[3:]), words
    elif program.startswith("python"):
        assert Path(words[1]).is_file(), words
    elif program in ("pip", "pip3"):
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= EXTRAS, words
        if "-c" in words:
            assert Path(words[words.index("-c") + 1]).is_file(), words
    else:
        assert program in ("source", "git", "cd", "tensorboard", "pre-commit", ".ci/run", "apt-get"), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_are_right(page, reader, call, monkeypatch):
    monkeypatch.setattr("wng_tf.evaluate.required", lambda name: "", raising=False)
    save_files(page, reader)
    for command in doc_pages.commands(page):
        words = plain(command.words)
        if PLACEHOLDERS & {part for word in words for part in (word, word.partition("=")[2])} or "--help" in words:
            words = tuple(word for word in words if not PLACEHOLDERS & {word, word.partition("=")[2]} and word != "--help")
        with monkeypatch.context() as patch:
            if module_of(words):
                check_ours(words, call, patch)
                leave_flags(words)
            else:
                check_other(words)


def test_there_are_commands_to_check():
    words = {
        plain(command.words)[2] for page in PAGES for command in doc_pages.commands(page) if module_of(plain(command.words))
    }
    assert {"wng_tf.run", "wng_tf.evaluate", "wng_tf.export", "wng_tf.sweep", "wng_tf.plot"} <= words


@pytest.mark.parametrize("words", [("--alg=wnpgg",), ("--embedding=nothing:here",), ("--trust_radius=1",), ("--nothing=1",)])
def test_a_wrong_command_would_be_found(words, call, monkeypatch):
    with pytest.raises(AssertionError):
        check_ours(("python", "-m", "wng_tf.run", *words), call, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_run(page, reader, call, monkeypatch):
    """In the order of the page, each with a budget of a few steps. (The results' own commands are hours of sweeps.)"""
    monkeypatch.setenv("WNG_TF_UNUSED", "allow")
    save_files(page, reader)
    done: set[tuple[str, ...]] = set()
    for command in doc_pages.commands(page):
        words = plain(command.words)
        if words in done or not module_of(words) or PLACEHOLDERS & {word.partition("=")[2] or word for word in words}:
            continue
        done.add(words)
        if (
            words[2] in ONLY_CHECKED
            or "--play" in words
            or any(word.startswith(("--engine=ray", "--ray_address")) for word in words)
        ):
            continue
        more = budget(words)
        if words[2].startswith("benchmarks"):
            run = subprocess.run(
                [sys.executable, *words[1:], *more], cwd=reader, env=_with_path(), capture_output=True, text=True
            )
            assert run.returncode == 0, f"{command.name}: {run.stderr[-2000:]}"
            continue
        module = importlib.import_module(words[2])
        with uncompiled():
            # A film needs a display, or what stands for one; films have tests of their own.
            given = [word for word in words[3:] if not word.startswith("--video")]
            outcome = call(getattr(module, "app", None) or module.main, *given, *more)
        assert outcome.code == 0, f"{command.name}: {' '.join(words)}: {outcome.code} {outcome.stderr[-2000:]}"


def _with_path() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
