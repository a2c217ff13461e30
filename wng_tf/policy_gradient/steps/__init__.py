"""Step rules: how a batch becomes a change of θ. One table, `wng_tf.parts.STEP_RULES`."""

from __future__ import annotations

from wng_tf.policy_gradient.steps.base import Carry, Columns, Draws, Outcome, StepRule, StepSetup

__all__ = ["Carry", "Columns", "Draws", "Outcome", "StepRule", "StepSetup"]
