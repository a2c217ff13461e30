"""What every entry point does around its `main`: have the flags parsed, turn a `UserError` into exit code 2."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from baselines_compat.whole_rows import DamagedFileWarning
from wng_tf.cli.parse import parse
from wng_tf.errors import UserError
from wng_tf.runtime import collector, faults
from wng_tf.runtime.quiet import STDERR, quiet

FAULT, USAGE_ERROR, INTERRUPTED = 1, 2, 130
#: Where a run's folder keeps the traceback of an environment that failed.
TRACEBACK = "traceback.txt"

Main = Callable[[Sequence[str]], int | None]


def load_tensorflow() -> None:
    """Import TensorFlow without its C++ notes, unless the user asked for them by TF_CPP_MIN_LOG_LEVEL."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What is logged while it loads ignores the level.
    with quiet([STDERR]) if level in ("2", "3") else contextlib.nullcontext(), collector.paused(freeze=True):
        # Before TensorFlow: where it finds that loaded, it imports all of its parts, not those alone that are used.
        import tensorflow_probability  # noqa: F401, I001
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
        _find_modules_here()
        _show_damage()
        argv = parse(sys.argv)
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


def _find_modules_here() -> None:
    """`package.module:name` is looked for in the working folder too, as `python -m` does and a console script does not."""
    here = os.getcwd()
    if not getattr(sys.flags, "safe_path", False) and not {"", here} & set(sys.path):
        sys.path.insert(0, here)


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
