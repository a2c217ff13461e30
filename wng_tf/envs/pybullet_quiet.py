"""PyBullet without its chatter: it prints its build time on import and `argv[0]=` on each connection, in C.

Import `pybullet` from here, so that what a program prints can be piped.
"""

from __future__ import annotations

from wng_tf.runtime.quiet import quiet

with quiet():
    import pybullet  # noqa: F401
