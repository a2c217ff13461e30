"""What the logger takes as a value: a number from whichever library it comes, or text."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

Plain = int | float | bool | str | None

_LARGEST = int(sys.float_info.max)


def plain(key: str, value: Any) -> Plain:
    """A Python int, float or bool for whatever is one number, else str or None.

    A masked number is NaN, an integer beyond all floats infinite.

    One number is: a NumPy scalar or array of size 1, also of the small types of `ml_dtypes` (bfloat16, float8, int4); a
    tensor or variable of TensorFlow, Keras, PyTorch or JAX that holds one; anything that has `__float__`.

    Raises:
      TypeError: an array of several numbers or of none, or a tensor without a value yet. The key is named.
    """
    if type(value) is int and abs(value) > _LARGEST:
        return math.inf if value > 0 else -math.inf
    if type(value) in (float, int, bool, str) or value is None:
        return value
    if not hasattr(value, "dtype"):
        return float(value) if hasattr(value, "__float__") else str(value)
    try:
        # `numpy()` first: NumPy does not get a bfloat16 tensor without axes through `__array__`.
        array = np.asanyarray(value.numpy() if callable(getattr(value, "numpy", None)) else value)
    except Exception as error:  # TensorFlow raises NotImplementedError, JAX and PyTorch have others
        raise TypeError(
            f"'{key}' cannot be logged: it is a {type(value).__name__} whose value cannot be read here; log what a "
            "compiled function returns, after it returned."
        ) from error
    kind = array.dtype.kind
    if kind == "O" and array.size == 1:
        item = array.item()
        # Itself: an object that happens to have a dtype, such as a metric or a network.
        return str(value) if item is value else plain(key, item)
    if array.size != 1:
        raise TypeError(
            f"'{key}' cannot be logged: it is an array of shape {array.shape}, not one number; log its mean, or each entry "
            "under a key of its own."
        )
    if np.ma.is_masked(array):
        return math.nan
    if kind == "f":
        return float(array.item())  # of the extended types `item` makes no float
    if kind in "biu":
        return array.item()
    if kind == "V" and array.dtype.fields is None and array.dtype.type is not np.void:
        number = array.astype(np.float64).item()  # ml_dtypes' own: NumPy knows them as raw bytes
        return int(number) if "int" in array.dtype.name else number
    item = array.item()
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
