"""absl flags made from the settings of both families. Only entry points use this module; it imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from wng_tf.algorithms import EVOLUTION_STRATEGIES, POLICY_GRADIENTS
from wng_tf.errors import UserError
from wng_tf.evolution.config import EvolutionConfig
from wng_tf.policy_gradient.config import PolicyGradientConfig
from wng_tf.settings import field_type

FAMILIES = {"policy gradients": PolicyGradientConfig, "evolution strategies": EvolutionConfig}


RUN_FLAGS = ("alg", "env", "num_timesteps", "seed", "network", "log_path", "resume", "progress", "num_threads")


class NumberFlagParser(flags.ArgumentParser):
    """Whole numbers that may be written as 1e6 or 1_000_000."""

    syntactic_help = "a whole number, 1e6 is understood"

    def parse(self, argument: str | int) -> int:
        if isinstance(argument, str) and argument.lstrip("-").isdecimal():
            return int(argument)  # a float would round a long seed
        try:
            value = float(argument)
        except ValueError:
            raise ValueError(f"'{argument}' is not a number") from None
        if value != value or value in (float("inf"), float("-inf")) or int(value) != value:
            raise ValueError(f"'{argument}' is not a whole number")
        return int(value)

    def flag_type(self) -> str:
        return "int"


def define_number(name: str, default: int | None, help: str) -> None:
    """A whole-number flag that understands 1e6."""
    flags.DEFINE(NumberFlagParser(), name, default, help, serializer=flags.ArgumentSerializer())


def define_run_flags() -> None:
    """The flags that say which run: algorithm, environment, length, seed, folder."""
    rows = [*POLICY_GRADIENTS.values(), *EVOLUTION_STRATEGIES.values()]
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
        "Network: mlp, or one registered with baselines_compat.models.register; evolution strategies: mlp or toeplitz. "
        "Default: mlp, and the paper's toeplitz for evolution strategies on Point and Quadruped.",
    )
    flags.DEFINE_string("log_path", None, "Folder of the run; default: runs/out/ALG-ENV-SEED.")
    flags.DEFINE_bool("resume", False, "Continue the run in --log_path from its last checkpoint.")
    flags.DEFINE_bool("progress", None, "Show the progress bar; default: on a terminal.")
    define_number("num_threads", 1, "Threads of TensorFlow's operations.")


    for name in RUN_FLAGS:
        flags.FLAGS[name].group = "the run"


def define_settings_flags() -> None:
    """One flag per setting of either family; the default None means the default of the algorithm and environment."""
    described: dict[str, list[tuple[str, dataclasses.Field, type]]] = {}
    for family, cls in FAMILIES.items():
        for field in dataclasses.fields(cls):
            described.setdefault(field.name, []).append((family, field, field_type(cls, field.name)))
    for name, uses in described.items():
        if name not in flags.FLAGS:
            _define(name, uses)


def _define(name: str, uses: list[tuple[str, dataclasses.Field, type]]) -> None:
    help = _help(uses)
    kinds = {kind for _, _, kind in uses}
    if kinds == {bool}:
        flags.DEFINE_bool(name, None, help)
    elif kinds == {int}:
        define_number(name, None, help)
    elif kinds <= {int, float}:
        flags.DEFINE_float(name, None, help)
    else:
        flags.DEFINE_string(name, None, help)
    flags.FLAGS[name].group = uses[0][1].metadata["group"]  # the heading in `--help`


def _help(uses: list[tuple[str, dataclasses.Field, type]]) -> str:
    """One sentence per family that the flag belongs to; one for both where they differ in the default alone."""
    texts = [_text(field) for _, field, _ in uses]
    defaults = [_default(field, kind) for _, field, kind in uses]
    if len(uses) > 1 and len(set(texts)) == 1:
        if len(set(defaults)) > 1:
            listed = [f"{default} ({family})" for default, (family, _, _) in zip(defaults, uses, strict=True)]
            return f"{texts[0]}; default {', '.join(listed)}."
        return f"{texts[0]}{_with_default(defaults[0])}."
    sentences = zip(uses, texts, defaults, strict=True)
    return " ".join(f"[{use[0]}] {text}{_with_default(default)}." for use, text, default in sentences)


def _text(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    return field.metadata["help"] + (f" ({', '.join(choices)})" if choices else "")


def _default(field: dataclasses.Field, kind: type) -> str:
    if field.default is None:
        return ""
    return str(field.default).lower() if kind is bool else str(field.default)


def _with_default(default: str) -> str:
    return f"; default {default}" if default else ""


def given_settings(cls: type) -> dict[str, Any]:
    """The settings of `cls` that the user gave, by name, in the types of its fields.

    Raises:
      UserError: a value of the wrong type, or a flag that belongs to the other family only.
    """
    own = {field.name for field in dataclasses.fields(cls)}
    others = {field.name for other in FAMILIES.values() if other is not cls for field in dataclasses.fields(other)}
    values: dict[str, Any] = {}
    for name, value in flags.FLAGS.flag_values_dict().items():
        if value is None or (name not in own and name not in others):
            continue
        if name not in own:
            family = next(family for family, config in FAMILIES.items() if config is cls)
            raise UserError(f"--{name} is not a setting of {family}, which --alg={flags.FLAGS.alg} belongs to.")
        values[name] = _converted(name, value, field_type(cls, name))
    return values


def _converted(name: str, value: Any, kind: type) -> Any:
    try:
        return value if isinstance(value, kind) else kind(value)
    except (TypeError, ValueError):
        wanted = "whole number" if kind is int else "number"
        raise UserError(f"--{name} must be a {wanted}, not '{value}'.") from None
