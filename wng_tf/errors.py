"""The one exception that users are meant to see: `wng_tf.cli.app` prints its sentence on stderr and exits with code 2."""

from baselines_compat.errors import UserError

__all__ = ["UserError"]
