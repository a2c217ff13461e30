"""Flags made from the settings of both families."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from absl import flags

from wng_tf import algorithms, families
from wng_tf.cli import flags as run_flags
from wng_tf.envs import tasks
from wng_tf.envs.tasks import KINDS
from wng_tf.errors import UserError
from wng_tf.evolution.config import EvolutionConfig
from wng_tf.evolution.config import resolve as resolve_evolution
from wng_tf.policy_gradient.config import DEFAULTS_BY_KIND, NETWORKS, PolicyGradientConfig, resolve
from wng_tf.training.run_flags import ROLES
from wng_tf.training.run_flags import values as values_of_run


@pytest.fixture(scope="module")
def read():
    """What the settings become of a command line. absl's flags are global: what is defined here is taken away again."""
    before = set(flags.FLAGS)
    if "nsteps" not in before:
        run_flags.define_run_flags()
        run_flags.define_settings_flags()

    def ask(*arguments: str) -> dict:
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        flags.FLAGS(["run", *arguments])
        family = PolicyGradientConfig if flags.FLAGS.alg in algorithms.POLICY_GRADIENTS else EvolutionConfig
        said = {name: flags.FLAGS[name].value for name in ROLES}
        return {"given": run_flags.given_settings(family), "run": said}

    yield ask
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("1e6", 1_000_000),
        ("1_000", 1000),
        ("2.5e3", 2500),
        ("-3", -3),
        ("9007199254740993", 2**53 + 1),
        (12, 12),
    ],
)
def test_whole_numbers_as_people_write_them(text, number):
    parser = run_flags.NumberFlagParser()
    assert parser.parse(text) == number
    assert type(parser.parse(text)) is int
    assert parser.flag_type() == "int"


@pytest.mark.parametrize("text", ["1.5", "many", "1e400", "nan", ""])
def test_other_numbers_are_refused(text):
    with pytest.raises(ValueError, match="is not a"):
        run_flags.NumberFlagParser().parse(text)


def test_flags_reach_the_settings_in_their_types(read):
    said = read(
        "--alg=ppo",
        "--nsteps=1e3",
        "--lr=linear:3e-4",
        "--nonormalize_rewards",
        "--gamma=1",
        "--num_timesteps=2e6",
        "--seed=5",
    )
    assert said["given"] == {"nsteps": 1000, "lr": "linear:3e-4", "normalize_rewards": False, "gamma": 1.0}
    assert (said["run"]["alg"], said["run"]["num_timesteps"], said["run"]["seed"]) == ("ppo", 2_000_000, 5)


def test_what_is_not_said_is_left_to_the_defaults(read):
    said = read("--alg=wnpg")
    assert said["given"] == {}
    assert said["run"]["env"] == "Hopper"
    assert said["run"]["resume"] is False


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--alg=ppo", "--population=10"),
            "--population is not a setting of policy gradients, which --alg=ppo belongs to",
        ),
        (
            ("--alg=es", "--cliprange=0.1"),
            "--cliprange is not a setting of evolution strategies, which --alg=es belongs to",
        ),
        (("--alg=ppo", "--nsteps=1.5"), "is not a whole number"),
        (("--alg=ppo", "--gamma=high"), "--gamma"),
        (("--alg=ppo", "--nstep=1"), "Unknown command line flag 'nstep'"),
    ],
)
def test_flags_that_do_not_belong_are_one_sentence(read, arguments, sentence):
    with pytest.raises((flags.Error, UserError)) as caught:
        read(*arguments)
    assert sentence in str(caught.value)


def test_a_flagfile_repeats_the_settings(read, tmp_path):
    """The lines that a run writes give the same settings when they are read."""
    given = {
        "lr": "linear:3e-4",
        "gamma": 0.123456789012345,
        "normalize_rewards": False,
        "num_env": 3,
        "nminibatches": 8,
    }
    config = resolve(algorithms.find("bg_wnpg"), "mujoco", given)
    from wng_tf.training.run import RunInfo

    flags_of_run = values_of_run("bg_wnpg", "Hopper-v5", 7, 12345, "mlp", str(tmp_path), config)
    path = tmp_path / "flags.txt"
    path.write_text(RunInfo("bg_wnpg", "Hopper-v5", "Hopper-v5", 7, 12345, flags_of_run).flags_text())
    said = read(f"--flagfile={path}")
    assert resolve(algorithms.find(said["run"]["alg"]), "other", said["given"]) == config
    assert (said["run"]["seed"], said["run"]["num_timesteps"], said["run"]["env"]) == (7, 12345, "Hopper-v5")


def test_every_setting_is_a_flag_with_its_help(read):
    for cls in (PolicyGradientConfig, EvolutionConfig):
        for field in dataclasses.fields(cls):
            flag = flags.FLAGS[field.name]
            assert field.metadata["help"] in flag.help, field.name
            assert flag.default is None or field.name in ROLES
            assert all(choice in flag.help for choice in field.metadata["choices"] or ())
    assert "default 2048" in flags.FLAGS["nsteps"].help
    assert "default true" in flags.FLAGS["normalize_rewards"].help
    assert "5e-5 (policy gradients), 0.01 (evolution strategies)" in flags.FLAGS["lr"].help
    for row in (*algorithms.POLICY_GRADIENTS.values(), *algorithms.EVOLUTION_STRATEGIES.values()):
        assert f"{row.name}: {row.summary}" in flags.FLAGS["alg"].help


def test_help_has_the_defaults_of_every_algorithm_and_kind_of_task(read):
    """What a run would have, row by row."""
    for family, table in ((family.name, family.table) for family in families.FAMILIES):
        for row in table.values():
            places = {"nothing": "other", **{f"{KINDS[kind]} tasks": kind for kind in DEFAULTS_BY_KIND}}
            if family == "evolution strategies":
                places = {"nothing": "CartPole-v1", "Point": "Point", "Quadruped": "Quadruped"}
            for place, where in places.items():
                if family == "policy gradients":
                    config = resolve(row, where, {})
                else:
                    config = resolve_evolution(row, tasks.resolve(where), {})
                for field in dataclasses.fields(config):
                    value = getattr(config, field.name)
                    shown = str(value).lower() if isinstance(value, bool) else str(value)
                    text = flags.FLAGS[field.name].help
                    text = text.partition(f"[{family}]")[2] or text
                    exceptions = [f"{shown} with --alg=", f"{shown} on {place}"]
                    said = f"default {shown}" in text or f"{shown} ({family})" in text
                    assert value is None or said or any(one in text for one in exceptions), (row.name, place, field.name)
    assert "512 on classic-control tasks" in flags.FLAGS["nsteps"].help
    assert "0.03 with --alg=trpo|wtrpo" in flags.FLAGS["trust_radius"].help
    rates = "3e-4 with --alg=ppo|ppo_kl|npg; 1e-3 with --alg=trpo|wtrpo; 1e-4 on classic-control tasks; 0.1 on Point"
    assert rates in flags.FLAGS["lr"].help
    assert "default minibatch; trust_region with --alg=trpo|wtrpo" in flags.FLAGS["step_rule"].help
    assert "Only with --step_rule=trust_region." in flags.FLAGS["trust_radius"].help


def test_conditions_name_settings_and_values_that_there_are():
    """So that no condition is one that nothing can fulfil."""
    for cls in (PolicyGradientConfig, EvolutionConfig):
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for field in fields.values():
            for condition in field.metadata["when"]:
                for name, values in condition.items():
                    values = (values,) if isinstance(values, str) else values
                    known = NETWORKS if name == "network" else fields[name].metadata["choices"]
                    assert set(values) <= set(known) and field.name not in condition


def test_values_of_the_wrong_type_are_one_sentence(read):
    """Where two families give a flag two types, it is read as text."""
    with pytest.raises(UserError, match="--nsteps must be a whole number, not 'many'"):
        run_flags._converted("nsteps", "many", int)


def test_flags_need_no_tensorflow():
    code = "import sys, wng_tf.cli.flags, wng_tf.run; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
