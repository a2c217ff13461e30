"""The registries: every choice can be built, any metric steps by either rule, and older words mean what they meant."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces

from wng_tf import algorithms, parts
from wng_tf.errors import UserError
from wng_tf.policy_gradient.config import resolve
from wng_tf.runtime.registry import Registry

REGISTRIES = (*parts.POLICY_GRADIENT_PARTS, *parts.EVOLUTION_PARTS)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.flag)
def test_every_choice_is_there_and_an_unknown_one_is_refused(registry):
    for name in registry:
        assert callable(registry.find(name))
    with pytest.raises(UserError, match=f"Unknown {registry.noun} 'unheard_of': choose one of {next(iter(registry))}, "):
        registry.find("unheard_of")


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
@pytest.mark.parametrize("step_rule", parts.STEP_RULES)
@pytest.mark.parametrize("metric", parts.METRICS)
def test_any_metric_steps_by_either_rule(metric, step_rule, discrete, fresh_learner, batch_of):
    actions = spaces.Discrete(2) if discrete else None
    given = {"metric": metric, "step_rule": step_rule, "damping": "fixed", "epsilon": 0.1, "noptepochs": 1}
    learner = fresh_learner("pg", actions=actions, **given)
    batch = batch_of(learner) if not discrete else discrete_batch(learner)
    before = learner.theta.numpy()
    report = learner.update(batch, 1, 1e-3, fused=False)
    assert np.isfinite(learner.theta.numpy()).all() and np.any(learner.theta.numpy() != before)
    if metric == "identity":
        assert "wng/condition_number" not in report
    elif step_rule == "minibatch":
        assert ("wng/effective_rank" in report) == (metric in ("fisher_empirical", "wasserstein_kernel"))
        assert ("wng/cg_iterations" in report) == (metric in ("fisher_exact", "wasserstein_exact"))
        assert 0.0 < report["wng/cosine"] < 1.0
    else:
        assert report["wng/cg_iterations"] >= 1.0 and 0.0 < report["wng/cosine"] < 1.0


def discrete_batch(learner):
    from baselines_compat.runner import Batch

    rng = np.random.default_rng(0)
    observations = rng.normal(size=(64, 3)).astype(np.float32)
    logits = np.asarray(learner.policy.actor(observations))
    taken = rng.integers(0, 2, 64).astype(np.int32)
    log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(64), taken]
    floats, no = rng.normal(size=64).astype(np.float32), np.zeros(64, bool)
    return Batch(
        observations=observations,
        actions=taken,
        advantages=floats,
        returns=floats,
        values=floats,
        log_probs=log_probs,
        pd_flat=logits,
        rewards=floats,
        raw_rewards=floats,
        terminated=no,
        truncated=no,
        final_observations=observations,
        nsteps=64,
    )


@pytest.mark.parametrize("penalty", parts.PENALTIES)
@pytest.mark.parametrize("surrogate", parts.SURROGATES)
def test_every_penalty_goes_with_every_surrogate(penalty, surrogate, fresh_learner, batch_of):
    learner = fresh_learner("pg", penalty=penalty, surrogate=surrogate, noptepochs=1)
    report = learner.update(batch_of(learner), 1, 1e-3, fused=False)
    assert np.isfinite(list(report.values())).all()
    assert {"loss/kl", "wng/wasserstein_estimate"} & set(report) == ({learner.penalty.name} - {""})


# ---- the words of earlier versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "metric"),
    [
        ({"preconditioner": "fisher"}, "fisher_empirical"),
        ({"preconditioner": "fisher", "step_rule": "trust_region"}, "fisher_exact"),
        ({"preconditioner": "wasserstein"}, "wasserstein_kernel"),
        ({"preconditioner": "wasserstein", "step_rule": "trust_region"}, "wasserstein_kernel"),
        ({"preconditioner": "wasserstein_exact"}, "wasserstein_exact"),
        ({"preconditioner": "identity"}, "identity"),
        ({"metric": "fisher_exact"}, "fisher_exact"),
        ({"metric": "fisher_empirical", "step_rule": "trust_region"}, "fisher_empirical"),
        ({"metric": "own:Part"}, "own:Part"),
        ({"metric": "fisher", "preconditioner": "fisher"}, "fisher_empirical"),
    ],
)
def test_what_earlier_flags_mean(given, metric):
    assert resolve(algorithms.find("pg"), "other", given).metric == metric
    flags = {"step_rule": "minibatch", **given}
    assert parts.current_flags(flags)["metric"] == metric


def test_one_setting_by_two_names_must_agree():
    with pytest.raises(UserError, match="--metric and --preconditioner are one setting"):
        resolve(algorithms.find("pg"), "other", {"metric": "identity", "preconditioner": "fisher"})


def test_evolution_strategies_take_the_earlier_words_too():
    from wng_tf.envs import tasks
    from wng_tf.evolution.config import resolve as resolve_evolution

    task = tasks.resolve("Point")
    for given in ({"preconditioner": "wasserstein"}, {"metric": "wasserstein"}, {"metric": "wasserstein_kernel"}):
        assert resolve_evolution(algorithms.find("es"), task, given).metric == "wasserstein_kernel"


def test_a_part_of_ones_own_may_use_any_setting():
    from wng_tf.training.settings import has_effect

    config = resolve(algorithms.find("pg"), "other", {"metric": "own:Part"})
    assert has_effect(config, "num_basis", network="mlp") and not has_effect(config, "kl_target", network="mlp")
    assert not has_effect(resolve(algorithms.find("pg"), "other", {}), "num_basis", network="mlp")


def test_registries_need_no_tensorflow():
    code = "import sys, wng_tf.parts, wng_tf.algorithms; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_registering():
    registry: Registry = Registry("colour", "colour", {"far": "math:sqrt"}, {"away": "far"})
    registry.register("near", abs)

    @registry.register("decorated")
    def decorated():
        return 1

    assert registry.names() == ["far", "near", "decorated"] and len(registry) == 3
    assert registry.find("away")(9.0) == 3.0 and registry.find("near") is abs and registry.find("decorated") is decorated
    assert registry.find("math:floor")(1.5) == 1
    assert all(name in registry for name in ("far", "away", "some.module:part")) and "else" not in registry
    registry.remove("near")
    with pytest.raises(UserError, match="Unknown colour 'near'"):
        registry.find("near")
    with pytest.raises(ValueError, match="no colon"):
        registry.register("a:b", abs)
