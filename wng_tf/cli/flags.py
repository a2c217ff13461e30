"""absl flags made from the settings of both families. Only entry points use this module; it imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from wng_tf.errors import UserError
from wng_tf.families import FAMILIES, Family, check_setting, settings
from wng_tf.parts import RENAMED
from wng_tf.runtime import whole
from wng_tf.training.run_flags import ROLES
from wng_tf.training.settings import conditions, field_type, reads_text

#: Flags of what comes after a run, and is no part of it.
AFTERWARDS = ("save_path", "play", "play_episodes")

#: TensorFlow starts all of them, whether there are cores for them or not.
MOST_THREADS = 1024

Use = tuple[Family, dataclasses.Field, type]
"""A family that has a setting, the setting, and its type."""


class NumberFlagParser(flags.ArgumentParser):
    """Whole numbers that may be written as 1e6 or 1_000_000."""

    syntactic_help = "a whole number, 1e6 is understood"

    def __init__(self, low: int | None = None):
        self._low = low

    def parse(self, argument: str | int) -> int:
        value = whole.parse(str(argument))
        if self._low is not None and value < self._low:
            raise ValueError(f"it must be at least {self._low}, not {value}")
        return value

    def flag_type(self) -> str:
        return "int"


class JoinedFlag(flags.Flag):
    """Text that may be given several times: the values with commas between them."""

    def parse(self, argument: str) -> None:
        before = self.value if self.present else None
        super().parse(argument)
        if before:
            self.value = f"{before},{self.value}"


def define_number(name: str, default: int | None, help: str, low: int | None = None) -> None:
    """A whole-number flag that understands 1e6, from `low` on."""
    flags.DEFINE(NumberFlagParser(low), name, default, help, serializer=flags.ArgumentSerializer())


def check_numbers(*, num_timesteps: int = 1, seed: int = 0, num_threads: int = 1) -> None:
    """UserError if a number of a run that is no setting of its algorithm is out of its limits."""
    if num_threads < 1:
        raise UserError(f"--num_threads must be at least 1, not {num_threads}.")
    if num_threads > MOST_THREADS:
        raise UserError(f"--num_threads must be at most {MOST_THREADS}, not {num_threads}.")
    if not 0 <= seed < 2**64:
        raise UserError(f"--seed must be between 0 and 2**64 - 1, not {seed}.")
    if num_timesteps < 1:
        raise UserError(f"--num_timesteps must be at least 1, not {num_timesteps}.")


def define_run_flags() -> None:
    """The flags that say which run: algorithm, environment, length, seed, folder."""
    rows = [row for family in FAMILIES for row in family.table.values()]
    table = "; ".join(f"{row.name}: {row.summary}" for row in rows)
    flags.DEFINE_string("alg", "bg_wnpg", f"Algorithm. {table}.")
    flags.DEFINE_string(
        "env",
        "Hopper",
        "Environment: Hopper Walker2d HalfCheetah Ant Reacher DoublePendulum (PyBullet), Point, Quadruped, or any "
        "Gymnasium id (Hopper-v5, package.module:Id-v0).",
    )
    define_number("num_timesteps", 1_000_000, "Environment steps to train for.")
    define_number("seed", 0, "Seed of everything random.")
    flags.DEFINE_string(
        "network",
        None,
        "Network: mlp; cnn or cnn_small for images; one registered with baselines_compat.models.register; or your own as "
        "package.module:function, any Keras model. Evolution strategies have toeplitz, too. "
        "Default: mlp, and the paper's toeplitz for evolution strategies on Point and Quadruped.",
    )
    flags.DEFINE_string(
        "load_path",
        None,
        "Begin from the policy, value function and normalizers of an earlier run, checkpoint or saved policy, in the "
        "environment of that run unless --env names one.",
    )
    flags.DEFINE_string("log_path", None, "Folder of the run; default: runs/out/ALG-ENV-SEED.")
    flags.DEFINE_bool("resume", False, "Continue the run in --log_path from its last checkpoint.")
    flags.DEFINE_bool("progress", None, "Show the progress bar; default: on a terminal.")
    define_number("num_threads", 1, "Threads of TensorFlow's operations.")
    flags.DEFINE_string("save_path", None, "File to save the trained policy to, beside the run's own; wng_tf.load reads it.")
    flags.DEFINE_bool(
        "play", False, "Show the trained policy on a screen; with --load_path and --num_timesteps=0 without training it."
    )
    define_number("play_episodes", 0, "Episodes that --play shows; 0: until Ctrl-C.")

    for name in (*ROLES, *AFTERWARDS):
        _put_under(name, "the run")


def define_settings_flags() -> None:
    """One flag per setting of either family; the default None means the default of the algorithm and environment."""
    described: dict[str, list[Use]] = {}
    for family in FAMILIES:
        for field in dataclasses.fields(family.config):
            described.setdefault(field.name, []).append((family, field, field_type(family.config, field.name)))
    for name, uses in described.items():
        if name not in flags.FLAGS:
            _define(name, uses)
    for former, name in RENAMED.items():
        if former not in flags.FLAGS:
            flags.DEFINE_alias(former, name)
            _put_under(former, vars(flags.FLAGS[name])["group"])


def _define(name: str, uses: list[Use]) -> None:
    help = _help(uses)
    kinds = {kind for _, _, kind in uses}
    if kinds == {bool}:
        flags.DEFINE_bool(name, None, help)
    elif uses[0][1].metadata["repeatable"]:
        flags.DEFINE_flag(JoinedFlag(flags.ArgumentParser(), flags.ArgumentSerializer(), name, None, help))
    elif any(field.metadata["convert"] for _, field, _ in uses):
        flags.DEFINE_string(name, None, help)
    elif kinds == {int}:
        define_number(name, None, help)
    elif kinds <= {int, float}:
        flags.DEFINE_float(name, None, help)
    else:
        flags.DEFINE_string(name, None, help)
    _put_under(name, uses[0][1].metadata["group"])


def _put_under(name: str, heading: str) -> None:
    """List the flag under that heading in `--help`."""
    vars(flags.FLAGS[name])["group"] = heading


def _help(uses: list[Use]) -> str:
    """One sentence per family that the flag belongs to; one for both where they differ in the default alone."""
    texts = [_text(field) for _, field, _ in uses]
    defaults = [_default(family, field, kind) for family, field, kind in uses]
    exceptions = [
        _exceptions(family, field.name, default) for (family, field, _), default in zip(uses, defaults, strict=True)
    ]
    needs = [_needs(family, field.name) for family, field, _ in uses]
    if len(uses) > 1 and len(set(texts)) == 1 and len(set(needs)) == 1:
        default = _with_default(defaults[0])
        if len(set(defaults)) > 1:
            listed = [f"{default} ({family.name})" for default, (family, _, _) in zip(defaults, uses, strict=True)]
            default = f"; default {', '.join(listed)}"
        return f"{texts[0]}{default}{''.join(exceptions)}.{needs[0]}"
    sentences = zip(uses, texts, defaults, exceptions, needs, strict=True)
    return " ".join(
        f"[{use[0].name}] {text}{_with_default(default)}{other}.{need}" for use, text, default, other, need in sentences
    )


def _text(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    return field.metadata["help"] + (f" ({', '.join(choices)})" if choices else "")


def _default(family: Family, field: dataclasses.Field, kind: type) -> str:
    value = getattr(family.row, field.name, None) if field.default is None else field.default
    return "" if value is None else _shown(value)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _exceptions(family: Family, name: str, default: str) -> str:
    """Where the default is another: `; 3e-4 with --alg=ppo|npg; 512 on classic-control tasks`."""
    by_algorithm: dict[str, list[str]] = {}
    for row in family.table.values():
        value = row.defaults.get(name, getattr(row, name, None) if name in family.parts else None)
        if value is not None and _shown(value) != default:
            by_algorithm.setdefault(_shown(value), []).append(row.name)
    found = [f"{value} with --alg={'|'.join(algs)}" for value, algs in by_algorithm.items()]
    for place, values in family.exceptions().items():
        if name in values and _shown(values[name]) != default:
            found.append(f"{_shown(values[name])} on {place}")
    return "".join(f"; {one}" for one in found)


def _needs(family: Family, name: str) -> str:
    condition = conditions(family.config, name)
    return f" Only with {condition}." if condition else ""


def _with_default(default: str) -> str:
    return f"; default {default}" if default else ""


def given_settings(cls: type) -> dict[str, Any]:
    """The settings of `cls` that the user gave, by name, in the types of its fields.

    Raises:
      UserError: a value of the wrong type, or a flag that belongs to the other family only.
    """
    values: dict[str, Any] = {}
    for name, value in flags.FLAGS.flag_values_dict().items():
        if value is None or name not in settings():
            continue
        check_setting(_family(cls), flags.FLAGS.alg, name)
        values[name] = value if reads_text(cls, name) else _converted(name, value, field_type(cls, name))
    return values


def _family(cls: type) -> Family:
    return next(family for family in FAMILIES if family.config is cls)


def _converted(name: str, value: Any, kind: type) -> Any:
    try:
        return value if isinstance(value, kind) else kind(value)
    except (TypeError, ValueError):
        wanted = "whole number" if kind is int else "number"
        raise UserError(f"--{name} must be a {wanted}, not '{value}'.") from None
