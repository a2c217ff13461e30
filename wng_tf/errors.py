"""The one exception that users are meant to see."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or a fault that the user can act on: one clear sentence that says what to do.

    Entry points print the sentence on stderr and exit with code 2 (`wng_tf.cli.run_app`).
    """
