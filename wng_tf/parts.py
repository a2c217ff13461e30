"""The registries of the parts that algorithms are made of, and the words that earlier versions had for them.

Nothing here imports TensorFlow: parts are named by lazy paths. Register your own with `METRICS.register("name", part)`, or
name it on the command line as `--metric=package.module:name`. What a part is, says the base class that it derives from:

| registry | flag | part |
|---|---|---|
| `SURROGATES` | `--surrogate` | a function, see `wng_tf.policy_gradient.objectives` |
| `PENALTIES` | `--penalty` | from a `Setup` to a `wng_tf.policy_gradient.penalties.Penalty` |
| `METRICS` | `--metric` | from a `Setup` to a `wng_tf.policy_gradient.metrics.Metric` |
| `STEP_RULES` | `--step_rule` | from a `StepSetup` to a `wng_tf.policy_gradient.steps.StepRule` |
| `REPULSIONS` | `--repulsion` | from an `EvolutionConfig` to a `wng_tf.evolution.repulsion.Repulsion` |
| `NETWORKS` | `--network` | a function, see `wng_tf.policies.networks` |
| `HEADS` | | a class of `wng_tf.policies.heads`, which takes action spaces |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wng_tf.embeddings import EMBEDDINGS
from wng_tf.runtime.registry import Registry

_PG = "wng_tf.policy_gradient"
_ES = "wng_tf.evolution"
_POLICIES = "wng_tf.policies"

SURROGATES: Registry[Any] = Registry(
    "surrogate",
    "surrogate",
    {
        "importance": f"{_PG}.objectives:importance_surrogate",
        "clipped": f"{_PG}.objectives:clipped_surrogate",
    },
)
PENALTIES: Registry[Any] = Registry(
    "penalty",
    "penalty",
    {
        "none": f"{_PG}.penalties.base:NoPenalty",
        "kl": f"{_PG}.penalties.kl:KLPenalty",
        "wasserstein": f"{_PG}.penalties.wasserstein:from_setup",
    },
)
METRICS: Registry[Any] = Registry(
    "metric",
    "metric",
    {
        "identity": f"{_PG}.metrics.identity:Identity",
        "fisher_empirical": f"{_PG}.metrics.fisher:FisherEmpirical",
        "fisher_exact": f"{_PG}.metrics.exact:FisherExact",
        "wasserstein_kernel": f"{_PG}.metrics.wasserstein:WassersteinKernel",
        "wasserstein_exact": f"{_PG}.metrics.exact:WassersteinExact",
    },
    aliases={"fisher": "fisher_empirical", "wasserstein": "wasserstein_kernel"},
)
STEP_RULES: Registry[Any] = Registry(
    "step_rule",
    "step rule",
    {"minibatch": f"{_PG}.steps.minibatch:MinibatchRule", "trust_region": f"{_PG}.steps.trust_region:TrustRegionRule"},
)
REPULSIONS: Registry[Any] = Registry(
    "repulsion",
    "repulsion",
    {
        "none": f"{_ES}.repulsion:NoRepulsion",
        "wasserstein": f"{_ES}.repulsion:WassersteinRepulsion",
        "novelty": f"{_ES}.repulsion:NoveltyRepulsion",
    },
)

NETWORKS: Registry[Any] = Registry(
    "network",
    "network",
    {"toeplitz": f"{_POLICIES}.networks:toeplitz", "mlp": f"{_POLICIES}.networks:mlp"},
)
#: Networks of `baselines_compat.models` for images, which both families take.
IMAGE_NETWORKS = ("cnn", "cnn_small")
#: No flag names one: the head is the one registered last of those that take the action space.
HEADS: Registry[Any] = Registry(
    "head",
    "action head",
    {
        "gaussian": f"{_POLICIES}.heads.gaussian:Gaussian",
        "categorical": f"{_POLICIES}.heads.categorical:Categorical",
        "multi_categorical": f"{_POLICIES}.heads.product:MultiCategorical",
        "multi_bernoulli": f"{_POLICIES}.heads.product:Bernoulli",
        "stretched": f"{_POLICIES}.heads.stretched:Stretched",
        "argmax": f"{_POLICIES}.heads.argmax:Argmax",
        "multi_argmax": f"{_POLICIES}.heads.argmax:Argmaxes",
        "multi_sign": f"{_POLICIES}.heads.argmax:Signs",
    },
)

#: Those of each family.
POLICY_GRADIENT_PARTS = (SURROGATES, PENALTIES, METRICS, STEP_RULES)
EVOLUTION_PARTS = (REPULSIONS,)

#: Every flag that may name code of a user's own, as `package.module:name`.
BY_FLAG: Mapping[str, Registry] = {
    registry.flag: registry for registry in (EMBEDDINGS, NETWORKS, *POLICY_GRADIENT_PARTS, *EVOLUTION_PARTS)
}

#: What flags and settings were called before -> what they are called now.
RENAMED: Mapping[str, str] = {"preconditioner": "metric"}

#: Setting -> earlier words for its values, and those of now.
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {"shaping": {"normalised": "normalized"}}


def metric_name(name: str, step_rule: str | None) -> str:
    """The metric that a word means beside a step rule: `fisher` is the exact matrix of a trust region, else the empirical."""
    return "fisher_exact" if name == "fisher" and step_rule == "trust_region" else METRICS.canonical(name)


def current_flags(flags: Mapping[str, str]) -> dict[str, str]:
    """The flags of a run, which an earlier version may have written, in the names and words of this one."""
    found = {RENAMED.get(name, name): value for name, value in flags.items()}
    if "metric" in found:
        found["metric"] = metric_name(found["metric"], found.get("step_rule"))
    return {name: RENAMED_VALUES.get(name, {}).get(value, value) for name, value in found.items()}


def check(settings: Any, *registries: Registry) -> None:
    """Finds the parts that the settings of a run name, so that one that is missing is refused before the run has a folder.

    Raises:
      UserError: a part that is not there, or cannot be imported.
    """
    for registry in registries:
        registry.find(getattr(settings, registry.flag))
