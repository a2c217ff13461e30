"""What pages take from the code when the site is built, so that it cannot go stale.

In a page, alone on a line:

    <!-- generate: algorithms policy_gradients -->   the table of a family
    <!-- generate: row NAME -->                      the parts of one algorithm
    <!-- generate: flags NAME -->                    its settings with their defaults
    <!-- generate: registry NAME -->                 the names of a registry of `wng_tf.parts`, and what each is
    <!-- generate: help MODULE -->                   what the command says of itself
    <!-- generate: file PATH -->                     a file of the repository
    <!-- generate: section PATH HEADING -->          what stands under that heading of a page of the repository
"""

from __future__ import annotations

import ast
import dataclasses
import posixpath
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repository import LISTED, ROOT, links, resolved

from wng_tf import algorithms, families, parts
from wng_tf.envs import tasks
from wng_tf.training.settings import has_effect

_MARK = re.compile(r"^<!-- generate: (\w+) ?(.*?) -->$", re.MULTILINE)

PARTS_OF = {"policy_gradients": families.POLICY_GRADIENT, "evolution_strategies": families.EVOLUTION}


def filled(markdown: str, page: str) -> str:
    """A page with every mark followed by what it names.

    Raises:
      ValueError: a mark that means nothing.
    """

    def fill(match: re.Match[str]) -> str:
        make = GENERATORS.get(match[1])
        if make is None:
            raise ValueError(f"{page}: there is nothing to generate called '{match[1]}'.")
        return make(match[2], page) if make is section_of else make(match[2])

    return _MARK.sub(fill, markdown)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def algorithm_table(family: str) -> str:
    """The table of a family: a row an algorithm, which links to its page beside this one."""
    of = PARTS_OF[family]
    head = ["`--alg`", *(f"`--{part}`" for part in of.parts), ""]
    rows = [
        [f"[`{row.name}`]({row.name}.md)", *(f"`{getattr(row, part)}`" for part in of.parts), row.summary]
        for row in of.table.values()
    ]
    return table(head, rows)


def row_table(name: str) -> str:
    """The parts of one algorithm, each with the flag that names it, and the defaults that are its own."""
    row = algorithms.find(name)
    rows = [[f"`--{part}`", f"`{getattr(row, part)}`"] for part in families.of(row).parts]
    rows += [[f"`--{setting}`", f"`{value}`"] for setting, value in row.defaults.items()]
    return table(["flag", f"`{row.name}`"], rows)


def flag_table(name: str) -> str:
    """The settings that have an effect on an algorithm, under their headings, with its defaults."""
    row = algorithms.find(name)
    family = families.of(row)
    config = family.resolve(row, tasks.resolve("Hopper-v5"), {})
    network = family.default_network(tasks.resolve("Hopper-v5"))
    groups: dict[str, list[list[str]]] = {}
    for field in dataclasses.fields(config):
        if field.name in family.parts or not has_effect(config, field.name, network=network):
            continue
        groups.setdefault(field.metadata["group"], []).append(
            [f"`--{field.name}`", f"`{_shown(getattr(config, field.name))}`", field.metadata["help"] + _choices(field)]
        )
    head = ["flag", "default", "what it is"]
    pieces = [f"**{group[0].upper()}{group[1:]}**\n\n{table(head, rows)}" for group, rows in groups.items()]
    notes = []
    for where, values in family.exceptions().items():
        own = {key: value for key, value in values.items() if has_effect(config, key, network=network)}
        if own:
            notes.append(f"{where}: " + ", ".join(f"`--{key}={_shown(value)}`" for key, value in own.items()))
    if notes:
        pieces.append("Other defaults on some tasks: " + "; ".join(notes) + ".")
    return "\n\n".join(pieces)


def _choices(field: dataclasses.Field) -> str:
    choices = field.metadata.get("choices")
    return f" ({', '.join(f'`{choice}`' for choice in choices)})" if choices else ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def registry_table(name: str) -> str:
    """Every word of a registry, and the first sentence of the docstring of what it names, read without importing it."""
    registry = parts.BY_FLAG.get(name) or getattr(parts, name.upper())
    return table(["name", "what it is"], [[f"`{word}`", _first_sentence(registry._parts[word])] for word in registry])


def _first_sentence(part: Any) -> str:
    if not isinstance(part, str):  # an embedding, or what is imported already
        part = getattr(part, "function", part)
        return (part.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    module, _, name = part.partition(":")
    file = ROOT / Path(*module.split(".")).with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    return ""


def help_of(module: str) -> str:
    """What `python -m MODULE --help` prints."""
    found = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return f"```text\n{found.stdout.rstrip()}\n```"


def section_of(argument: str, page: str) -> str:
    """A section of another page, without its heading, its links made right for `page`.

    Raises:
      ValueError: there is no such heading.
    """
    path, _, heading = argument.partition(" ")
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,6}} |\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ValueError(f"{page}: {path} has no section '{heading}'.")
    section, pieces, end = found[2].strip(), [], 0
    for match in links(section):
        place = resolved(match["target"], path)
        if place is not None:
            target = posixpath.relpath(place[0], posixpath.dirname(page)) + (f"#{place[1]}" if place[1] else "")
            pieces += [section[end : match.start("target")], target]
            end = match.end("target")
    return "".join([*pieces, section[end:]])


def file_of(path: str) -> str:
    """A file of the repository as a block of code."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip("\n")
    return f'``` {{.{LISTED[Path(path).suffix]} title="{path}"}}\n{text}\n```'


GENERATORS: dict[str, Callable[..., str]] = {
    "algorithms": algorithm_table,
    "row": row_table,
    "flags": flag_table,
    "registry": registry_table,
    "help": help_of,
    "file": file_of,
    "section": section_of,
}
