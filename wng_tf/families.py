"""Both families of algorithms: what each is made of, and where its settings and its training are.

Nothing of a family is imported before it is asked for; its settings need no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from wng_tf import algorithms
from wng_tf.algorithms import Algorithm
from wng_tf.envs.tasks import Task
from wng_tf.errors import UserError
from wng_tf.parts import BY_FLAG
from wng_tf.runtime import collector
from wng_tf.runtime.registry import import_part
from wng_tf.training import columns, run_flags


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of algorithms.

    Attributes:
      name: in words.
      row: class of its algorithms, rows of `table`.
      table: its algorithms by name.
      parts: settings that name the parts of an algorithm; a row has a value for each.
      settings, resolver: where in its package the class of its settings and `resolve` are.
      worker_loops: whether each of its workers is a loop of TensorFlow's operations of its own.
      columns: of its logs, but for those of parts of one's own, and the settings with which they are there.
    """

    name: str
    row: type[Algorithm]
    table: Mapping[str, Any]
    parts: tuple[str, ...]
    settings: str
    resolver: str
    worker_loops: bool
    columns: columns.Columns

    def _part(self, path: str) -> Any:
        return import_part(f"{self.package}.{path}")

    @property
    def package(self) -> str:
        """Where its modules are."""
        return self.row.package

    @property
    def config(self) -> Any:
        """The dataclass of its settings."""
        return self._part(self.settings)

    def resolve(self, algorithm: Any, task: Task, given: Mapping[str, Any]) -> Any:
        """The settings of a run: defaults, then the task's, the algorithm's, and what the user gave.

        Raises:
          UserError: an unknown setting, a value outside its limits, or values that do not fit together.
        """
        return self._part(self.resolver)(algorithm, task, given)

    def check(self, config: Any, network: str) -> None:
        """What can be said about settings before TensorFlow is loaded. UserError if one cannot be."""
        self._part("config:check")(config, network)

    def logged(self, config: Any) -> frozenset[str]:
        """The columns of the log of a run with these settings, but for those of parts of one's own."""
        return columns.logged(self.columns, config)

    def has_own_parts(self, config: Any) -> bool:
        """Whether a part of the algorithm is a user's own, of which nothing is known."""
        return any(BY_FLAG[part].is_own(getattr(config, part)) for part in self.parts)

    def default_network(self, task: Task) -> str:
        """The network of a run that names none."""
        return self._part("config:default_network")(task)

    def exceptions(self) -> Mapping[str, Mapping[str, Any]]:
        """Where settings have defaults of their own, in words, and which: `classic-control tasks`, `Point`."""
        return self._part("config:exceptions")()

    @property
    def learn(self) -> Callable[..., Any]:
        """Its training. Imports TensorFlow."""
        with collector.paused():
            return self._part("learn:learn")


POLICY_GRADIENT = Family(
    name="policy gradients",
    row=algorithms.PolicyGradientAlgorithm,
    table=algorithms.POLICY_GRADIENTS,
    parts=("surrogate", "penalty", "metric", "step_rule"),
    settings="config:PolicyGradientConfig",
    resolver="config:resolve_for",
    worker_loops=False,
    columns=columns.OF_POLICY_GRADIENTS,
)
EVOLUTION = Family(
    name="evolution strategies",
    row=algorithms.EvolutionAlgorithm,
    table=algorithms.EVOLUTION_STRATEGIES,
    parts=("repulsion", "metric"),
    settings="config:EvolutionConfig",
    resolver="config:resolve",
    worker_loops=True,
    columns=columns.OF_EVOLUTION,
)
FAMILIES = (POLICY_GRADIENT, EVOLUTION)


def of(algorithm: Any) -> Family:
    """The family of a row of the tables."""
    return next(family for family in FAMILIES if isinstance(algorithm, family.row))


def find(alg: str) -> Family:
    """The family of the algorithm of that name. UserError if there is no such algorithm."""
    return of(algorithms.find(alg))


def settings() -> frozenset[str]:
    """The settings of both."""
    return frozenset(field.name for family in FAMILIES for field in dataclasses.fields(family.config))


def check_setting(family: Family, alg: str, name: str) -> None:
    """UserError if `name` is a setting of the other family only."""
    if name in settings() and name not in {field.name for field in dataclasses.fields(family.config)}:
        raise UserError(f"--{name} is not a setting of {family.name}, which --alg={alg} belongs to.")


def beside_the_numbers() -> frozenset[str]:
    """Flags on which the numbers of a run of one length do not depend, whatever its algorithm."""
    return run_flags.beside_the_numbers(*(family.config for family in FAMILIES))
