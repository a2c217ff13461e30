"""What every entry point does around its `main`: parse flags, and turn a `UserError` into exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from wng_tf.errors import UserError

USAGE_ERROR = 2


def quiet_tensorflow() -> None:
    """Hide TensorFlow's C++ notes, unless the user asked for them. Call before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _parse(argv: Sequence[str]) -> list[str]:
    """Parse flags as absl does, but answer a bad flag with one sentence and exit code 2."""
    try:
        return app.parse_flags_with_usage(list(argv)) if _asks_for_help(argv) else flags.FLAGS(list(argv))
    except flags.Error as error:
        raise UserError(f"{error}. Run with --help to see the flags.") from None


def _asks_for_help(argv: Sequence[str]) -> bool:
    return any(arg.lstrip("-").split("=")[0] in {"help", "helpfull", "helpshort", "helpxml", "?"} for arg in argv[1:])


def _main_without_positionals(main: Callable[[Sequence[str]], int | None]) -> Callable[[Sequence[str]], int | None]:
    def run(argv: Sequence[str]) -> int | None:
        if len(argv) > 1:
            raise UserError(f"Unexpected argument '{argv[1]}': settings are given as --name=value.")
        return main(argv)

    return run


def run_app(main: Callable[[Sequence[str]], int | None], *, positionals: bool = False) -> None:
    """Run `main(argv)` under absl; a `UserError` becomes one line on stderr and exit code 2.

    Args:
      main: takes the arguments left after flag parsing (program name first), returns an exit code or None.
      positionals: whether arguments that are not flags are allowed.
    """
    quiet_tensorflow()

    def guarded(argv: Sequence[str]) -> int | None:
        try:
            return (main if positionals else _main_without_positionals(main))(argv)
        except UserError as error:
            return _fail(error)

    def parser(argv: Sequence[str]) -> list[str]:
        try:
            return _parse(argv)
        except UserError as error:
            sys.exit(_fail(error))

    app.run(guarded, flags_parser=parser)


def _fail(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return USAGE_ERROR
