"""README and the pages of `docs/`, as the tests see them: blocks of code, and commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HOOKS = ROOT / "docs" / "_hooks"
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "runs" / "README.md"]
    + [page for page in (ROOT / "docs").rglob("*.md")]
    + [page for page in (ROOT / "runs" / "results").rglob("README.md")]
)
"""Every page of the site that is not made while it is built."""

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})\s*(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
SHELL = ("", "sh", "bash", "console")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    """The file that a reader is to save it as; "" for none."""
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Command(NamedTuple):
    """A command of a page, of a fenced block or, whole, between backticks."""

    page: Path
    line: int
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def hook(name: str) -> ModuleType:
    """A module of the site's hooks."""
    if str(HOOKS) not in sys.path:
        sys.path.append(str(HOOKS))
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HOOKS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    fence, start, info, lines = "", 0, "", []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        mark = _FENCE.match(line)
        if not fence and mark:
            fence, start, info, lines = mark[2], number, mark[3].strip(), []
        elif fence and mark and mark[2].startswith(fence) and not mark[3]:
            title = _TITLE.search(info)
            language = info.split(" ")[0] if info else ""
            yield Block(page, start, language, title[1] if title else "", "\n".join(lines) + "\n")
            fence = ""
        elif fence:
            lines.append(line)


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page: of its shell blocks, of its indented blocks, and the whole ones between backticks."""
    text = page.read_text(encoding="utf-8")
    inside: set[int] = set()
    for block in blocks(page):
        count = block.text.count("\n")
        inside |= set(range(block.line, block.line + count + 2))
        if block.language in SHELL:
            joined = block.text.replace("\\\n", " ")
            for line in joined.splitlines():
                yield from _split(page, block.line, line)
    joined = ""
    for number, line in enumerate(text.splitlines(), 1):
        if number in inside:
            continue
        if line.startswith("    ") and ("python -m " in line or "pip install" in line or joined):
            joined += line.strip().removesuffix("\\")
            if not line.rstrip().endswith("\\"):
                yield from _split(page, number, joined)
                joined = ""
        for span in re.findall(r"(?<!`)`(python -m [^`]+|\S*wng-[a-z]+ --[^`]+)`(?!`)", line):
            yield from _split(page, number, span)


def _split(page: Path, number: int, line: str) -> Iterator[Command]:
    for part in re.split(r"\s&&\s", line):
        words = shlex.split(part, comments=True)
        if words:
            yield Command(page, number, tuple(words))
