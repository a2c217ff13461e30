"""What a run folder or a flagfile of somebody else may import without being asked about: installed packages alone.

`--env=module:Id` and `--embedding=module:function` import a module. Typed by the user that is what he wants. In a file that
he was handed it could be any module in the current folder, which Python looks at first, or a function of the standard
library such as `os.system`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from urllib.parse import unquote, urlparse

from wng_tf.errors import UserError
from wng_tf.runtime.registry import Registry, is_path

_REFERENCE = re.compile(r"[^\s=,:]+:[^\s=,:]+")
_OWN = ("wng_tf", "baselines_compat")
_SITE_FOLDERS = ("site-packages", "dist-packages")


def words(arguments: Iterable[str]) -> set[str]:
    """What some command-line arguments say: the values, and every `module:name` in them."""
    arguments = list(arguments)
    values = {argument.partition("=")[2] or argument for argument in arguments}
    return values | {match[0] for argument in arguments for match in _REFERENCE.finditer(argument)}


def check(name: str, source: object) -> None:
    """UserError if `name`, of an environment or an embedding, is one of a module that is not an installed package's.

    Args:
      name: "module:Id" or "module:function"; a name without a module, or only "module:" for one that is run, is in order.
      source: who says so, for the sentence.
    """
    module, colon, _ = name.rpartition(":")
    if not colon or not module:
        return
    why = _why_not(module)
    if why is not None:
        raise UserError(
            f"{source} names '{name}', and {why}: install the package that it is of, or look at what it would run and "
            "give --trust (trust=True in Python)."
        )


def check_part(name: str, source: object, registry: Registry) -> None:
    """As `check`, for a part of an algorithm: UserError also if it is a function of Python's own, wherever it was found.

    Args:
      name: of one of `registry`'s parts, or "package.module:name".
    """
    check(name, source)
    if not is_path(name):
        return
    function = registry.find(name)
    defined_in = (getattr(function, "__module__", None) or type(function).__module__ or "").partition(".")[0]
    if defined_in in sys.stdlib_module_names:
        raise UserError(
            f"{source} names '{name}', which is '{defined_in}.{getattr(function, '__name__', name)}' of Python's standard "
            f"library and no {registry.noun}: give --trust (trust=True in Python) to call it all the same."
        )


def _why_not(module: str) -> str | None:
    """Why the module is not an installed package's, in words; None if it is, or if importing it would run nothing."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"'{top}' is a module of Python's standard library and no environment or embedding"
    if "__main__" in module.split(".")[1:]:
        return f"'{module}' is a program"
    if module in sys.modules or top in _OWN:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"its module '{top}' is not installed"
    return None if _is_installed(top, spec) else f"its module '{top}' is not installed but lies in '{_place(spec)}'"


def _is_installed(top: str, spec: ModuleSpec) -> bool:
    files = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or [])
    if not files:
        return False
    return all(_below(file, _roots()) for file in files) or all(_below(file, _editable(top)) for file in files)


def _place(spec: ModuleSpec) -> str:
    files = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ["nowhere"])
    return os.path.dirname(str(files[0])) or "."


def _below(file: str | None, folders: Sequence[str]) -> bool:
    path = os.path.abspath(file or "")
    return any(path.startswith(folder + os.sep) for folder in folders)


def _roots() -> list[str]:
    """Folders that packages are installed to. sys.path alone does not tell them from the current folder."""
    paths = sysconfig.get_paths()
    folders = [*site.getsitepackages(), paths["purelib"], paths["platlib"]]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    roots = list(dict.fromkeys(map(os.path.abspath, folders)))
    # One environment may lend its packages to another by a .pth file.
    lent = [line for root in roots for file in sorted(Path(root).glob("*.pth")) for line in _pth_lines(file, root)]
    return [*roots, *(path for path in lent if os.path.basename(path) in _SITE_FOLDERS)]


def _pth_lines(file: Path, root: str) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    named = (line.strip() for line in lines if line.strip() and not line.startswith(("#", "import ", "import\t")))
    return [os.path.abspath(os.path.join(root, line)) for line in named]


def _editable(top: str) -> list[str]:
    """Project folders of the distributions installed by `pip install -e` that have the top-level module."""
    folders = []
    for distribution in metadata.distributions(path=_roots()):
        url = distribution.read_text("direct_url.json") or ""
        if '"editable": true' in url and top in (distribution.read_text("top_level.txt") or "").split():
            match = re.search(r'"url": "(file:[^"]*)"', url)
            if match:
                folders.append(os.path.abspath(unquote(urlparse(match[1]).path)))
    return folders
