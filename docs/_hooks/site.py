"""The hooks of `mkdocs build`: tables from the code, links into the repository, formulas as MathML.

Each of the three is a module beside this one that knows no MkDocs, so that the tests use them too.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # the siblings; and the project itself, whose tables are read

import curves  # noqa: E402
import formulas  # noqa: E402
import generated  # noqa: E402
import repository  # noqa: E402


def on_files(files: Files, config: Any) -> Files:
    """Add what pages link to in the repository, and the curves of the algorithms."""
    pages = [Path(file.abs_src_path) for file in files if file.is_documentation_page()]
    outside = [name for name in _named(config.nav) if not files.get_file_from_path(name)]
    for path in [*outside, *repository.reachable([*pages, *(repository.ROOT / name for name in outside)])]:
        source = repository.ROOT / path
        uri = repository.site_uri(path)
        if files.get_file_from_path(uri):
            continue
        if uri.startswith(repository.SOURCES):
            files.append(File.generated(_config, uri, content=repository.listing(path)))
        else:
            files.append(File.generated(_config, uri, abs_src_path=str(source)))
    for name, content in curves.drawn():
        files.append(File.generated(_config, f"images/curves/{name}.png", content=content))
    return files


def _named(nav: Any) -> list[str]:
    """The pages that a `nav` of mkdocs.yml names."""
    if isinstance(nav, str):
        return [nav]
    return [name for each in (nav.values() if isinstance(nav, dict) else nav) for name in _named(each)]


def on_config(config: Any) -> Any:
    """Keep the configuration for files that are made up."""
    global _config
    _config = config
    os.chdir(repository.ROOT)
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated, then point links that leave `docs/` to what the site has in their place."""
    path = repository.repository_path(page.file.src_uri)
    if path is None:  # a listing of a source file
        return markdown
    return repository.with_site_links(generated.filled(markdown, path), path, page.file.src_uri)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Formulas as MathML: no script and no network is needed to read them."""
    if page.file.src_uri.startswith(repository.SOURCES):
        # MkDocs looks for anchors before the lines of listings have theirs.
        page.present_anchor_ids |= set(re.findall(r'id="(__codelineno-[0-9-]+)"', html))
    # The style keeps code in tables on one line, which a whole command would make as wide as itself.
    return re.sub(r"<code>([^<]{40,})</code>", r'<code class="long">\1</code>', formulas.as_mathml(html))
