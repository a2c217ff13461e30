"""TeX to MathML, which browsers draw by themselves."""

from __future__ import annotations

import html
import re

_SPAN = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])</(?P=tag)>', re.DOTALL
)


def as_mathml(page: str) -> str:
    """HTML with every formula that `pymdownx.arithmatex` marked replaced by MathML.

    Raises:
      ValueError: a formula that is not understood.
    """
    return _SPAN.sub(_converted, page)


def mathml(tex: str, *, block: bool = False) -> str:
    """One formula.

    Raises:
      ValueError: it is not understood.
    """
    from latex2mathml.converter import convert

    try:
        found = convert(tex, display="block" if block else "inline")
    except Exception as error:  # the library's errors have no common class but this
        raise ValueError(f"The formula {tex!r} is not understood: {error!r}.") from error
    if "<mi>\\" in found or "<mtext>\\" in found or "<mi>&</mi>" in found:
        raise ValueError(f"The formula {tex!r} has a command or an alignment that is not understood.")
    return found.replace("<math ", f'<math title="{html.escape(tex.strip())}" ', 1)


def _converted(match: re.Match[str]) -> str:
    block = match["block"] is not None
    tex = html.unescape(match["block"] if block else match["inline"])
    found = mathml(tex, block=block)
    return f'<div class="formula">{found}</div>' if block else found
