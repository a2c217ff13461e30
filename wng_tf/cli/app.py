"""What every entry point does around its `main`: parse flags, answer `--help`, turn a `UserError` into exit code 2."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

import wng_tf
from baselines_compat.whole_rows import DamagedFileWarning
from wng_tf import parts
from wng_tf.cli import flagfile
from wng_tf.errors import UserError
from wng_tf.runtime import faults, trust
from wng_tf.runtime.quiet import STDERR, quiet

FAULT, USAGE_ERROR, INTERRUPTED = 1, 2, 130
#: Where a run's folder keeps the traceback of an environment that failed.
TRACEBACK = "traceback.txt"
_HELP = {"help", "helpfull", "helpshort", "h", "?"}

Main = Callable[[Sequence[str]], int | None]

_typed: frozenset[str] = frozenset()
"""What the user typed himself, not what the flagfiles add."""
_names: frozenset[str] = frozenset()
"""The flags that he typed."""


def load_tensorflow() -> None:
    """Import TensorFlow without its C++ notes, unless the user asked for them by TF_CPP_MIN_LOG_LEVEL."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What is logged while it loads ignores the level.
    with quiet([STDERR]) if level in ("2", "3") else contextlib.nullcontext():
        import tensorflow  # noqa: F401


def run_app(main: Main, *, positionals: bool = False) -> None:
    """Parse flags and run `main(argv)`; a `UserError` becomes one line on stderr and exit code 2.

    So does what the system refuses (a full disk, a folder that cannot be written, too little memory). Ctrl-C gives exit
    code 130, and output that nobody reads any more (`| head`) exit code 1.

    Args:
      main: takes the arguments left after flag parsing (program name first), returns an exit code or None.
      positionals: whether arguments that are not flags are allowed.
    """
    try:
        _check_surroundings()
        _show_damage()
        argv = _parse(sys.argv)
        if len(argv) > 1 and not positionals:
            raise UserError(f"Unexpected argument '{argv[1]}': settings are given as --name=value.")
        code = main(argv)
        sys.stdout.flush()
    except UserError as error:
        code = fail(str(error), USAGE_ERROR)
    except KeyboardInterrupt:
        code = fail("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        _drop_stdout()
        code = fail("the reader of the output has gone.", FAULT)
    except OSError as error:
        _drop_stdout()  # it may be what failed
        code = fail(faults.sentence(error), USAGE_ERROR)
    except Exception as error:
        if not faults.is_out_of_memory(error):
            raise
        code = fail("There is not enough memory for this: choose smaller settings, or a larger machine.", USAGE_ERROR)
    sys.exit(code)


def fail(message: str, code: int) -> int:
    """Say on stderr what went wrong. Returns `code`."""
    with contextlib.suppress(OSError):  # then the code has to say it
        print(f"error: {message}", file=sys.stderr or sys.stdout, flush=True)
    return code


def check_trust(envs: Iterable[str] = (), settings: Iterable[Mapping[str, str | None]] = ()) -> None:
    """UserError if a name from the flags, of an environment or of a part of an algorithm, would run code that the user did
    not ask for.

    What he typed himself is trusted, and with --trust what a flagfile says, too.
    """
    if trusted():
        return
    for name in envs:
        if not is_typed(name):
            trust.check(name, "The flagfile")
    for one in settings:
        for flag, value in one.items():
            registry = parts.BY_FLAG.get(parts.RENAMED.get(flag, flag))
            if registry is not None and value is not None and not is_typed(value):
                trust.check_part(value, "The flagfile", registry)


def trusted() -> bool:
    """Whether the user gave --trust."""
    return "trust" in flags.FLAGS and bool(flags.FLAGS.trust)


def is_typed(text: str) -> bool:
    """Whether the user typed the value, or the `module:name`, himself."""
    return text in _typed


def is_given(name: str) -> bool:
    """Whether the user typed the flag himself, as --name or --noname."""
    return name in _names or f"no{name}" in _names


def _show_damage() -> None:
    """Every file that has lost something is named in a line of its own, without the line of code that met it."""
    warnings.simplefilter("always", DamagedFileWarning)
    general = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> str:
        ours = issubclass(category, DamagedFileWarning)
        return f"warning: {message}\n" if ours else general(message, category, *place, **line)

    warnings.formatwarning = formatted


def _check_surroundings() -> None:
    """UserError if the process cannot say anything, or is nowhere."""
    for descriptor in (0, 1, 2):  # else the next file opened would be taken for the standard output
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream, number in (("output", 1), ("error", 2)):
        if (sys.stdout, sys.stderr)[number - 1] is None:
            raise UserError(f"The standard {stream} is closed: send it to a file, or to /dev/null ({number}>/dev/null).")
    try:
        os.write(1, b"")  # /dev/full refuses even that
    except OSError as error:
        raise UserError(f"Cannot write to the standard output ({faults.reason(error)}).") from None
    try:
        os.getcwd()
    except OSError:
        raise UserError("The working folder does not exist any more: change to another one.") from None


def _drop_stdout() -> None:
    """Lead a broken stdout to nowhere, since the interpreter flushes it at its end, which would fail once more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
    else:
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def traceback_of(error: BaseException, folder: str | os.PathLike[str]) -> str:
    """Keep an environment's traceback: in the run's folder, or, before there is one, in a temporary file.

    Returns:
      a sentence that says where, to be put after the error's; nothing, if there is no traceback or nowhere to keep it.
    """
    details = getattr(error, "details", "")
    if not details:
        return ""
    path = Path(folder) / TRACEBACK
    try:
        if not path.parent.is_dir():
            number, name = tempfile.mkstemp(prefix="wng_tf-", suffix=f"-{TRACEBACK}")
            os.close(number)
            path = Path(name)
        path.write_text(details, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
    return f" Its traceback is in {path}."


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
    if "version" not in flags.FLAGS and any(argument in ("--version", "-version") for argument in argv[1:]):
        print(f"wng_tf {wng_tf.__version__}", flush=True)
        sys.exit(0)
    global _typed, _names
    _typed = frozenset(trust.words(argv[1:]))
    _names = frozenset(word.lstrip("-").partition("=")[0] for word in argv[1:] if word.startswith("-"))
    if "trust" not in flags.FLAGS:
        flags.DEFINE_bool("trust", False, "Run code that a run folder or a flagfile names and that is not installed.")
    try:
        return flags.FLAGS([*argv[:1], *flagfile.expand(argv[1:])])
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
    parts.append("--flagfile=FILE takes flags from a file, one a line; flags after it win. --version says which one this is.")
    return "\n\n".join(parts)


def _describe(flag: flags.Flag) -> str:
    value = str(flag.default).lower() if flag.boolean else flag.default
    default = "" if flag.default in (None, []) else f" (default: {value})"
    name = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    body = textwrap.fill(f"{flag.help}{default}", 104, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"{name}\n{body}"
