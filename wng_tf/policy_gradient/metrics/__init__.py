"""Metrics of the policy's parameters: one table (`wng_tf.parts.METRICS`) for every step rule."""

from __future__ import annotations

from wng_tf.policy_gradient.metrics.base import Metric, Operator, Point, ProductOperator

__all__ = ["Metric", "Operator", "Point", "ProductOperator"]
