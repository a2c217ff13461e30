"""The command line parsed, and what of it the user typed himself: in that he is trusted."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from absl import flags

import wng_tf
from wng_tf import parts
from wng_tf.cli import flagfile
from wng_tf.cli.help import help_text
from wng_tf.cluster.connect import check_ray, is_here
from wng_tf.envs.sources import wrapper_names
from wng_tf.errors import UserError
from wng_tf.runtime import trust
from wng_tf.training.schedules import named_function

_HELP = {"help", "helpfull", "helpshort", "h", "?"}
_typed: frozenset[str] = frozenset()
"""What the user typed himself, not what the flagfiles add."""
_names: frozenset[str] = frozenset()
"""The flags that he typed."""


def check_trust(envs: Iterable[str] = (), settings: Iterable[Mapping[str, str | None]] = ()) -> None:
    """UserError if a name from the flags, of an environment, a wrapper or a part of an algorithm, would run code that the
    user did not ask for.

    What he typed himself is trusted, and with --trust what a flagfile says, too.
    """
    if trusted():
        return
    settings = list(settings)
    for name in (*envs, *(name for one in settings for name in _named(one))):
        if not is_typed(name):
            trust.check(name, "The flagfile")
    for one in settings:
        for flag, value in one.items():
            registry = parts.BY_FLAG.get(parts.RENAMED.get(flag, flag))
            if registry is not None and value is not None and not is_typed(value):
                trust.check_part(value, "The flagfile", registry)


def check_cluster(address: str | None) -> None:
    """UserError if a run cannot join the Ray cluster at `address`, or should not: it gets what the cluster sends unpickled.

    So a cluster of another machine is one that the user typed himself, or that of a flagfile with --trust.
    """
    if address is not None and not (trusted() or is_typed(address) or is_here(address)):
        raise UserError(
            f"The flagfile names the Ray cluster '{address}', of another machine, which can run any code here: give "
            "--ray_address yourself, or --trust."
        )
    check_ray(address)


def _named(settings: Mapping[str, str | None]) -> list[str]:
    """What settings name besides parts of an algorithm: environments, wrappers and functions."""
    rates = map(named_function, (settings.get("lr"), settings.get("cliprange")))
    return [name for name in (settings.get("eval_env"), *wrapper_names(settings.get("env_wrapper")), *rates) if name]


def trusted() -> bool:
    """Whether the user gave --trust."""
    return "trust" in flags.FLAGS and bool(flags.FLAGS.trust)


def is_typed(text: str) -> bool:
    """Whether the user typed the value, or the `module:name`, himself."""
    return text in _typed


def is_given(name: str) -> bool:
    """Whether the user typed the flag himself, as --name or --noname."""
    return name in _names or f"no{name}" in _names


def check_used(needs: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Whether the flags of a command that the user typed have an effect beside the others.

    Args:
      needs: from a flag to another one and the values of that with which it has; none: any that is said.

    Raises:
      UserError: one has none, and is not at its default.
    """
    values = flags.FLAGS
    for name, (other, allowed) in needs.items():
        value = values[other].value
        if is_given(name) and values[name].value != values[name].default and not (value in allowed if allowed else value):
            goes_with = f"{other}={'|'.join(allowed)}" if allowed else other
            raise UserError(f"--{name} has no effect: it goes with --{goes_with}. Leave it out.")


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


def parse(argv: Sequence[str]) -> list[str]:
    """The arguments that are not flags, program name first; `--help` prints every flag and exits."""
    if any(argument.lstrip("-").split("=")[0] in _HELP for argument in argv[1:] if argument.startswith("-")):
        print(help_text(), flush=True)
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
    text = text if text.endswith(("?", ".")) else f"{text}."
    if isinstance(error, flags.UnrecognizedFlagError) and not is_given(error.flagname):
        text += (
            " It stands in a flagfile, which may be for another command: runs, sweeps and studies have flags of their own."
        )
    return text
