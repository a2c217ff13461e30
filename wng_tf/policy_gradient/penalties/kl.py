"""The KL penalty, whose coefficient follows the divergence of each update (Schulman et al. 2017, Section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from baselines_compat.distributions import Pd
from wng_tf.policy_gradient import objectives
from wng_tf.policy_gradient.penalties.base import Penalty
from wng_tf.policy_gradient.setup import Setup


class KLPenalty(Penalty):
    """β KL(old, present)."""

    name = "loss/kl"

    def __init__(self, setup: Setup):
        self._pdtype = setup.policy.pdtype
        self._target = setup.config.kl_target
        self.coefficient = setup.config.kl_coef

    def carry(self) -> tf.Tensor:
        return tf.constant(self.coefficient, tf.float32)

    def distance(self, pd: Pd, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.reduce_mean(self._pdtype.pdfromflat(data["pd_flat"]).kl(pd))

    def weight(self, carry: tf.Tensor) -> tf.Tensor:
        return carry

    def adapt(self, moved: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        self.coefficient = objectives.adapted_kl_coef(self.coefficient, moved()["kl"], self._target)
        return {"loss/kl_coef": self.coefficient}

    def state(self) -> dict[str, Any]:
        return {"kl_coef": self.coefficient}

    def restore(self, state: Mapping[str, Any]) -> bool:
        self.coefficient = float(state["kl_coef"])
        return False
