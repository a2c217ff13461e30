"""Scalar functions equal to NumPy's to the last bit, which need no array.

A NumPy call on a few numbers costs many times their arithmetic, most of all when the caches are cold. A sum is
exact to the bit once its order is NumPy's. For sine and its like, `math` gives the same bits where NumPy calls the
same C library; with the vector kernels of some processors (AVX-512) it does not, and then NumPy itself is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def pairwise_sum(values: Sequence[float]) -> float:
    """`np.sum` of up to 128 numbers: eight partial sums, then the rest. NumPy scalars keep their precision."""
    count = len(values)
    if count < 8:
        total = 0.0
        for value in values:
            total = total + value
        return total
    a, b, c, d, e, f, g, h = values[:8]
    end = count - count % 8
    for start in range(8, end, 8):
        i, j, k, m, n, o, p, q = values[start : start + 8]
        a, b, c, d, e, f, g, h = a + i, b + j, c + k, d + m, e + n, f + o, g + p, h + q
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for value in values[end:]:
        total = total + value
    return total


def mean_xy(points: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The means of the first two coordinates, as `np.mean` of each column; 8 to 128 points."""
    count = len(points)
    (a, s, _), (b, t, _), (c, u, _), (d, v, _), (e, w, _), (f, x, _), (g, y, _), (h, z, _) = points[:8]
    end = count - count % 8
    for start in range(8, end, 8):
        (i, i_, _), (j, j_, _), (k, k_, _), (m, m_, _), (n, n_, _), (o, o_, _), (p, p_, _), (q, q_, _) = points[
            start : start + 8
        ]
        a, b, c, d, e, f, g, h = a + i, b + j, c + k, d + m, e + n, f + o, g + p, h + q
        s, t, u, v, w, x, y, z = s + i_, t + j_, u + k_, v + m_, w + n_, x + o_, y + p_, z + q_
    total_x = ((a + b) + (c + d)) + ((e + f) + (g + h))
    total_y = ((s + t) + (u + v)) + ((w + x) + (y + z))
    for point_x, point_y, _ in points[end:]:
        total_x += point_x
        total_y += point_y
    return total_x / count, total_y / count


def float32_limit(limit: float) -> float:
    """The double above which a number rounded to float32 exceeds `float32(limit)`.

    Raises:
      ValueError: the last mantissa bit of that float32 is odd, so that a number halfway to the next one rounds up.
    """
    nearest = np.float32(limit)
    if nearest.view(np.uint32) & 1:
        raise ValueError(f"float32({limit}) is odd: the halfway case would need >=")
    return (float(nearest) + float(np.nextafter(nearest, np.float32(np.inf)))) / 2


def _length(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


def _length3(x: float, y: float, z: float) -> float:
    return math.sqrt(x * x + y * y + z * z)


def _norm(*numbers: float) -> float:
    return float(np.linalg.norm(numbers))


def _choose(scalar: Callable[..., float], reference: Callable[..., float], arguments: int) -> Callable[..., float]:
    """`scalar` if it gives the same bits as `reference` on a sample, else `reference`."""
    sample = np.random.default_rng(0).normal(0.0, 2.0, (256, arguments)).tolist()
    return scalar if all(scalar(*numbers) == reference(*numbers) for numbers in sample) else reference


sin = _choose(math.sin, np.sin, 1)
cos = _choose(math.cos, np.cos, 1)
arctan2 = _choose(math.atan2, np.arctan2, 2)
# Lengths as np.linalg.norm gives them; BLAS may fuse multiplications and additions.
length = _choose(_length, _norm, 2)
length3 = _choose(_length3, _norm, 3)
