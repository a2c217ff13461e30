"""README's commands: found in it, and the ones that CI runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "readme_commands.py"


def found_in(readme: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), str(readme)], capture_output=True, text=True, check=False)


def test_the_readme_has_one_command_that_trains_and_one_that_tests():
    train, tests, rest = found_in(ROOT / "README.md").stdout.split("\0")
    assert rest == ""
    for command, last in ((train, "python -m wng_tf.run "), (tests, "python -m pytest")):
        assert "\n" not in command and command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        create, install, run = command.split(" && ")
        assert create == "python3.11 -m venv .venv"
        assert install.startswith(".venv/bin/pip install -c requirements.txt -e ")
        assert run.startswith(f".venv/bin/{last}")


@pytest.mark.parametrize(
    "text",
    [
        "# a\n## Start\nTo train:\n```\none 1\n```\nTo test:\n```\ntwo\n```\n## Next\n```\nthree\n```\n",
        "# a\n```\nzero\n```\n## Start ##\n```bash\none 1\n```\n~~~\ntwo\n~~~\n# Next\n~~~\nthree\n~~~\n",
        "## Start\n````sh\none 1\n````\n### By hand\n   ```\ntwo\n   ```\n",
    ],
)
def test_commands_are_the_fenced_blocks_of_the_section(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    found = found_in(tmp_path / "README.md")
    assert (found.returncode, found.stdout) == (0, "one 1\0two\0")


def test_a_command_of_several_lines_and_fences_inside_it(tmp_path):
    (tmp_path / "README.md").write_text("## Start\n````\n# not a heading\none \\\n  1\n```\n````\n```\ntwo\n```\n")
    assert found_in(tmp_path / "README.md").stdout == "# not a heading\none \\\n  1\n```\0two\0"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("## Start\nnone\n## Next\n```\none\n```\n```\ntwo\n```\n", 0),
        ("## Start\n```\n```\n```\n\n```\n", 0),
        ("## Start\n```\none\n```\n```\ntwo\n", 1),
        ("## Start\n```\none\n```\n```\ntwo\n```\n```\nthree\n```\n", 3),
    ],
)
def test_any_other_number_of_commands_is_an_error(text, count, tmp_path):
    (tmp_path / "README.md").write_text(text)
    found = found_in(tmp_path / "README.md")
    assert (found.returncode, found.stdout) == (1, "")
    assert f"has {count} commands under '## Start', not 2." in found.stderr
