"""The batch as one matrix: what goes in comes out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from wng_tf.policy_gradient.batch_layout import BatchLayout

SHAPES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
    min_size=1,
    max_size=5,
)


@given(SHAPES, st.integers(1, 4), st.integers(0, 100))
def test_what_is_packed_is_unpacked(shapes, rows, seed):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=(rows, *shape)).astype(np.float32) for name, shape in shapes.items()}
    fields = BatchLayout(shapes)
    packed = fields.pack(arrays)
    assert packed.shape == (rows, fields.width)
    assert fields.width == sum(int(np.prod(shape)) for shape in shapes.values())
    unpacked = fields.unpack(tf.constant(packed))
    assert list(unpacked) == list(shapes)
    for name, array in arrays.items():
        np.testing.assert_array_equal(unpacked[name], array)


def test_rows_may_be_gathered_between():
    fields = BatchLayout({"a": (2,), "b": ()})
    arrays = {"a": np.arange(6.0).reshape(3, 2), "b": np.arange(3)}
    rows = fields.unpack(tf.gather(tf.constant(fields.pack(arrays)), [2, 0]))
    np.testing.assert_array_equal(rows["a"], [[4, 5], [0, 1]])
    np.testing.assert_array_equal(rows["b"], [2, 0])


def test_integers_stay_exact():
    fields = BatchLayout({"action": ()})
    actions = np.array([0, 1, 2**24 - 1], np.int32)
    np.testing.assert_array_equal(fields.pack({"action": actions})[:, 0].astype(np.int32), actions)
