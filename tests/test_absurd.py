"""Settings that no machine can hold, and embeddings that are none: one sentence, and no folder is left behind."""

from __future__ import annotations

import pytest
from short_runs import TINY, as_flags, uncompiled
from test_cli import assert_sentence

from wng_tf import embeddings, run, sweep
from wng_tf.errors import UserError
from wng_tf.runtime import memory

GRADIENT = ["nsteps", "num_env", "num_hidden", "num_layers", "num_actions", "num_features", "num_basis", "nminibatches"]
GRADIENT += ["noptepochs", "inner_steps", "embedding_length", "keep_checkpoints", "log_interval", "save_interval"]
EVOLUTION = ["population", "num_env", "num_hidden", "num_layers", "num_basis", "evaluation_episodes", "horizon"]


@pytest.mark.parametrize("value", ["1e20", "1e15", "99999999999999999999999"])
@pytest.mark.parametrize(
    ("alg", "env", "name"),
    [*(("bg_wnpg", "Hopper-v5", name) for name in GRADIENT), *(("bg_wnes", "Point", name) for name in EVOLUTION)],
)
def test_whole_numbers_beyond_32_bits(alg, env, name, value, call, tmp_path):
    outcome = call(run.app, f"--alg={alg}", f"--env={env}", f"--{name}={value}", f"--log_path={tmp_path / 'run'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, f"--{name}")
    assert list(tmp_path.iterdir()) == []


LARGE = [
    ("ppo", "Hopper-v5", "--nsteps=2147483616"),
    ("ppo", "Hopper-v5", "--num_env=1e9"),
    ("ppo", "Hopper-v5", "--num_hidden=1e9"),
    ("wtrpo", "Hopper-v5", "--num_hidden=1e6 --num_layers=1000"),
    ("bgpg", "Hopper-v5", "--num_actions=1e9"),
    ("bgpg", "Hopper-v5", "--num_features=1e9"),
    ("es", "Point", "--population=2e9"),
    ("es", "CartPole-v1", "--num_hidden=1e9"),
    ("es", "CartPole-v1", "--num_env=2e9"),
    ("wnes", "Point", "--num_basis=1e9"),
    ("es", "Point", "--evaluation_episodes=2e9"),
]


@pytest.mark.parametrize(("alg", "env", "flags"), LARGE)
def test_what_no_memory_holds_is_refused_before_it_is_tried(alg, env, flags, call, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "total", lambda: 16e9)  # the same on every machine
    outcome = call(run.app, f"--alg={alg}", f"--env={env}", *flags.split(), f"--log_path={tmp_path / 'run'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, flags.split("=")[0], "of memory or more, and this machine has 16 GB")
    assert list(tmp_path.iterdir()) == []
    settings = ",".join(flag.removeprefix("--") for flag in flags.split())
    outcome = call(sweep.app, f"--algs={alg}", f"--envs={env}", f"--set={settings}", f"--log_path={tmp_path / 'sweep'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "of memory or more")
    assert list(tmp_path.iterdir()) == []


def test_threads_and_seeds(call, tmp_path):
    outcome = call(run.app, "--alg=ppo", "--env=CartPole-v1", "--num_threads=1e9", f"--log_path={tmp_path / 'run'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "--num_threads must be at most")
    outcome = call(sweep.app, "--algs=ppo", "--envs=CartPole-v1", "--seeds=0-9999999999", f"--log_path={tmp_path / 's'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "more than 100000 seeds")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("builtins:len", "write it as function(trajectory, length)"),
        ("os:system", "write it as function(trajectory, length)"),
        ("math:pi", "is not a function"),
        ("math:missing", "cannot be imported"),
        ("math:", "cannot be imported"),
        (":len", "cannot be imported"),
        (".math:pi", "cannot be imported"),
        ("no_such_module:f", "cannot be imported"),
        ("toy_embeddings:too_many", "write it as function(trajectory, length)"),
    ],
)
def test_what_is_no_embedding_is_refused_at_once(name, words, call, tmp_path):
    for alg in ("wnpg", "wnes"):
        flags = as_flags(alg=alg, env="CartPole-v1", embedding=name, log_path=tmp_path / "run")
        outcome = call(run.app, *flags)
        assert outcome.code == 2
        assert_sentence(outcome.stderr, f"'{name}'", words)
        assert list(tmp_path.iterdir()) == []


BROKEN = ["raises", "nothing", "words", "not_a_number", "empty", "of_no_fixed_length"]


@pytest.mark.parametrize("name", [*BROKEN, "builtins:eval", "builtins:print"])
@pytest.mark.parametrize("alg", ["wnpg", "wnes"])
def test_an_embedding_that_breaks_leaves_the_folder_free(alg, name, call, tmp_path):
    name = name if ":" in name else f"toy_embeddings:{name}"
    small = TINY | {"embedding_length": 4} if alg == "wnpg" else {"population": 2, "num_hidden": 4}
    small = {key: value for key, value in small.items() if key in ("nsteps", "nminibatches", "population", "num_hidden")}
    flags = as_flags(**small, alg=alg, env="CartPole-v1", embedding=name, log_path=tmp_path / "run")
    with uncompiled():
        outcome = call(run.app, *flags)
    assert outcome.code == 2
    assert_sentence(outcome.stderr, f"Embedding '{name}'")
    assert list(tmp_path.iterdir()) == []


def test_action_embeddings_that_break():
    import tensorflow as tf

    drawn, values = tf.zeros([5, 3, 2]), tf.zeros([5])

    def raising(drawn, values):
        raise KeyError("x")

    wrong = (raising, lambda d, v: None, lambda d, v: d, lambda d, v: v, lambda d, v: d[:2, 0], lambda d, v: d[:, 0, :0])
    for function in wrong:
        embedding = embeddings.Embedding("mine", "action", function)
        with pytest.raises(UserError, match="Embedding 'mine'"):
            embeddings.embed_actions(embedding, drawn, values)
    kept = embeddings.embed_actions(embeddings.find("actions"), drawn, values)
    assert kept.shape == (5, 6)


@pytest.mark.parametrize(
    ("alg", "flag"),
    [
        ("ppo", "--metric=builtins:eval"),
        ("ppo", "--metric=builtins:print"),
        ("ppo", "--penalty=os:system"),
        ("ppo", "--step_rule=math:pi"),
        ("ppo", "--step_rule=builtins:repr"),
        ("ppo", "--surrogate=builtins:len"),
        ("es", "--repulsion=builtins:print"),
        ("es", "--repulsion=builtins:len"),
    ],
)
def test_parts_that_are_none_leave_the_folder_free(alg, flag, call, tmp_path):
    small = {"nsteps": 64, "nminibatches": 2} if alg == "ppo" else {"population": 2}
    flags = as_flags(**small, num_hidden=4, alg=alg, env="CartPole-v1", log_path=tmp_path / "run")
    with uncompiled():
        outcome = call(run.app, *flags, flag)
    assert outcome.code == 2
    assert_sentence(outcome.stderr, f"'{flag.partition('=')[2]}'")
    assert list(tmp_path.iterdir()) == []
