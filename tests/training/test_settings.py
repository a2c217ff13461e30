"""Settings: limits, types, layers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wng_tf.errors import UserError
from wng_tf.training import run_flags
from wng_tf.training.settings import build, conditions, field_type, has_effect, schedule, setting


@dataclasses.dataclass(frozen=True)
class Settings:
    count: int = setting(3, "a count", low=1, high=10)
    rate: float = setting(0.5, "a rate", above=0.0)
    kind: str = setting("plain", "a kind", choices=("plain", "fancy"), group="kinds")
    switch: bool = setting(False, "a switch")
    name: str | None = setting(None, "a name")
    size: int | None = setting(None, "a size", low=0)
    bare: int = 7


def test_later_layers_win_and_none_means_not_said():
    made = build(Settings, {"count": 4, "rate": 2.0}, {"count": 5, "rate": None}, {"switch": True})
    assert made == Settings(count=5, rate=2.0, switch=True)
    assert build(Settings) == Settings()


def test_whole_numbers_may_be_written_as_floats():
    made = build(Settings, {"count": 2e0, "size": np.int64(4), "rate": np.float32(0.25)})
    assert (made.count, made.size, made.rate) == (2, 4, 0.25)
    assert type(made.count) is int
    assert type(made.size) is int
    assert build(Settings, {"switch": np.True_}).switch is True


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"counts": 1}, "Unknown setting 'counts': Settings has bare, count, kind"),
        ({"count": 0}, "--count must be at least 1, not 0"),
        ({"count": 11}, "--count must be at most 10, not 11"),
        ({"count": 2.5}, "--count must be a whole number, not 2.5"),
        ({"count": "3"}, "--count must be a number, not '3'"),
        ({"count": True}, "--count must be a number, not True"),
        ({"count": float("inf")}, "--count must be finite"),
        ({"rate": 0.0}, "--rate must be above 0.0, not 0.0"),
        ({"rate": float("nan")}, "--rate must be finite, not nan"),
        ({"kind": "odd"}, "--kind must be one of plain, fancy, not 'odd'"),
        ({"switch": "yes"}, "--switch must be true or false, not 'yes'"),
        ({"size": -1}, "--size must be at least 0, not -1"),
    ],
)
def test_bad_values_are_one_sentence(values, sentence):
    with pytest.raises(UserError) as caught:
        build(Settings, values)
    assert sentence in str(caught.value)


def test_types_and_metadata():
    names = ("count", "rate", "kind", "switch", "name", "size")
    assert [field_type(Settings, name) for name in names] == [int, float, str, bool, str, int]
    kind = next(field for field in dataclasses.fields(Settings) if field.name == "kind")
    assert (kind.metadata["help"], kind.metadata["group"]) == ("a kind", "kinds")


@dataclasses.dataclass(frozen=True)
class Dependent:
    metric: str = setting("none", "a metric", choices=("none", "a", "b"))
    step: str = setting("short", "a step", choices=("short", "long"))
    free: int = setting(1, "always")
    one: int = setting(1, "one value", when={"metric": "a"})
    several: int = setting(1, "several", when={"metric": ("a", "b"), "step": "long"})
    either: int = setting(1, "either", when=({"metric": "a"}, {"step": "long"}))
    outside: int = setting(1, "outside", when={"network": "mlp"})


@pytest.mark.parametrize(
    ("values", "effective"),
    [
        ({}, {"metric", "step", "free"}),
        ({"metric": "a"}, {"metric", "step", "free", "one", "either"}),
        ({"metric": "b"}, {"metric", "step", "free"}),
        ({"metric": "b", "step": "long"}, {"metric", "step", "free", "several", "either"}),
    ],
)
def test_which_settings_have_an_effect(values, effective):
    made = Dependent(**values)
    names = [field.name for field in dataclasses.fields(Dependent)]
    assert {name for name in names if has_effect(made, name)} == effective
    assert has_effect(made, "outside", network="mlp") and not has_effect(made, "outside", network="cnn")


def test_conditions_as_flags():
    assert conditions(Dependent, "free") == ""
    assert conditions(Dependent, "several") == "--metric=a|b --step=long"
    assert conditions(Dependent, "either") == "--metric=a or --step=long"


@pytest.mark.parametrize("text", ["abc", "-1", "linear:", ""])
def test_what_is_no_learning_rate_is_one_sentence(text):
    with pytest.raises(UserError, match="--lr: "):
        schedule(text)
    assert schedule("linear:1e-3")(0.5) == 5e-4


def test_the_flags_of_a_run_in_order():
    flags = run_flags.values("ppo", "Hopper", 3, 1000, "mlp", None, Settings())
    assert list(flags)[:6] == ["alg", "env", "num_timesteps", "seed", "network", "log_path"]
    assert flags["num_timesteps"] == 1000
    assert list(flags)[6:] == [field.name for field in dataclasses.fields(Settings)]
