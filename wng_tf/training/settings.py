"""Settings of an algorithm family: a frozen dataclass whose fields carry help text and bounds.

The dataclass is the single source: `wng_tf.cli.flags` makes one absl flag per field from it, and `learn` accepts the
same names as keyword arguments.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from wng_tf.errors import UserError
from wng_tf.parts import BY_FLAG, RENAMED, RENAMED_VALUES
from wng_tf.runtime.registry import Registry
from wng_tf.runtime.whole import whole
from wng_tf.training import schedules

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

#: Names of Stable-Baselines3 and Gymnasium -> those of the same settings here.
_ELSEWHERE = {
    "learning_rate": "lr",
    "n_steps": "nsteps",
    "n_epochs": "noptepochs",
    "batch_size": "nminibatches",
    "gae_lambda": "lam",
    "clip_range": "cliprange",
    "clip_range_vf": "value_cliprange",
    "n_envs": "num_env",
    "num_envs": "num_env",
    "log_std_init": "init_logstd",
    "num_timesteps": "total_timesteps",
    "tensorboard_log": "log_path",
    "log_dir": "log_path",
    "save_path": "log_path",
}
#: Arguments of `learn` that are no settings.
_BESIDE = ("alg", "env", "network", "total_timesteps", "seed", "log_path", "load_path", "resume", "progress", "callback")

#: Of whole numbers: TensorFlow counts in 32 bits.
LARGEST = 2**31 - 1


class Where(NamedTuple):
    """What a condition asks of a setting that is not one of a few words: in words, and whether a value is such a one."""

    text: str
    holds: Callable[[Any], bool]


Condition = Mapping[str, str | Sequence[str] | Where]
Role = Literal["result", "operational"]


def setting(
    default: Any,
    help: str,
    *,
    group: str = "general",
    choices: Sequence[str] | Registry[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    when: Condition | Sequence[Condition] = (),
    role: Role = "result",
    convert: Callable[[Any], Any] | None = None,
    repeatable: bool = False,
) -> Any:
    """A dataclass field with its help text and limits.

    Args:
      default: value when neither the user, the algorithm nor the environment's type says otherwise.
      help: one line for `--help`.
      group: heading under which `--help` lists the flag.
      choices: allowed strings, if the value is one of a few words, or the registry of the parts that it names.
      low, high: inclusive limits of a number.
      above: exclusive lower limit of a number.
      when: what other settings must be for this one to have an effect, name to value or values; of several conditions
        one is enough. Without one it always has an effect.
      role: "operational" if a run's numbers do not depend on it: a resumed run may have another value, and runs that differ
        in nothing else are of one method.
      convert: from what a user may give to the value that the setting has, which is also its text in `flags.txt`.
      repeatable: whether the flag may be given several times; the setting has its values with commas between them.
    """
    conditions = (when,) if isinstance(when, Mapping) else tuple(when)
    limits = {"choices": choices, "low": low, "high": high, "above": above}
    how = {"role": role, "convert": convert, "repeatable": repeatable}
    # "when" has the settings of a few words alone, "conditions" all.
    of_words = tuple({name: it for name, it in one.items() if not isinstance(it, Where)} for one in conditions)
    metadata = {"help": help, "group": group, **limits, "conditions": conditions, "when": of_words, **how}
    return dataclasses.field(default=default, metadata=metadata)


@functools.cache
def field_type(cls: type, name: str) -> type:
    """The plain type of a field: `int` for `int | None`."""
    hint: type = typing.get_type_hints(cls)[name]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        plain: type = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        return plain
    return hint


def build(cls: type[Settings], *layers: Mapping[str, Any]) -> Settings:
    """Make the settings from layers of values, later layers winning; a value of None means 'not said'.

    Raises:
      UserError: a name that `cls` does not have, or a value outside its limits.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    converters = {field.name: field.metadata.get("convert") for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in current_names(layer).items():
            if name not in known:
                raise UserError(
                    f"Unknown setting '{name}': {cls.__name__} has {', '.join(sorted(known))}.{did_you_mean(name, known)}"
                )
            convert = converters[name]
            if value is not None and convert is not None:
                value = convert(value)
            if isinstance(value, np.bool_):
                value = bool(value)
            if value is not None:
                values[name] = whole(value) if field_type(cls, name) is int else value
    made = cls(**values)
    for field in dataclasses.fields(cls):
        _check(cls, field, getattr(made, field.name))
    return made


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question with the settings that a word may stand for, after a space; nothing where none is like it."""
    meant, known = _ELSEWHERE.get(name), {*known, *_BESIDE}
    near = [meant] if meant in known else difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names, and in the words, that they have now (`parts.RENAMED`, `parts.RENAMED_VALUES`).

    Raises:
      UserError: one setting, by both its names, with two values.
    """
    found = {name: value for name, value in values.items() if name not in RENAMED}
    for former, name in RENAMED.items():
        value = values.get(former)
        if value is None:
            continue
        if found.get(name) not in (None, value):
            raise UserError(f"--{name} and --{former} are one setting: give one of them.")
        found[name] = value
    for name, words in RENAMED_VALUES.items():
        if name in found:
            found[name] = words.get(found[name], found[name])
    return found


def _check(cls: type, field: dataclasses.Field[Any], value: Any) -> None:
    limits = field.metadata
    if value is None or not limits:
        return
    kind = field_type(cls, field.name)
    if kind is bool and not isinstance(value, bool):
        raise UserError(f"--{field.name} must be true or false, not {value!r}.")
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise UserError(f"--{field.name} must be a number, not {value!r}.")
        if not math.isfinite(value):
            raise UserError(f"--{field.name} must be finite, not {value}.")
        if kind is int and not isinstance(value, int):
            raise UserError(f"--{field.name} must be a whole number, not {value}.")
        if isinstance(value, int) and kind is int and abs(value) > LARGEST:
            raise UserError(f"--{field.name} must be at most {LARGEST}, not {value}.")
    if limits["choices"] and value not in limits["choices"]:
        own = ", or your own as package.module:name" if isinstance(limits["choices"], Registry) else ""
        raise UserError(f"--{field.name} must be one of {', '.join(limits['choices'])}{own}, not '{value}'.")
    if limits["low"] is not None and value < limits["low"]:
        raise UserError(f"--{field.name} must be at least {limits['low']}, not {value}.")
    if limits["high"] is not None and value > limits["high"]:
        raise UserError(f"--{field.name} must be at most {limits['high']}, not {value}.")
    if limits["above"] is not None and value <= limits["above"]:
        raise UserError(f"--{field.name} must be above {limits['above']}, not {value}.")


def has_effect(config: Any, name: str, **others: Any) -> bool:
    """Whether the setting `name` has an effect beside the other settings of `config`.

    Args:
      others: what the conditions may name and `config` does not have: the network, and the policy of --load_path.
    """
    return holds(config, _metadata(type(config), name).get("conditions", ()), **others)


def holds(config: Any, conditions: Sequence[Condition], **others: Any) -> bool:
    """Whether one of the conditions is met by the settings of `config` and `others`; True where there are none.

    One on a part of the algorithm is, where the part is a user's own.
    """
    values = {**{field.name: getattr(config, field.name) for field in dataclasses.fields(config)}, **others}
    return not conditions or any(
        all(
            _holds(allowed, values.get(other)) or _is_own(type(config), other, values.get(other))
            for other, allowed in condition.items()
        )
        for condition in conditions
    )


def in_words(conditions: Sequence[Condition]) -> str:
    """Conditions as flags: `--penalty=kl`, or `--step_rule=minibatch --penalty=none|kl`."""
    return " or ".join(map(_in_words, conditions))


def _is_own(cls: type, name: str, value: Any) -> bool:
    """Whether the setting names a user's own part, of which nothing is known: it may use any setting."""
    field = next((field for field in dataclasses.fields(cls) if field.name == name), None)
    registry = BY_FLAG.get(name) if field is None else field.metadata.get("choices")
    return isinstance(registry, Registry) and registry.is_own(value)


def conditions(cls: type, name: str) -> str:
    """When the setting `name` has an effect, as flags: `--penalty=kl`, or `--step_rule=minibatch --penalty=none|kl`."""
    return in_words(_metadata(cls, name).get("conditions", ()))


def depends_on(cls: type, name: str) -> frozenset[str]:
    """The settings, and what else a condition may name, that decide whether the setting `name` has an effect."""
    return frozenset().union(*_metadata(cls, name).get("conditions", ()))


def _metadata(cls: type, name: str) -> Mapping[str, Any]:
    return next(field.metadata for field in dataclasses.fields(cls) if field.name == name)


def _in_words(condition: Condition) -> str:
    flags = [f"--{name}={'|'.join(_allowed(it))}" for name, it in condition.items() if not isinstance(it, Where)]
    return " and ".join(filter(None, (" ".join(flags), *(it.text for it in condition.values() if isinstance(it, Where)))))


def _holds(allowed: str | Sequence[str] | Where, value: Any) -> bool:
    return allowed.holds(value) if isinstance(allowed, Where) else value in _allowed(allowed)


def _allowed(values: str | Sequence[str]) -> Sequence[str]:
    return (values,) if isinstance(values, str) else values


def schedule(lr: str) -> Callable[[float], float]:
    """The learning rate as a function of the fraction of training that is left.

    Raises:
      UserError: neither a number nor a schedule.
    """
    return schedules.function("lr", lr)


def reads_text(cls: type, name: str) -> bool:
    """Whether the setting makes its value of the flag's text itself."""
    return _metadata(cls, name).get("convert") is not None


def defaults(config: type) -> dict[str, Any]:
    """The settings' own defaults, before those of algorithm and environment."""
    return {field.name: field.default for field in dataclasses.fields(config)}


def operational(config: type) -> frozenset[str]:
    """The settings on which a run's numbers do not depend."""
    return frozenset(field.name for field in dataclasses.fields(config) if field.metadata.get("role") == "operational")
