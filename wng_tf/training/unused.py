"""Settings that somebody asked for and that an algorithm does not use."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

from wng_tf import algorithms
from wng_tf.algorithms import Algorithm
from wng_tf.errors import UserError
from wng_tf.training.settings import conditions, depends_on, has_effect

VARIABLE = "WNG_TF_UNUSED"
"""Environment variable: `allow` takes settings that have no effect, as a sweep gives them to several algorithms."""


def refuse(algorithm: Algorithm, config: Any, plain: Any, names: Iterable[str], **others: Any) -> None:
    """Refuse a setting that the user asked for and that the algorithm does not use, unless `VARIABLE` allows them.

    Args:
      algorithm: the row, for the message.
      config: the settings of the run.
      plain: its settings if the user had said nothing: a value that is the default changes nothing, and is in order.
      names: the settings to look at.
      others: what conditions may name besides settings, see `has_effect`.

    Raises:
      UserError: one of them has no effect.
    """
    if os.environ.get(VARIABLE) == "allow":
        return
    for name in names:
        if getattr(config, name) == getattr(plain, name) or has_effect(config, name, **others):
            continue
        users = _users(algorithm, type(config), name, others)
        # Where the algorithm is among them, another setting takes the effect away.
        helps = algorithm.name not in users and depends_on(type(config), name) & _parts(algorithm, type(config))
        raise UserError(
            f"--{name} has no effect with --alg={algorithm.name}: it goes with {conditions(type(config), name)}"
            f"{', as in ' + ', '.join(users) if users else ''}. Leave it out"
            f"{', or choose another algorithm' if helps else ''}."
        )


def _parts(algorithm: Algorithm, cls: type) -> set[str]:
    """The settings that are parts of algorithms."""
    return {field.name for field in dataclasses.fields(algorithm)} & {field.name for field in dataclasses.fields(cls)}


def _users(algorithm: Algorithm, cls: type, name: str, others: Mapping[str, Any]) -> list[str]:
    """The algorithms of the same family that use the setting."""
    parts = _parts(algorithm, cls)
    users = []
    for row in (*algorithms.POLICY_GRADIENTS.values(), *algorithms.EVOLUTION_STRATEGIES.values()):
        if type(row) is not type(algorithm):
            continue
        config = cls(**{**row.defaults, **{part: getattr(row, part) for part in parts}})
        if has_effect(config, name, **others):
            users.append(row.name)
    return users
