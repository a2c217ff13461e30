from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines_compat.schedules import (
    ConstantSchedule,
    FractionSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    Schedule,
    parse_schedule,
)

fractions = st.floats(0, 1)
positive = st.floats(0, 1e6)
schedules = st.one_of(
    st.builds(FractionSchedule, st.just("constant"), positive),
    st.builds(FractionSchedule, st.sampled_from(["linear", "cosine"]), positive, positive),
)


def test_constant():
    assert ConstantSchedule(0.3).value(0) == ConstantSchedule(0.3).value(1e9) == 0.3


def test_linear():
    schedule = LinearSchedule(schedule_timesteps=100, final_p=0.1, initial_p=0.5)
    assert [schedule.value(t) for t in (0, 25, 100, 1000)] == pytest.approx([0.5, 0.4, 0.1, 0.1])
    assert LinearSchedule(10, final_p=0.0).value(0) == 1.0


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 100), min_size=2, max_size=6, unique=True).map(sorted),
    values=st.lists(st.floats(-10, 10), min_size=6, max_size=6),
    t=st.floats(-20, 120),
)
def test_piecewise_interpolates_as_numpy_does(times, values, t):
    schedule = PiecewiseSchedule(list(zip(times, values, strict=False)), outside_value=99.0)
    inside = times[0] <= t < times[-1]
    expected = np.interp(t, times, values[: len(times)]) if inside else 99.0
    assert schedule.value(t) == pytest.approx(expected)


def test_piecewise_with_steps_instead_of_lines():
    endpoints = [(0, 1.0), (10, 2.0), (20, 3.0)]
    schedule = PiecewiseSchedule(endpoints, interpolation=lambda left, right, alpha: left)
    assert [schedule.value(t) for t in (0, 9, 10, 19)] == [1, 1, 2, 2]


def test_piecewise_outside_without_a_value_for_it():
    with pytest.raises(ValueError, match="outside the endpoints"):
        PiecewiseSchedule([(0, 1.0), (10, 2.0)]).value(10)


def test_piecewise_refuses_times_that_do_not_ascend():
    with pytest.raises(ValueError, match="must ascend"):
        PiecewiseSchedule([(10, 1.0), (0, 2.0)])


def test_the_base_class_asks_to_be_overridden():
    with pytest.raises(NotImplementedError):
        Schedule().value(0)


@pytest.mark.parametrize(
    "spec, at_start, in_the_middle, at_end",
    [
        ("3e-4", 3e-4, 3e-4, 3e-4),
        (3e-4, 3e-4, 3e-4, 3e-4),
        ("constant:2", 2, 2, 2),
        ("linear:3e-4", 3e-4, 1.5e-4, 0),
        ("linear:3e-4:1e-4", 3e-4, 2e-4, 1e-4),
        ("cosine:4", 4, 2, 0),
        ("cosine:4:2", 4, 3, 2),
        (" linear:1 ", 1, 0.5, 0),
    ],
)
def test_parse(spec, at_start, in_the_middle, at_end):
    schedule = parse_schedule(spec)
    values = [schedule(fraction) for fraction in (1.0, 0.5, 0.0)]
    assert values == pytest.approx([at_start, in_the_middle, at_end])


@settings(deadline=None)
@given(initial=positive, fraction=fractions)
def test_linear_is_baselines_lambda(initial, fraction):
    assert parse_schedule(f"linear:{initial}")(fraction) == initial * fraction


@settings(deadline=None)
@given(final=positive, initial=positive, fraction=fractions)
def test_cosine_is_flat_at_both_ends_and_never_outside(initial, final, fraction):
    schedule = FractionSchedule("cosine", initial, final)
    low, high = sorted((initial, final))
    slack = 1e-9 * max(high, 1.0)
    assert low - slack <= schedule(fraction) <= high + slack
    assert abs(schedule(1 - 1e-4) - schedule(1.0)) <= 1e-6 * max(high, 1.0)


@settings(deadline=None)
@given(schedule=schedules)
def test_text_and_back(schedule):
    assert parse_schedule(str(schedule)) == schedule
    assert parse_schedule(schedule) is schedule


def test_the_text_is_short():
    texts = ["0.0003", "linear:0.0003", "cosine:0.001:0.0001"]
    assert [str(parse_schedule(text)) for text in texts] == texts
    assert str(parse_schedule("constant:1e-5")) == "1e-05"


BAD = "|fast|linear|linear:|linear:x|step:1|constant:1:2|linear:1:2:3|-1|linear:1:-1|nan|inf|linear:nan"


@pytest.mark.parametrize("spec", [*BAD.split("|"), None])
def test_bad_specs_are_named_in_one_sentence(spec):
    with pytest.raises(ValueError, match=f"^'{spec}' is not a schedule: write a number") as raised:
        parse_schedule(spec)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_outside_of_training(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        parse_schedule("1")(fraction)


def test_a_parsed_schedule_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_schedule("1").initial = 2.0
