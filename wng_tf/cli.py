"""What every entry point does around its `main`: parse flags, answer `--help`, turn a `UserError` into exit code 2."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence

from absl import flags

from wng_tf.errors import UserError
from wng_tf.quiet import STDERR, quiet

FAULT, USAGE_ERROR, INTERRUPTED = 1, 2, 130
_HELP = {"help", "helpfull", "helpshort", "h", "?"}

Main = Callable[[Sequence[str]], int | None]


def load_tensorflow() -> None:
    """Import TensorFlow without its C++ notes, unless the user asked for them by TF_CPP_MIN_LOG_LEVEL."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What is logged while it loads ignores the level.
    with quiet([STDERR]) if level in ("2", "3") else contextlib.nullcontext():
        import tensorflow  # noqa: F401


def run_app(main: Main, *, positionals: bool = False) -> None:
    """Parse flags and run `main(argv)`; a `UserError` becomes one line on stderr and exit code 2.

    Ctrl-C gives exit code 130, and output that nobody reads any more (`| head`) exit code 1.

    Args:
      main: takes the arguments left after flag parsing (program name first), returns an exit code or None.
      positionals: whether arguments that are not flags are allowed.
    """
    try:
        argv = _parse(sys.argv)
        if len(argv) > 1 and not positionals:
            raise UserError(f"Unexpected argument '{argv[1]}': settings are given as --name=value.")
        code = main(argv)
    except UserError as error:
        code = fail(str(error), USAGE_ERROR)
    except KeyboardInterrupt:
        code = fail("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes stdout at its end, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = fail("the reader of the output has gone.", FAULT)
    sys.exit(code)


def fail(message: str, code: int) -> int:
    """Say on stderr what went wrong. Returns `code`."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code


def required(name: str) -> str:
    """The value of a flag that must be given.

    Raises:
      UserError: it was not.
    """
    value = flags.FLAGS[name].value
    if not value:
        raise UserError(f"--{name} is missing: {flags.FLAGS[name].help}")
    return value


def checkpoint_name(text: str) -> str | int:
    """What `--which` names: "latest", "best", or the step of a checkpoint.

    Raises:
      UserError: it is none of these.
    """
    if text in ("latest", "best"):
        return text
    if text.isdecimal():
        return int(text)
    raise UserError(f"--which must be latest, best, or the step of a checkpoint, not '{text}'.")


def _parse(argv: Sequence[str]) -> list[str]:
    """The arguments that are not flags, program name first; `--help` prints every flag and exits."""
    if any(argument.lstrip("-").split("=")[0] in _HELP for argument in argv[1:] if argument.startswith("-")):
        print(_help(), flush=True)
        sys.exit(0)
    try:
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        raise UserError(f"{_plain(error)} Run with --help to see the flags.") from None


def _plain(error: flags.Error) -> str:
    """absl's message as one sentence, without the shouting and the tuples in it."""
    text = re.sub(r"\('([^']*)', '[^']*'\)", r"\1", str(error)).removeprefix("ERROR:: ")
    return text if text.endswith(("?", ".")) else f"{text}."


def _help() -> str:
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
    parts.append("--flagfile=FILE takes flags from a file, one a line; flags after it win.")
    return "\n\n".join(parts)


def _describe(flag: flags.Flag) -> str:
    value = str(flag.default).lower() if flag.boolean else flag.default
    default = "" if flag.default in (None, []) else f" (default: {value})"
    name = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    body = textwrap.fill(f"{flag.help}{default}", 104, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"{name}\n{body}"
