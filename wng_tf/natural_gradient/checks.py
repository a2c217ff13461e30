"""Numbers that must be finite: an error where Python can raise one, a flag inside compiled code."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["require_finite"]


def require_finite(where: str, **tensors: tf.Tensor) -> None:
    """Raises ValueError, naming the tensor, where one holds NaN or infinity. Does nothing inside `tf.function`."""
    if not tf.executing_eagerly():
        return
    for name, tensor in tensors.items():
        bad = int(tf.math.count_nonzero(~tf.math.is_finite(tensor)))
        if bad:
            raise ValueError(f"{where}: {bad} of the {int(tf.size(tensor))} entries of `{name}` are NaN or infinite.")
