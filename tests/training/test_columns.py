"""What is said of the columns of a log is what runs write."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.short_runs import TINY, uncompiled
from wng_tf import algorithms, families
from wng_tf.envs import tasks
from wng_tf.parts import METRICS
from wng_tf.training import columns

SMALL = {"num_hidden": 4, "population": 2, "horizon": 10}
POLICY_GRADIENTS = {
    "ppo": dict(alg="ppo", cliprange="linear:0.2", target_kl=9.0, eval_interval=64, eval_episodes=1),
    "ppo_kl, empirical Fisher": dict(alg="ppo_kl", metric="fisher_empirical", cliprange="0.2"),
    "bgpg, exact metric": dict(alg="bgpg", metric="wasserstein_exact", damping="fixed"),
    "trpo": dict(alg="trpo"),
    "trpo without a metric": dict(alg="wtrpo", metric="identity", covariance_radius=0.01, adaptive_radius=True),
}
EVOLUTION = {
    "es": dict(alg="es", eval_interval=40, eval_episodes=1),
    "nsr_es, adaptive": dict(alg="nsr_es", metric="wasserstein_kernel", damping="adaptive"),
    "bg_wnes": dict(alg="bg_wnes"),
}


def header(folder: Path) -> set[str]:
    with open(folder / "progress.csv", newline="") as file:
        return set(next(csv.reader(file)))


def said(settings: dict, env: str) -> frozenset[str]:
    row = algorithms.find(settings["alg"])
    family = families.of(row)
    given = {name: value for name, value in settings.items() if name != "alg"}
    return family.logged(family.resolve(row, tasks.resolve(env), given))


@pytest.mark.parametrize("name", POLICY_GRADIENTS)
def test_a_policy_gradient_logs_what_is_said(name, tmp_path):
    from wng_tf.policy_gradient.learn import learn

    settings = {**TINY, **POLICY_GRADIENTS[name]}
    with uncompiled():
        learn(env="Pendulum-v1", total_timesteps=128, log_path=tmp_path / "run", **settings)
    assert header(tmp_path / "run") == said(settings, "Pendulum-v1")


@pytest.mark.parametrize("name", EVOLUTION)
def test_an_evolution_strategy_logs_what_is_said(name, tmp_path):
    from wng_tf.evolution.learn import learn

    settings = {**SMALL, **EVOLUTION[name]}
    learn(env="Pendulum-v1", total_timesteps=150, log_path=tmp_path / "run", **settings)
    assert header(tmp_path / "run") == said(settings, "Pendulum-v1")


def test_every_metric_reports_its_effort():
    family = families.POLICY_GRADIENT
    for metric in set(METRICS) - {"identity"}:
        config = family.resolve(algorithms.find("pg"), tasks.resolve("Pendulum-v1"), {"metric": metric})
        effort = {"wng/effective_rank", "wng/cg_iterations"} & family.logged(config)
        assert effort == {"wng/effective_rank" if METRICS.find(config.metric).direct else "wng/cg_iterations"}


def test_with_what_a_column_comes_is_in_words():
    assert columns.comes_with(columns.OF_POLICY_GRADIENTS, "loss/kl_coef") == "--penalty=kl"
    for name in ("fps", "nope"):
        assert columns.comes_with(columns.OF_POLICY_GRADIENTS, name) == ""


def test_parts_of_ones_own_may_log_anything():
    family = families.EVOLUTION
    for repulsion, own in (("none", False), ("tests.own_parts:Anything", True)):
        config = family.resolve(algorithms.find("es"), tasks.resolve("Pendulum-v1"), {"repulsion": repulsion})
        assert family.has_own_parts(config) == own
