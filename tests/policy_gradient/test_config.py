"""Settings of the policy-gradient family: which layer wins, and what does not fit together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from wng_tf import algorithms
from wng_tf.errors import UserError
from wng_tf.policy_gradient import config
from wng_tf.policy_gradient.config import PolicyGradientConfig, resolve

PPO = algorithms.find("ppo")


def test_defaults_are_baselines_for_mujoco():
    """ppo2/defaults.py of OpenAI Baselines."""
    settings = resolve(PPO, "mujoco", {})
    assert (settings.nsteps, settings.nminibatches, settings.noptepochs) == (2048, 32, 10)
    assert (settings.gamma, settings.lam, settings.cliprange, settings.ent_coef) == (0.99, 0.95, 0.2, 0.0)
    assert (settings.vf_coef, settings.max_grad_norm, float(settings.lr)) == (0.5, 0.5, 3e-4)
    assert (settings.num_layers, settings.num_hidden, settings.activation) == (2, 64, "tanh")
    assert settings.batch_size == 2048
    assert resolve(PPO, "mujoco", {"num_env": 4}).batch_size == 8192


def test_defaults_of_the_paper():
    """K, T and α of Pacchiano et al. 2019; β, M and ε of Appendix D.1; the kernel itself in place of R features."""
    settings = resolve(algorithms.find("bg_wnpg"), "mujoco", {})
    assert (settings.num_actions, settings.num_features, settings.inner_steps, settings.inner_lr) == (10, 0, 25, 0.05)
    assert (settings.wasserstein_coef, settings.num_basis, settings.epsilon) == (0.1, 5, 1e-5)


def test_the_flagfile_of_the_appendix_has_the_features_of_the_paper():
    """R of Pacchiano et al. 2019."""
    flagfile = Path(config.__file__).parents[2] / "runs" / "appendix_d1.flags"
    assert "num_features=100" in flagfile.read_text().replace("\n", ",").split(",")


def test_the_user_wins_over_the_algorithm_over_the_kind_of_environment(monkeypatch):
    monkeypatch.setattr(config, "DEFAULTS_BY_KIND", {"toy": {"nsteps": 64, "lam": 0.5, "gamma": 0.5}})
    row = dataclasses.replace(PPO, defaults={"lam": 0.6, "gamma": 0.6})
    settings = resolve(row, "toy", {"gamma": 0.7, "surrogate": "importance", "lam": None})
    assert (settings.nsteps, settings.lam, settings.gamma) == (64, 0.6, 0.7)
    assert (settings.surrogate, settings.penalty) == ("importance", "none")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"nsteps": 100, "nminibatches": 32}, "--nminibatches=32 does not divide the batch of 100 samples"),
        ({"num_env": 2, "num_workers": 3}, "--num_workers=3 is more than --num_env=2"),
        ({"clip_range": 0.1}, "Unknown setting 'clip_range'"),
        ({"cliprange": 0.0}, "--cliprange must be above 0.0"),
        ({"gamma": 1.5}, "--gamma must be at most 1.0"),
        ({"optimizer": "lion"}, "--optimizer must be one of adam, momentum, sgd"),
        ({"epsilon": 1e-12}, "--epsilon must be at least 1e-10"),
        ({"preconditioner": "newton"}, "--metric must be one of identity, fisher_empirical, fisher_exact, wasserstein"),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, sentence):
    with pytest.raises(UserError) as caught:
        resolve(PPO, "other", given)
    assert sentence in str(caught.value)


def test_the_divisor_counts_all_environments():
    assert resolve(PPO, "other", {"nsteps": 100, "num_env": 8, "nminibatches": 32}).batch_size == 800


def test_every_setting_has_help():
    for field in dataclasses.fields(PolicyGradientConfig):
        assert field.metadata["help"], field.name
        assert not field.metadata["help"].endswith(".")
