"""Both families behind one interface, imported when they are asked for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from wng_tf import algorithms, families
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.families import FAMILIES


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_algorithm_has_its_settings(family):
    task = tasks.resolve("Point")
    for alg, row in family.table.items():
        assert families.find(alg) is families.of(row) is family
        config = family.resolve(row, task, {})
        assert isinstance(config, family.config)
        assert {part: getattr(row, part) for part in family.parts} == {part: getattr(config, part) for part in family.parts}
        family.check(config, family.default_network(task))


def test_no_such_algorithm():
    with pytest.raises(UserError, match="Unknown algorithm 'ppoo'. Did you mean ppo"):
        families.find("ppoo")


@pytest.mark.parametrize(("family", "other"), [FAMILIES, FAMILIES[::-1]], ids=lambda family: family.name)
def test_learn_sends_algorithms_of_the_other_family_there(family, other):
    alg = next(iter(other.table))
    with pytest.raises(UserError, match=f"--alg={alg} is {other.row.is_a}: use {other.package}.learn."):
        family.learn(env="CartPole-v1", alg=alg, total_timesteps=1)


def test_what_changes_no_number_is_the_same_in_both():
    names = families.beside_the_numbers()
    assert {
        "num_workers",
        "engine",
        "ray_address",
        "log_interval",
        "save_interval",
        "keep_checkpoints",
        "log_path",
        "num_threads",
    } <= names
    for family in FAMILIES:
        for field in dataclasses.fields(family.config):
            assert (field.metadata["role"] == "operational") == (field.name in names), field.name
    assert not names & {"alg", "env", "seed", "num_timesteps", "network", "lr", "sigma", "num_env"}


def test_settings_and_saved_policies_need_no_tensorflow():
    code = (
        "import sys\nimport wng_tf.policies.saved\nfrom wng_tf import families\n"
        "for family in families.FAMILIES:\n    family.config, family.exceptions()\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_every_row_is_of_one_family():
    rows = {**algorithms.POLICY_GRADIENTS, **algorithms.EVOLUTION_STRATEGIES}
    assert {name for family in FAMILIES for name in family.table} == set(rows)
