"""The commands that README.md tells a newcomer to type: each fenced block under '## Start', ended by a NUL character.

Exit code 1, and a sentence on stderr, unless there are exactly two: the one that trains and the one that tests.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SECTION = "Start"
EXPECTED = 2

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r" {0,3}(#{1,2})\s+(.*?)\s*#*\s*")


def commands(text: str) -> list[str]:
    """The fenced blocks of the section, in their order, without the fences."""
    found: list[str] = []
    block: list[str] | None = None
    fence, inside = "", False
    for line in text.splitlines():
        mark = _FENCE.fullmatch(line)
        if block is not None:
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                if inside:
                    found.append("\n".join(block).strip())
                block = None
            else:
                block.append(line)
        elif mark:
            block, fence = [], mark[1]
        elif heading := _HEADING.fullmatch(line):
            inside = heading[2] == SECTION
    return [command for command in found if command]


def main() -> int:
    """Print the commands of the README named on the command line. Returns the exit code."""
    (path,) = map(Path, sys.argv[1:])
    found = commands(path.read_text(encoding="utf-8"))
    if len(found) != EXPECTED:
        print(f"error: {path} has {len(found)} commands under '## {SECTION}', not {EXPECTED}.", file=sys.stderr)
        return 1
    sys.stdout.write("".join(f"{command}\0" for command in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
