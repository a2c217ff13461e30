"""Scalar twins against NumPy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wng_tf.envs import scalar_numpy

DOUBLES = st.floats(-1e3, 1e3, allow_nan=False)
SINGLES = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@settings(deadline=None)
@given(st.lists(DOUBLES, max_size=128))
def test_sums_in_numpys_order(values):
    assert scalar_numpy.pairwise_sum(values) == np.array(values, np.float64).sum()


@settings(deadline=None)
@given(st.lists(SINGLES, min_size=1, max_size=128))
def test_sums_in_single_precision(values):
    array = np.array(values, np.float32)
    total = scalar_numpy.pairwise_sum(list(array))
    assert total.dtype == np.float32
    assert total == array.sum()


@pytest.mark.parametrize("count", [*range(8, 40), 127, 128])
def test_means_of_coordinates(count):
    points = np.random.default_rng(count).normal(size=(count, 3))
    expected = points[:, 0].mean(), points[:, 1].mean()
    assert scalar_numpy.mean_xy([tuple(point) for point in points.tolist()]) == expected


@settings(deadline=None)
@given(DOUBLES, DOUBLES, DOUBLES)
def test_functions(x, y, z):
    assert scalar_numpy.sin(x) == np.sin(x)
    assert scalar_numpy.cos(x) == np.cos(x)
    assert scalar_numpy.arctan2(x, y) == np.arctan2(x, y)
    assert scalar_numpy.length(x, y) == np.linalg.norm([x, y])
    assert scalar_numpy.length3(x, y, z) == np.linalg.norm([x, y, z])


@pytest.mark.parametrize("function", [scalar_numpy.length, scalar_numpy._norm])
def test_length_of_three_and_four(function):
    assert function(3.0, 4.0) == 5.0


def test_numpy_is_taken_where_the_scalar_differs():
    nearly = lambda x: np.nextafter(np.sin(x), np.inf)  # noqa: E731
    assert scalar_numpy._choose(nearly, np.sin, 1) is np.sin
    same = lambda x: float(np.sin(x))  # noqa: E731
    assert scalar_numpy._choose(same, np.sin, 1) is same


def test_limit_of_single_precision():
    limit = scalar_numpy.float32_limit(0.99)
    around = [np.nextafter(limit, -np.inf), limit, np.nextafter(limit, np.inf), 0.99, 0.98, 1.0]
    assert [x > limit for x in around] == [bool(np.float32(x) > np.float32(0.99)) for x in around]
    assert [x > limit for x in around] == [False, False, True, False, False, True]


def test_limit_with_an_odd_mantissa_is_refused():
    odd = float(np.nextafter(np.float32(1.0), np.float32(2.0)))
    with pytest.raises(ValueError, match="odd"):
        scalar_numpy.float32_limit(odd)
