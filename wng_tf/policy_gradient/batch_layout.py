"""The batch of an update as one float32 matrix, so that a compiled minibatch is one gather."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf


class BatchLayout:
    """Named blocks of columns. Shapes are those of one sample; () is a scalar."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = dict(shapes)
        self._columns: dict[str, tuple[int, int]] = {}
        self.width = 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            self._columns[name] = (self.width, self.width + size)
            self.width += size

    def pack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """[B, width] float32 from arrays [B, *shape]. Integers up to 2**24 stay exact."""
        rows = next(iter(arrays.values())).shape[0]
        packed = np.empty((rows, self.width), np.float32)
        for name, (start, stop) in self._columns.items():
            packed[:, start:stop] = np.asarray(arrays[name]).reshape(rows, stop - start)
        return packed

    def unpack(self, packed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tensors [n, *shape] by name from rows [n, width]."""
        rows = packed.shape[0]
        return {
            name: tf.reshape(packed[:, start:stop], [rows, *self.shapes[name]])
            for name, (start, stop) in self._columns.items()
        }
