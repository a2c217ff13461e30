"""Penalties on how far the policy moves in an update: one table, `wng_tf.parts.PENALTIES`."""

from __future__ import annotations

from wng_tf.policy_gradient.penalties.base import NoPenalty, Penalty

__all__ = ["NoPenalty", "Penalty"]
