"""The columns of progress.csv, by the family of algorithms that writes them, and the settings with which it does.

What they mean: docs/how_to/columns.md. A part of a user's own may add others, under `loss/`, `wng/` or `es/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wng_tf.training.schedules import ScheduledNumber
from wng_tf.training.settings import Condition, Where, holds, in_words

#: Column -> conditions on the settings, one of which is enough; none: it is always there.
Columns = Mapping[str, Sequence[Condition]]

_MINIBATCH = {"step_rule": "minibatch"}
_TRUST_REGION = {"step_rule": "trust_region"}
_DIRECT = ("fisher_empirical", "wasserstein_kernel")
_ITERATIVE = ("fisher_exact", "wasserstein_exact")
_KERNEL = {"metric": "wasserstein_kernel"}


def _table(*rows: tuple[Condition, str]) -> Columns:
    found: dict[str, list[Condition]] = {}
    for condition, names in rows:
        for name in names.split():
            found.setdefault(name, []).append(condition)
    return {name: [] if {} in conditions else conditions for name, conditions in found.items()}


_BOTH: tuple[tuple[Condition, str], ...] = (
    ({}, "eprewmean eplenmean fps misc/total_timesteps misc/nupdates misc/time_elapsed misc/lr"),
    (
        {"eval_interval": Where("--eval_interval above 0", lambda interval: interval > 0)},
        "eval/eprewmean eval/eplenmean eval/eprewsd",
    ),
)
OF_POLICY_GRADIENTS = _table(
    *_BOTH,
    (
        {},
        """misc/explained_variance loss/policy_loss loss/value_loss loss/policy_entropy loss/approxkl loss/clipfrac
        loss/grad_norm loss/kl_moved loss/w2_squared_moved""",
    ),
    ({**_MINIBATCH, "target_kl": Where("a --target_kl", lambda target: target is not None)}, "misc/epochs"),
    (
        {"cliprange": Where("a --cliprange that is a schedule", lambda clip: isinstance(clip, ScheduledNumber))},
        "misc/cliprange",
    ),
    ({"penalty": "kl"}, "loss/kl loss/kl_coef"),
    ({"penalty": "wasserstein"}, "wng/wasserstein_estimate"),
    (
        {**_MINIBATCH, "metric": (*_DIRECT, *_ITERATIVE)},
        "wng/epsilon wng/cosine wng/residual wng/condition_number wng/guarded wng/reduction_ratio",
    ),
    ({**_MINIBATCH, "metric": _DIRECT}, "wng/effective_rank"),
    ({**_MINIBATCH, "metric": _ITERATIVE}, "wng/cg_iterations"),
    (
        _TRUST_REGION,
        """wng/epsilon wng/cosine wng/residual wng/cg_iterations wng/reduction_ratio wng/distance_asked wng/distance_reached
        wng/backtracks wng/accepted wng/improvement wng/step_length wng/step_norm""",
    ),
    (
        {**_TRUST_REGION, "covariance_radius": Where("--covariance_radius above 0", lambda radius: radius > 0)},
        "wng/distance_mean wng/distance_covariance",
    ),
    ({**_TRUST_REGION, "adaptive_radius": Where("--adaptive_radius", bool)}, "wng/radius_factor"),
)
OF_EVOLUTION = _table(
    *_BOTH,
    (
        {},
        """es/return_mean es/return_std es/return_max es/gradient_norm es/step_norm es/theta_norm es/direction_cosine
        es/moved es/cpu_seconds""",
    ),
    ({"repulsion": ("wasserstein", "novelty")}, "es/distance_mean es/distance_std es/distance_return_correlation"),
    (
        _KERNEL,
        """wng/epsilon wng/epsilon_absolute wng/cosine wng/residual wng/effective_rank wng/condition_number wng/guarded""",
    ),
    ({**_KERNEL, "damping": "adaptive"}, "wng/reduction_ratio"),
)
#: All columns of a family.
POLICY_GRADIENT, EVOLUTION = frozenset(OF_POLICY_GRADIENTS), frozenset(OF_EVOLUTION)


def logged(columns: Columns, config: Any) -> frozenset[str]:
    """Those of the columns that a run with these settings has."""
    return frozenset(name for name, conditions in columns.items() if holds(config, conditions))


def comes_with(columns: Columns, name: str) -> str:
    """The flags with which a run has the column, in words; empty if every run has it, or none."""
    return in_words(columns.get(name, ()))
