"""The two tables: every algorithm is a row of parts, not a program of its own.

Policy gradients = surrogate x penalty x metric x step rule. Evolution strategies = repulsion x metric.
The parts are words of the registries in `wng_tf.parts`. A user can name them by flags; a new combination is a new row.
`defaults` are the settings in which a row differs from the defaults of its family (`PolicyGradientConfig`,
`EvolutionConfig`).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from wng_tf.errors import UserError


def _defaults(**values: Any) -> Mapping[str, Any]:
    return MappingProxyType(values)


@dataclasses.dataclass(frozen=True)
class PolicyGradientAlgorithm:
    """A row of the first table.

    `minibatch` steps go through a Keras optimizer, `trust_region` steps solve for the whole batch by conjugate gradients.
    """

    is_a: ClassVar[str] = "a policy gradient"
    package: ClassVar[str] = "wng_tf.policy_gradient"

    name: str
    summary: str
    surrogate: str = "importance"
    penalty: str = "none"
    metric: str = "identity"
    step_rule: str = "minibatch"
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=_defaults)


@dataclasses.dataclass(frozen=True)
class EvolutionAlgorithm:
    """A row of the second table."""

    is_a: ClassVar[str] = "an evolution strategy"
    package: ClassVar[str] = "wng_tf.evolution"

    name: str
    summary: str
    repulsion: str = "none"
    metric: str = "identity"
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=_defaults)


Algorithm = PolicyGradientAlgorithm | EvolutionAlgorithm


def _table(*rows):
    return MappingProxyType({row.name: row for row in rows})


# The paper gives no learning rates but those that it chose from. 5e-5, where a row names none, is the best or level with it
# for pg, bgpg, wnpg and bg_wnpg at a million steps, on seeds that no result reports: runs/results/selection. The rates of the
# other rows, and the radii of the trust regions (runs/results/ablation), were chosen at 200 000 steps.
POLICY_GRADIENTS: Mapping[str, PolicyGradientAlgorithm] = _table(
    PolicyGradientAlgorithm("pg", "importance-weighted policy gradient, no trust region (the paper's 'None')"),
    PolicyGradientAlgorithm("ppo", "PPO with the clipped surrogate", surrogate="clipped", defaults=_defaults(lr="3e-4")),
    PolicyGradientAlgorithm("ppo_kl", "PPO with an adaptive KL penalty", penalty="kl", defaults=_defaults(lr="3e-4")),
    PolicyGradientAlgorithm("bgpg", "behaviour-guided policy gradient: Wasserstein penalty", penalty="wasserstein"),
    # The gradient lies in the range of a minibatch's Fisher matrix: as ε vanishes, ε (F + ε I)⁻¹ g becomes rounding noise.
    # With an ε as large as that, more products change the direction little.
    PolicyGradientAlgorithm(
        "npg",
        "natural policy gradient, Fisher",
        metric="fisher_exact",
        defaults=_defaults(lr="3e-4", damping="fixed", epsilon=0.1, cg_iters=4),
    ),
    PolicyGradientAlgorithm("wnpg", "Wasserstein natural policy gradient", metric="wasserstein_kernel"),
    PolicyGradientAlgorithm("bg_wnpg", "WNPG with a Wasserstein penalty", penalty="wasserstein", metric="wasserstein_kernel"),
    PolicyGradientAlgorithm(
        "trpo",
        "trust region in KL, Fisher natural gradient of the whole batch",
        metric="fisher_exact",
        step_rule="trust_region",
        defaults=_defaults(lr="1e-3", trust_radius=0.03),
    ),
    PolicyGradientAlgorithm(
        "wtrpo",
        "trust region in the Wasserstein distance, exact natural gradient of the whole batch",
        metric="wasserstein_exact",
        step_rule="trust_region",
        defaults=_defaults(lr="1e-3", trust_radius=0.03),
    ),
)

EVOLUTION_STRATEGIES: Mapping[str, EvolutionAlgorithm] = _table(
    EvolutionAlgorithm("es", "evolution strategies"),
    EvolutionAlgorithm(
        "bges",
        "behaviour-guided ES: Wasserstein repulsion",
        repulsion="wasserstein",
        defaults=_defaults(repulsion_coef=0.5),
    ),
    EvolutionAlgorithm("nsr_es", "novelty-seeking ES with reward", repulsion="novelty"),
    EvolutionAlgorithm("wnes", "Wasserstein natural ES", metric="wasserstein_kernel"),
    EvolutionAlgorithm(
        "bg_wnes",
        "WNES with Wasserstein repulsion",
        repulsion="wasserstein",
        metric="wasserstein_kernel",
        defaults=_defaults(repulsion_coef=0.5),
    ),
)

_MINIBATCH_LR = _defaults(lr="log:1e-5:1e-3")
_TRUST_REGION = _defaults(trust_radius="log:1e-3:0.3", lr="log:1e-4:1e-2")
_EVOLUTION = _defaults(lr="log:1e-3:0.3", sigma="log:0.01:0.5")

#: Where `python -m wng_tf.tune` looks for better settings of each row, in the words of its --search.
SEARCH: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "pg": _MINIBATCH_LR,
        "ppo": _defaults(**_MINIBATCH_LR, cliprange="0.1|0.2|0.3"),
        "ppo_kl": _defaults(**_MINIBATCH_LR, kl_target="log:1e-3:0.1"),
        "bgpg": _defaults(**_MINIBATCH_LR, wasserstein_coef="log:0.01:10"),
        "npg": _defaults(**_MINIBATCH_LR, epsilon="log:1e-3:1"),
        "wnpg": _defaults(**_MINIBATCH_LR, epsilon="log:1e-6:0.1", num_basis="5|10|20"),
        "bg_wnpg": _defaults(**_MINIBATCH_LR, epsilon="log:1e-6:0.1", num_basis="5|10|20", wasserstein_coef="log:0.01:10"),
        "trpo": _TRUST_REGION,
        "wtrpo": _TRUST_REGION,
        "es": _EVOLUTION,
        "bges": _defaults(**_EVOLUTION, repulsion_coef="linear:0.1:0.9"),
        "nsr_es": _defaults(**_EVOLUTION, repulsion_coef="linear:0.1:0.9"),
        "wnes": _defaults(**_EVOLUTION, delta="linear:-3:1"),
        "bg_wnes": _defaults(**_EVOLUTION, delta="linear:-3:1", repulsion_coef="linear:0.1:0.9"),
    }
)


def plain(name: str) -> str:
    """The spelling of an algorithm's name that the tables have."""
    return name.lower().replace("-", "_")


def find(name: str) -> Algorithm:
    """The row called `name` (case and '-' do not matter).

    Raises:
      UserError: no such algorithm; the sentence names the nearest ones.
    """
    key = plain(str(name))
    rows: dict[str, PolicyGradientAlgorithm | EvolutionAlgorithm] = {**POLICY_GRADIENTS, **EVOLUTION_STRATEGIES}
    if key in rows:
        return rows[key]
    near = difflib.get_close_matches(key, rows, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Choose one of {', '.join(rows)}."
    raise UserError(f"Unknown algorithm '{name}'. {hint}")
