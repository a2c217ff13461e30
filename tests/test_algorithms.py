"""The two tables, as the paper and the README have them."""

from __future__ import annotations

import pytest

from wng_tf import algorithms, parts
from wng_tf.algorithms import EVOLUTION_STRATEGIES, POLICY_GRADIENTS
from wng_tf.errors import UserError
from wng_tf.policy_gradient.config import DEFAULTS_BY_KIND, resolve

FIRST_TABLE = {
    "pg": ("importance", "none", "identity", "minibatch"),
    "ppo": ("clipped", "none", "identity", "minibatch"),
    "ppo_kl": ("importance", "kl", "identity", "minibatch"),
    "bgpg": ("importance", "wasserstein", "identity", "minibatch"),
    "npg": ("importance", "none", "fisher_exact", "minibatch"),
    "wnpg": ("importance", "none", "wasserstein_kernel", "minibatch"),
    "bg_wnpg": ("importance", "wasserstein", "wasserstein_kernel", "minibatch"),
    "trpo": ("importance", "none", "fisher_exact", "trust_region"),
    "wtrpo": ("importance", "none", "wasserstein_exact", "trust_region"),
}
SECOND_TABLE = {
    "es": ("none", "identity"),
    "bges": ("wasserstein", "identity"),
    "nsr_es": ("novelty", "identity"),
    "wnes": ("none", "wasserstein_kernel"),
    "bg_wnes": ("wasserstein", "wasserstein_kernel"),
}


def test_policy_gradients_are_points_in_a_grid():
    rows = {n: (r.surrogate, r.penalty, r.metric, r.step_rule) for n, r in POLICY_GRADIENTS.items()}
    assert rows == FIRST_TABLE


def test_evolution_strategies_are_points_in_a_grid():
    assert {n: (r.repulsion, r.metric) for n, r in EVOLUTION_STRATEGIES.items()} == SECOND_TABLE


def test_parts_are_known():
    for row in POLICY_GRADIENTS.values():
        assert row.surrogate in parts.SURROGATES.names()
        assert row.penalty in parts.PENALTIES.names()
        assert row.metric in parts.METRICS.names()
        assert row.step_rule in parts.STEP_RULES.names()
    assert all(row.repulsion in parts.REPULSIONS.names() for row in EVOLUTION_STRATEGIES.values())


@pytest.mark.parametrize("kind", [*DEFAULTS_BY_KIND, "something new"])
@pytest.mark.parametrize("name", FIRST_TABLE)
def test_every_row_has_settings_for_every_kind_of_environment(name, kind):
    config = resolve(POLICY_GRADIENTS[name], kind, {})
    assert (config.surrogate, config.penalty, config.metric, config.step_rule) == FIRST_TABLE[name]


def test_names_are_found_however_they_are_written():
    assert algorithms.find("bg_wnpg") is POLICY_GRADIENTS["bg_wnpg"]
    assert algorithms.find("BG-WNPG") is POLICY_GRADIENTS["bg_wnpg"]
    assert algorithms.find("WNES") is EVOLUTION_STRATEGIES["wnes"]


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="Unknown algorithm 'wnpgg'. Did you mean .*wnpg"):
        algorithms.find("wnpgg")
    with pytest.raises(UserError, match="Unknown algorithm 'zzzz'. Choose one of pg, ppo, .*bg_wnes"):
        algorithms.find("zzzz")


def test_the_tables_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        POLICY_GRADIENTS["mine"] = POLICY_GRADIENTS["pg"]
