"""What goes wrong in a way that users can act on. Nothing here imports TensorFlow."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or a fault that the user can act on: one clear sentence that says what to do."""


class NonFiniteError(ArithmeticError):
    """An environment, policy or gradient produced NaN, infinity or numbers too large; the message names which."""


class UnusableOutput(UserError):
    """An environment returned something that has no clear meaning; the message says which, what, and from where."""
