"""TensorFlow as the benchmarks of one process have it: on one thread, and silent."""

from __future__ import annotations

import os


def load() -> None:
    """Import TensorFlow, which must not have been used yet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")
