"""What `--help` prints."""

from __future__ import annotations

import sys
import textwrap

from absl import flags


def help_text() -> str:
    """The entry point's docstring and its flags, under the headings of `flag.group`."""
    groups: dict[str, list[flags.Flag]] = {}
    for module, of_module in flags.FLAGS.flags_by_module_dict().items():
        if not module.startswith("absl."):
            for flag in of_module:
                groups.setdefault(getattr(flag, "group", ""), []).append(flag)
    parts = [(getattr(sys.modules["__main__"], "__doc__", "") or "").strip()]
    for group, members in groups.items():
        lines = [f"{group[0].upper()}{group[1:]}:"] if group else ["Flags:"]
        parts.append("\n".join(lines + [_describe(flag) for flag in members]))
    parts.append("--flagfile=FILE takes flags from a file, one a line; flags after it win. --version says which one this is.")
    return "\n\n".join(parts)


def _describe(flag: flags.Flag) -> str:
    value = str(flag.default).lower() if flag.boolean else flag.default
    default = "" if flag.default in (None, []) else f" (default: {value})"
    name = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    body = textwrap.fill(f"{flag.help}{default}", 104, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"{name}\n{body}"
