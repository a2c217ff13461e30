"""The conditions under which settings of the policy-gradient family have an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wng_tf import embeddings
from wng_tf.parts import METRICS
from wng_tf.training.settings import Where

MINIBATCH = {"step_rule": "minibatch"}
TRUST_REGION = {"step_rule": "trust_region"}
METRIC = {"metric": tuple(name for name in METRICS if name != "identity")}
DAMPED = {**MINIBATCH, **METRIC}
CONJUGATE_GRADIENTS = {**TRUST_REGION, **METRIC}
KERNEL = {"metric": "wasserstein_kernel"}
DRAWN = Where("an --embedding of actions", embeddings.may_use_actions)
TIMED = Where("an --embedding of points in time", embeddings.may_use_length)
_W2 = Where("a Wasserstein --metric", lambda name: str(name).startswith("wasserstein"))
W2_RADIUS: tuple[Mapping[str, str | Sequence[str] | Where], ...] = (
    {**TRUST_REGION, "distance": "wasserstein"},
    {**TRUST_REGION, "distance": Where("no --distance", lambda distance: distance is None), "metric": _W2},
)
PENALIZED = {"penalty": "wasserstein"}
MLP = {"network": "mlp"}
