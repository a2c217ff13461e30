"""The grid of a sweep: algorithm x task x any flag x seed, as a list of runs. Functions on strings.

A run's folder follows from its place in the grid alone: `<env>/<alg>/<axis>=<value>,.../seed<seed>`, so a sweep that is
started again finds the runs of the first start.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wng_tf.cli import flagfile
from wng_tf.errors import UserError
from wng_tf.runtime import whole

#: Flags of a run that the sweep itself sets.
RESERVED = ("alg", "env", "seed", "log_path", "resume", "flagfile")

#: Seeds of a sweep at most; more are a slip of the finger.
MOST_SEEDS = 100_000

_ASSIGNMENT = re.compile(r"([a-z]\w*)=(.*)", re.DOTALL)
# Values may hold commas and colons of their own (64,64 or linear:3e-4): only one that a new name= follows separates.
_NEXT_ASSIGNMENT = re.compile(r",(?=[a-z]\w*=)")
_CONDITIONS_END = re.compile(r":(?=[a-z]\w*=)")


@dataclass(frozen=True)
class Override:
    """Flags for a part of the grid: where every condition holds, the settings apply.

    Attributes:
      conditions: name of a flag (`env`, `alg`, `seed`, or an axis) to the values it may have.
      settings: flags of the runs where they hold.
      text: as the user wrote it.
    """

    conditions: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, str]
    text: str

    def matches(self, values: Mapping[str, str]) -> bool:
        return all(values.get(name) in allowed for name, allowed in self.conditions.items())


@dataclass(frozen=True)
class Run:
    """One run of the grid.

    Attributes:
      alg, env, seed: as for `python -m wng_tf.run`.
      axes: the swept flags of this run, (name, value), in the order of the grid.
      settings: every other flag that the sweep sets, (name, value), sorted by name; the axes are not repeated here.
    """

    alg: str
    env: str
    seed: int
    axes: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The run's folder, relative to the sweep's."""
        parts = [self.env, self.alg]
        if self.axes:
            parts.append(",".join(f"{name}={value}" for name, value in self.axes))
        return "/".join([*map(_folder_name, parts), f"seed{self.seed}"])

    @property
    def title(self) -> str:
        """The run in words, for a line of output."""
        return " ".join([self.env, self.alg, *(f"{name}={value}" for name, value in self.axes), f"seed {self.seed}"])

    def flags(self) -> list[str]:
        """The run's flags, without those about its folder."""
        values = {"alg": self.alg, "env": self.env, "seed": str(self.seed), **dict(self.settings), **dict(self.axes)}
        return [f"--{name}={value}" for name, value in values.items()]

    def total_timesteps(self) -> int | None:
        """Environment steps of the run, if the sweep sets them."""
        text = {**dict(self.settings), **dict(self.axes)}.get("num_timesteps")
        try:
            return None if text is None else whole.parse(text)
        except ValueError:
            return None


@dataclass(frozen=True)
class Grid:
    """What is swept. `axes` are swept flags, `settings` are the same in every run unless an override says otherwise."""

    algs: Sequence[str]
    envs: Sequence[str]
    seeds: Sequence[int]
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[Override] = ()

    def runs(self) -> list[Run]:
        """Every run, in an order that depends on nothing but the grid: task, seed, algorithm, axes.

        So a sweep that is stopped early leaves the same seeds of every method.

        Raises:
          UserError: an empty axis, a flag that is both swept and set, or two runs that would share a folder.
        """
        for name, values in (("algs", self.algs), ("envs", self.envs), ("seeds", self.seeds)):
            if not values:
                raise UserError(f"--{name} is empty: name at least one.")
        self._check_names()
        runs = [
            self.run(env, alg, seed, tuple(zip(self.axes, values, strict=True)))
            for env, seed, alg in itertools.product(*map(_unique, (self.envs, self.seeds, self.algs)))
            for values in itertools.product(*map(_unique, self.axes.values()))
        ]
        folders: dict[str, Run] = {}
        for run in runs:
            other = folders.setdefault(run.name, run)
            if other is not run:
                raise UserError(f"'{other.title}' and '{run.title}' would share the folder {run.name}: rename one.")
        return runs

    def run(self, env: str, alg: str, seed: int, axes: tuple[tuple[str, str], ...]) -> Run:
        """The run at one place, with these values of the axes."""
        settings = dict(self.settings)
        for override in self.overrides:
            if override.matches(_values(env, alg, seed, axes)):
                settings.update(override.settings)
        return Run(alg, env, seed, axes, tuple(sorted(settings.items())))

    def _check_names(self) -> None:
        for override in self.overrides:
            for name in override.conditions:
                if name not in {"env", "alg", "seed", *self.axes}:
                    raise UserError(f"--override='{override.text}': '{name}' is not env, alg, seed or a flag that is swept.")
        fixed = [*self.settings, *(name for override in self.overrides for name in override.settings)]
        for name in [*self.axes, *fixed]:
            if name in RESERVED:
                raise UserError(f"'{name}' is the sweep's own: use --algs, --envs, --seeds or --log_path.")
        for name in fixed:
            if name in self.axes:
                raise UserError(f"'{name}' is both swept and set by --set or --override: keep one of them.")


def parse_seeds(texts: Iterable[str]) -> list[int]:
    """Seeds from `0-4`, `100,101` or a mixture of both, each once.

    Raises:
      UserError: anything else.
    """
    seeds: list[int] = []
    for part in ",".join(texts).split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or (match[2] is not None and int(match[2]) < int(match[1])):
            raise UserError(f"'{part}' is not a seed or a range of seeds: write --seeds=0-4 or --seeds=0,2,5.")
        first, last = int(match[1]), int(match[2] or match[1])
        if len(seeds) + last - first >= MOST_SEEDS:
            raise UserError(f"'{part}' makes more than {MOST_SEEDS} seeds: write --seeds=0-4 or --seeds=0,2,5.")
        seeds.extend(range(first, last + 1))
    return _unique(seeds)


def parse_axes(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Axes from `lr=1e-5,3e-4`, one text an axis; a second text on the same axis replaces the first.

    Raises:
      UserError: a text that is not name=value,value,...
    """
    axes = {}
    for text in texts:
        name, values = _assignment(text, "--grid=lr=1e-4,3e-4")
        axes[name] = tuple(value.strip() for value in values.split(","))
        if not all(axes[name]):
            raise UserError(f"--grid={text} has an empty value: write it as --grid=lr=1e-4,3e-4.")
    return axes


def parse_settings(
    texts: Iterable[str], example: str = "--set=nsteps=2048", algs: tuple[str, ...] | None = None
) -> dict[str, str]:
    """Flags from `nsteps=2048`, from `nsteps=2048,lam=0.95`, or from a file of a run's flags, `flagfile=trpo.flags`; later
    ones win.

    Args:
      texts: what the user wrote.
      example: how to write it.
      algs: the algorithms that the settings are for; None: all of the sweep.

    Raises:
      UserError: a text that is not name=value, a file that cannot be read, or one of another algorithm's flags.
    """
    settings: dict[str, str] = {}
    for part in (part for text in texts for part in _NEXT_ASSIGNMENT.split(text)):
        name, value = _assignment(part, example)
        settings |= _of_file(value, algs) if name == "flagfile" else {name: value}
    return settings


def _of_file(path: str, algs: tuple[str, ...] | None) -> dict[str, str]:
    """The flags in a file that `python -m wng_tf.run --flagfile` takes; its algorithm has to be the one that is meant."""
    lines = flagfile.expand([f"--flagfile={path}"])
    settings = dict(_assignment(line.removeprefix("-").removeprefix("-"), "--name=value") for line in lines)
    alg = settings.pop("alg", None)
    if alg is not None and algs != (alg,):
        raise UserError(f"The flagfile '{path}' is for --alg={alg}: write --override=alg={alg}:flagfile={path}.")
    return settings


def parse_override(text: str) -> Override:
    """An override from `env=Hopper-v5,alg=ppo|pg:lr=1e-4,nsteps=1024`: conditions, a colon, settings.

    Raises:
      UserError: a text of another form.
    """
    example = "--override='env=Hopper-v5,alg=ppo|pg:lr=1e-4'"
    conditions, *settings = _CONDITIONS_END.split(text, maxsplit=1)
    if not settings:
        raise UserError(f"--override='{text}' lacks its settings: write it as {example}.")
    parsed = parse_settings([conditions], example)
    return Override(
        conditions={name: tuple(value.split("|")) for name, value in parsed.items()},
        settings=parse_settings(settings, example, tuple(parsed["alg"].split("|")) if "alg" in parsed else None),
        text=text,
    )


def _assignment(text: str, example: str) -> tuple[str, str]:
    match = _ASSIGNMENT.fullmatch(text.strip())
    if not match or not match[2]:
        raise UserError(f"'{text}' is not name=value: write it as {example}.")
    return match[1], match[2]


def _values(env: str, alg: str, seed: int, axes: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {"env": env, "alg": alg, "seed": str(seed), **dict(axes)}


def _folder_name(text: str) -> str:
    # `wng_tf/Point-v0` and `module:Id-v0` must stay one folder, on every file system.
    return re.sub(r"[^\w.=,+-]", "_", text)


def _unique(values: Iterable) -> list:
    return list(dict.fromkeys(values))
