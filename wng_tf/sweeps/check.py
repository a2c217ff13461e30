"""Whether a run will take the flags that a sweep gives it: asked of every run before the first one starts."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from wng_tf import algorithms, families
from wng_tf.cli.flags import check_numbers
from wng_tf.envs import sources, tasks
from wng_tf.errors import UserError
from wng_tf.policies import warm_start
from wng_tf.runtime.whole import whole, whole_number
from wng_tf.sweeps.grid import RESERVED, Run
from wng_tf.training import run_flags
from wng_tf.training.settings import current_names, depends_on, field_type, has_effect, reads_text

#: Flags of a run that are no settings of its algorithm.
_OF_THE_RUN = tuple(name for name in run_flags.ROLES if name not in RESERVED)
#: Those of them that are whole numbers.
_NUMBERS = ("num_timesteps", "num_threads")
#: Those that are true or false.
_SWITCHES = {"progress"}


def check_settings(run: Run) -> set[str]:
    """Builds the run's settings from the flags it would get, and throws them away.

    Returns:
      which of those flags have no effect in the run.

    Raises:
      UserError: the run and what is wrong with its flags.
    """
    config = config_of(run)
    values = _values(run)
    with _naming(run):
        task, family = tasks.resolve(run.env), families.find(run.alg)
        network = values.get("network") or family.default_network(task)
        family.check(config, network)
        sources.with_options(task, config.env_kwargs, config.env_wrapper)
        given = _given(values)
        # Read where it decides alone: the machines of a cluster may have what this one does not.
        decides = any("load_path" in depends_on(family.config, name) for name in given)
        start = warm_start.source(values.get("load_path") if decides else None, None, resume=False)
        return {name for name in given if not has_effect(config, name, network=network, load_path=start)}


def config_of(run: Run) -> Any:
    """The run's settings, from the flags it would get.

    Raises:
      UserError: the run and what is wrong with its flags.
    """
    values = _values(run)
    with _naming(run):
        given = {name: _number(name, values[name]) for name in _NUMBERS if name in values}
        if not 0 < given.get("num_timesteps", 1.0) < math.inf:
            raise UserError(f"--num_timesteps must be a positive number, not '{values['num_timesteps']}'.")
        check_numbers(**{name: whole_number(name, number) for name, number in given.items()}, seed=run.seed)
        for name in _SWITCHES & values.keys():
            _value(name, values[name], bool)
        family = families.find(run.alg)
        return family.resolve(algorithms.find(run.alg), tasks.resolve(run.env), typed(family.config, _given(values)))


def _values(run: Run) -> dict[str, str]:
    return {**dict(run.settings), **dict(run.axes)}


def _given(values: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's flags that are settings of its algorithm."""
    return current_names({name: text for name, text in values.items() if name not in _OF_THE_RUN})


@contextlib.contextmanager
def _naming(run: Run) -> Iterator[None]:
    """Puts the run before what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{run.title}: {error}") from None


def typed(cls: type, given: Mapping[str, str]) -> dict[str, Any]:
    """Settings of `cls` from texts, in the types of its fields.

    Raises:
      UserError: a name that `cls` does not have, or a text that is none of the type.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    given = current_names(given)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_OF_THE_RUN], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "python -m wng_tf.run --help lists them."
            raise UserError(f"there is no flag --{name} for this algorithm. {hint}")
    return {
        name: text if reads_text(cls, name) else _value(name, text, field_type(cls, name)) for name, text in given.items()
    }


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise UserError(f"--{name} must be true or false, not '{text}'.")
        return text.lower() in ("true", "1", "t")
    if kind in (int, float):
        return whole(_number(name, text)) if kind is int else _number(name, text)
    return text


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--{name} must be a number, not '{text}'.") from None
