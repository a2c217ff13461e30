"""Links from a page to files of the repository, and what the site has in their place.

A page links to a file of the repository as it does anywhere: `[text](../wng_tf/run.py)`. For a line of Python it names what
is there, since numbers of lines go stale:

    ../wng_tf/run.py#main                    where `main` is defined
    ../wng_tf/run.py#main~compile_cache      the first line in it that has that text

On the site such a link leads to a listing of the file, at that line. Pages, images and data that are linked are on the site
themselves.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs/"
#: Where listings are on the site.
SOURCES = "source/"
#: Endings of files that are shown as listings, and the language of each.
LISTED = {".py": "python", ".flags": "text", ".toml": "toml", ".txt": "text", "": "text"}
#: Pages of the site that stand for a file of the repository.
STANDING_FOR = {"README.md": "index.md"}

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})")
_LINK = re.compile(r"(?<!\\)\]\((?P<target>(?:[^()\s]|\([^()\s]*\))+)(?P<title>\s+\"[^\"]*\")?\)")
_CODE = re.compile(r"(`+)(?:(?!\1).)+?\1(?!`)")


def links(markdown: str) -> Iterator[re.Match[str]]:
    """The inline links and images of a page, outside of code."""
    hidden = _without_code(markdown)
    yield from _LINK.finditer(hidden)


def _without_code(markdown: str) -> str:
    """The page with its fenced blocks and code spans blanked, each character in its place."""
    lines, fence = [], None
    for line in markdown.split("\n"):
        mark = _FENCE.match(line)
        if fence is None and mark:
            fence = mark[2]
            lines.append(" " * len(line))
        elif fence is not None:
            if mark and mark[2].startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
            lines.append(" " * len(line))
        else:
            lines.append(line)
    return _CODE.sub(lambda match: " " * len(match[0]), "\n".join(lines))


def resolved(target: str, page: str) -> tuple[str, str] | None:
    """The path in the repository that a link of a page means, and its fragment; None if it leads elsewhere.

    Args:
      target: as it stands in the page.
      page: the page's path in the repository.
    """
    if re.match(r"[a-z][a-z+.-]*:", target) or target.startswith(("#", "/")):
        return None
    path, _, fragment = target.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)), fragment


def site_uri(path: str) -> str:
    """Where the site has a file of the repository, as a path below `docs/`."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    if path in STANDING_FOR:
        return STANDING_FOR[path]
    suffix = posixpath.splitext(path)[1]
    return f"{SOURCES}{path}.md" if suffix in LISTED else path


def repository_path(uri: str) -> str | None:
    """The inverse for pages: the path in the repository of a page of the site; None of a listing."""
    if uri.startswith(SOURCES):
        return None
    return DOCS + uri if (ROOT / DOCS / uri).exists() else uri


def target_file(path: str) -> str:
    """The file that a link to `path` is about: of a folder its README."""
    if (ROOT / path).is_dir():
        return posixpath.join(path, "README.md")
    return path


def reachable(pages: Iterable[Path]) -> list[str]:
    """Paths of the repository outside `docs/` that pages link to, and those that these link to, and so on.

    Raises:
      ValueError: a link to a file that is not there.
    """
    todo = [page.relative_to(ROOT).as_posix() for page in pages]
    found: dict[str, None] = {}
    while todo:
        page = todo.pop()
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in links(text):
            place = resolved(match["target"], page)
            if place is None or place[0].startswith(DOCS) or place[0] in STANDING_FOR:
                continue
            path = target_file(place[0])
            if not (ROOT / path).is_file():
                raise ValueError(f"{page} links to {match['target']}, which is not in the repository.")
            if path not in found:
                found[path] = None
                if path.endswith(".md"):
                    todo.append(path)
    return list(found)


def with_site_links(markdown: str, page: str, uri: str) -> str:
    """A page with its links to the repository turned into links to what the site has."""
    pieces, end = [], 0
    for match in links(markdown):
        place = resolved(match["target"], page)
        if place is None or (place[0].startswith(DOCS) and page.startswith(DOCS)):
            continue
        path, fragment = target_file(place[0]), place[1]
        if fragment and path.endswith(".py"):
            fragment = f"__codelineno-0-{line(path, fragment)}"
        target = posixpath.relpath(site_uri(path), posixpath.dirname(uri) or ".")
        pieces += [markdown[end : match.start("target")], target, f"#{fragment}" if fragment else ""]
        end = match.end("target")
    return "".join([*pieces, markdown[end:]])


def line(path: str, fragment: str) -> int:
    """The line of a Python file that a fragment names, from 1.

    Raises:
      ValueError: the file does not have it.
    """
    symbol, _, text = fragment.partition("~")
    source = (ROOT / path).read_text(encoding="utf-8")
    first, last = 1, source.count("\n") + 1
    if symbol:
        node: ast.AST = ast.parse(source)
        for name in symbol.split("."):
            node = _member(node, name, f"{path}#{fragment}")
        first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
    if not text:
        return first
    for number, content in enumerate(source.split("\n")[first - 1 : last], first):
        if text.replace("%20", " ") in content:
            return number
    raise ValueError(f"{path}#{fragment}: no line there has '{text}'.")


def _member(node: ast.AST, name: str, what: str) -> ast.AST:
    """The definition of `name` in the body of a node."""
    for child in getattr(node, "body", []):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name == name:
            return child
        targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", None)]
        for one in targets:
            names = one.elts if isinstance(one, ast.Tuple) else [one]
            if any(isinstance(each, ast.Name) and each.id == name for each in names):
                return child
    raise ValueError(f"{what}: there is no '{name}'.")


def listing(path: str) -> str:
    """The page that shows a file of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip("\n")
    language = LISTED[posixpath.splitext(path)[1]]
    fence = "`" * 8
    return (
        f"---\ntitle: {path}\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n\n# {path}\n\n"
        f'{fence} {{.{language} linenums="1"}}\n{text}\n{fence}\n'
    )
