"""What an environment is sent, against exact arithmetic; NumPy against TensorFlow."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baselines_compat import graph_actions
from baselines_compat.actions import chosen_shape, from_environment, to_environment

FLOATS = ("float16", "float32", "float64")
WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


@st.composite
def boxes(draw) -> spaces.Box:
    """Boxes of one dimension: narrow, one-sided, unbounded, to the ends of their dtype."""
    dtype = np.dtype(draw(st.sampled_from(FLOATS + WHOLE)))
    size = draw(st.integers(1, 3))
    if dtype.kind == "f":
        numbers = st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_subnormal=False)
    elif dtype.kind == "b":
        numbers = st.booleans()
    else:
        ends = np.iinfo(dtype)
        numbers = st.integers(int(ends.min), int(ends.max)) | st.sampled_from([int(ends.min), int(ends.max)])
    pairs = [sorted(draw(st.tuples(numbers, numbers))) for _ in range(size)]
    low, high = (np.array(bounds, dtype) for bounds in zip(*pairs, strict=True))
    # A Box has no bounds at -inf and inf only: nothing is above inf.
    if dtype.kind == "f":
        low, high = np.where(low == np.inf, 0, low).astype(dtype), np.where(high == -np.inf, 0, high).astype(dtype)
        low = np.minimum(low, high)
    return spaces.Box(low, high, dtype=dtype.type)


def exact(space: spaces.Box, action: np.ndarray) -> list[Fraction]:
    """The nearest number of the space, as Python's fractions know it."""
    sent = []
    for number, low, high in zip(action.tolist(), space.low.tolist(), space.high.tolist(), strict=True):
        value = Fraction(number) if space.dtype.kind == "f" else Fraction(round(number))
        if space.dtype == np.float16:
            value = max(min(value, Fraction(65504)), Fraction(-65504))
        value = value if low == -np.inf else max(value, Fraction(low))
        value = value if high == np.inf else min(value, Fraction(high))
        sent.append(value)
    return sent


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_action_is_the_nearest_one_of_the_space(data):
    space = data.draw(boxes())
    # TensorFlow takes subnormal numbers for zero.
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)
    chosen = data.draw(arrays(np.float32, space.shape, elements=numbers))
    # Also exactly at the bounds, as float32 rounds them.
    at = data.draw(st.sampled_from(["anywhere", "low", "high"]))
    if at != "anywhere":
        with np.errstate(over="ignore"):
            bound = getattr(space, at).astype(np.float32)
        usable = np.isfinite(bound) & ((bound == 0) | (np.abs(bound) >= np.finfo(np.float32).tiny))
        chosen = np.where(usable, bound, chosen)
    before = chosen.copy()
    sent = to_environment(space)(chosen)
    assert sent.dtype == space.dtype and sent.shape == space.shape and space.contains(sent)
    expected = np.array([_cast(value, space.dtype) for value in exact(space, chosen)], space.dtype)
    np.testing.assert_array_equal(sent, expected)
    assert not np.shares_memory(sent, chosen)
    np.testing.assert_array_equal(chosen, before)
    batch = to_environment(space)(np.stack([chosen, -chosen]))
    np.testing.assert_array_equal(batch[0], sent)
    in_graph = graph_actions.to_environment(tf.constant(np.stack([chosen, -chosen])), space).numpy()
    assert in_graph.dtype == space.dtype
    np.testing.assert_array_equal(in_graph, batch)


def _cast(value: Fraction, dtype: np.dtype):
    return np.float64(float(value)).astype(dtype) if dtype.kind == "f" else int(value)


@pytest.mark.parametrize("dtype", WHOLE)
def test_a_full_range_of_whole_numbers_ends_where_it_ends(dtype):
    ends = (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    space = spaces.Box(*ends, (4,), np.dtype(dtype).type)
    chosen = np.array([-3e38, 3e38, ends[0], ends[1]], np.float32)
    sent = to_environment(space)(chosen)
    assert sent.tolist() == [ends[0], ends[1], ends[0], sent.tolist()[3]]
    assert space.contains(sent)
    np.testing.assert_array_equal(graph_actions.to_environment(tf.constant(chosen), space).numpy(), sent)


def test_whole_numbers_are_rounded_to_the_nearest():
    sent = to_environment(spaces.Box(-5, 5, (5,), np.int64))(np.array([-1.6, -0.4, 0.6, 1.4, 4.9], np.float32))
    assert sent.tolist() == [-2, 0, 1, 1, 5]


def test_infinite_actions_go_to_the_bounds_and_nan_stays_visible():
    chosen = np.array([-np.inf, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(to_environment(spaces.Box(-1, 2, (3,), np.float64))(chosen), [-1, 2, np.nan])
    space = spaces.Box(-1, 2, (3,), np.int32)
    np.testing.assert_array_equal(to_environment(space)(chosen), [-1, 2, -1])
    np.testing.assert_array_equal(graph_actions.to_environment(tf.constant(chosen), space).numpy(), [-1, 2, -1])


def test_an_unbounded_float16_does_not_overflow():
    space = spaces.Box(-np.inf, np.inf, (2,), np.float16)
    np.testing.assert_array_equal(to_environment(space)(np.array([1e30, -1e30], np.float32)), [65504, -65504])


@pytest.mark.parametrize("start", [0, -2, 5])
def test_choices_are_counted_from_the_start_in_the_dtype_of_the_space(start):
    space = spaces.Discrete(3, start=start)
    convert = to_environment(space)
    for choice in (1, np.int32(1), np.array(1)):
        sent = convert(choice)
        assert type(sent) is np.int64 and sent == start + 1 and space.contains(sent)
    np.testing.assert_array_equal(convert(np.array([0, 2], np.int32)), [start, start + 2])


SHAPED = {
    "matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float64),
    "whole matrix": spaces.Box(-3, 3, (3, 2), np.int16),
    "number": spaces.Box(-1.0, 1.0, (), np.float32),
    "choices": spaces.MultiDiscrete([3, 2], start=[5, -1]),
    "matrix of choices": spaces.MultiDiscrete([[3, 2], [2, 4]], dtype=np.int32, start=[[1, 2], [3, 4]]),
    "switches": spaces.MultiBinary(3),
    "matrix of switches": spaces.MultiBinary((2, 2)),
    "choice": spaces.Discrete(4, start=-2),
}


@pytest.mark.parametrize("name", SHAPED)
def test_policies_choose_vectors_and_environments_get_members(name):
    space = SHAPED[name]
    space.seed(0)
    members = [space.sample() for _ in range(5)]
    chosen = from_environment(space)(np.array(members))
    assert chosen.shape == (5, *chosen_shape(space))
    send = to_environment(space)
    for member, choice in zip(members, chosen, strict=True):
        sent = send(choice)
        assert type(sent) is type(member) and sent.dtype == space.dtype and space.contains(sent)
        np.testing.assert_array_equal(sent, member)
        np.testing.assert_array_equal(from_environment(space)(sent), choice)
    np.testing.assert_array_equal(send(chosen), members)
    in_graph = graph_actions.to_environment(tf.constant(chosen), space).numpy()
    assert in_graph.dtype == space.dtype
    np.testing.assert_array_equal(in_graph, members)
