"""What a part of an algorithm is made from."""

from __future__ import annotations

from typing import NamedTuple

from baselines_compat.policies import PolicyWithValue
from wng_tf.embeddings import Embedding
from wng_tf.policies import heads
from wng_tf.policies.heads import StochasticHead
from wng_tf.policy_gradient.config import PolicyGradientConfig


class Setup(NamedTuple):
    """What a metric or a penalty may know of the run when it is made."""

    policy: PolicyWithValue
    """Networks and distribution."""
    config: PolicyGradientConfig
    embedding: Embedding
    """The behavioural embedding that `config.embedding` names."""
    seed: int
    """Of the run."""

    @property
    def head(self) -> StochasticHead:
        """The policy's action head."""
        return heads.of_policy(self.policy)
