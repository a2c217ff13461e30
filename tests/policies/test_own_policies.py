"""Networks and action heads that a user registers from outside of the package."""

from __future__ import annotations

import functools
import tokenize
from pathlib import Path

import numpy as np
import own_heads
import pytest
import tensorflow as tf

import wng_tf
from wng_tf import evaluate, parts, saved_policy
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as evolve
from wng_tf.export import export_run
from wng_tf.policies import heads
from wng_tf.policy_gradient.learn import learn

SWITCHES = "own_heads:own/Switches-v0"
AIM = "toy_envs:toy/Aim-v0"
TINY = {"nsteps": 32, "nminibatches": 2, "noptepochs": 1, "num_layers": 2, "num_hidden": 4, "vf_iters": 1, "cg_iters": 4}
SMALL = {"population": 4, "num_hidden": 6, "horizon": 10, "progress": False}


@pytest.fixture
def registered():
    """`registered(registry, name, part)` makes a part available for the time of a test."""
    entered = []

    def enter(registry, name, part) -> None:
        registry.register(name, part)
        entered.append((registry, name))

    yield enter
    for registry, name in entered:
        registry.remove(name)


@pytest.fixture
def own_heads_registered(registered):
    registered(parts.HEADS, "bernoulli", own_heads.Bernoulli)
    registered(parts.HEADS, "signs", own_heads.Signs)


def train(folder, alg="ppo", env=SWITCHES, **given):
    """Two compiled updates; the policy and the reports."""
    reports = []
    settings = {**TINY, "alg": alg, "log_path": folder, "progress": False, **given}
    policy = learn(
        env=env,
        total_timesteps=2 * settings["nsteps"] * settings.get("num_env", 1),
        callback=lambda local: reports.append(local["report"]),
        **settings,
    )
    assert len(reports) == 2
    return policy, reports


# ---- heads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alg", "given"),
    [
        ("ppo", {}),
        ("ppo_kl", {}),
        ("npg", {}),
        ("wnpg", {"num_basis": 3}),
        ("wnpg", {"embedding": "trajectory_actions", "embedding_length": 2, "num_basis": 2}),
        ("wtrpo", {}),
    ],
)
def test_a_head_of_ones_own_trains(alg, given, own_heads_registered):
    policy, reports = train(None, alg, **given)
    assert isinstance(policy.head, own_heads.Bernoulli)
    assert all(np.isfinite(list(report.values())).all() for report in reports)
    assert policy.get_flat().any()


def test_a_head_of_ones_own_learns(own_heads_registered):
    """Right switches are one half by chance."""
    settings = {"nsteps": 256, "nminibatches": 4, "noptepochs": 10, "num_hidden": 16, "lr": "1e-2", "gamma": 0.0}
    told = []
    learn(
        env=SWITCHES, alg="ppo", total_timesteps=256 * 12, progress=False, **settings,
        callback=lambda local: told.append(local["batch"].raw_rewards.mean()),
    )  # fmt: skip
    assert told[0] < 0.6 and told[-1] > 0.8


@pytest.mark.parametrize("family", ["policy_gradient", "evolution"])
def test_a_head_of_ones_own_is_saved_evaluated_exported_and_resumed(family, own_heads_registered, tmp_path):
    folder = tmp_path / "run"
    if family == "policy_gradient":
        train(folder)
        again = functools.partial(learn, alg="ppo", progress=False, total_timesteps=96, **TINY)
    else:
        evolve(env=SWITCHES, alg="es", log_path=folder, total_timesteps=90, **SMALL)
        again = functools.partial(evolve, alg="es", total_timesteps=180, **SMALL)
    policy = saved_policy.load(folder)
    seen = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    model = tf.saved_model.load(str(export_run(folder, output=tmp_path / "model"))).signatures
    actions = model["serving_default"](observation=tf.constant(seen))["action"].numpy()
    np.testing.assert_array_equal(actions, policy.act(seen))
    sampled = policy.act(seen, np.random.default_rng(0), deterministic=False)
    for drawn in (actions, sampled):
        assert all(map(policy.action_space.contains, drawn)) and 0.0 < drawn.mean() < 1.0
    assert policy.action_space.contains(policy.act(seen[0]))
    assert evaluate.evaluate_run(folder, episodes=2)
    again(env=SWITCHES, log_path=folder, resume=True)
    assert not np.array_equal(saved_policy.load(folder).theta, policy.theta)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_head_of_ones_own_in_worker_processes(workers, own_heads_registered):
    """The processes register nothing: they are told which heads there are."""
    policy, _ = train(None, num_env=2, num_workers=workers, nsteps=16)
    alone, _ = train(None, num_env=2, num_workers=1, nsteps=16)
    np.testing.assert_array_equal(policy.get_flat(), alone.get_flat())
    strategy = {"env": SWITCHES, "alg": "es", "total_timesteps": 90, "num_env": 3, **SMALL}
    np.testing.assert_array_equal(evolve(num_workers=workers, **strategy).theta, evolve(**strategy).theta)


def test_a_head_that_is_not_registered_is_one_sentence(own_heads_registered, tmp_path):
    train(tmp_path / "run")
    parts.HEADS.remove("bernoulli")
    try:
        with pytest.raises(UserError, match="No action head 'bernoulli' is registered: import the module"):
            saved_policy.load(tmp_path / "run")
    finally:
        parts.HEADS.register("bernoulli", own_heads.Bernoulli)


def test_an_action_space_that_no_head_takes_is_refused(tmp_path):
    for trained in (learn, evolve):
        with pytest.raises(UserError, match="action space Text"):
            trained(
                env="space_envs:space/Typing-v0",
                alg="ppo" if trained is learn else "es",
                total_timesteps=64,
                log_path=tmp_path / "run",
            )
        assert not list(tmp_path.glob("run/checkpoints/*"))


def test_the_head_registered_last_is_taken(registered):
    from gymnasium import spaces

    class Mine(type(heads.stochastic(spaces.Discrete(2)))):
        pass

    registered(parts.HEADS, "mine", Mine)
    assert type(heads.stochastic(spaces.Discrete(3))) is Mine
    assert heads.name_of(heads.stochastic(spaces.Discrete(3))) == "mine"


def test_a_checkpoint_cannot_name_a_module_to_import(own_heads_registered, tmp_path):
    from wng_tf.training import checkpoint

    train(tmp_path / "run")
    step, state = checkpoint.load(tmp_path / "run" / "checkpoints")
    state["learner"]["policy"]["spec"]["head"]["kind"] = "antigravity:geohash"
    checkpoint.save(tmp_path / "run" / "checkpoints", step, state)
    with pytest.raises(UserError, match="No action head 'antigravity:geohash' is registered"):
        saved_policy.load(tmp_path / "run")


# ---- networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_path", [False, True])
def test_a_network_of_ones_own_trains_in_both_families(by_path, registered, tmp_path):
    name = "own_heads:narrowing" if by_path else "narrowing"
    if not by_path:
        registered(parts.NETWORKS, name, own_heads.narrowing)
    policy, _ = train(tmp_path / "pg", "npg", env=AIM, network=name)
    assert policy.actor_spec().layers == ((3, 4, "relu"), (4, 2, "relu"), (2, 2, "linear"))
    own = evolve(env="Point", alg="es", network=name, total_timesteps=180, log_path=tmp_path / "es", **SMALL)
    assert [layer.units for layer in own.spec.network.layers] == [6, 3, 2]
    assert [layer.activation for layer in own.spec.network.layers] == ["relu", "relu", "linear"]
    for folder, size in ((tmp_path / "pg", 3), (tmp_path / "es", 6)):
        assert f"--network={name}" in (folder / "flags.txt").read_text()
        kept = saved_policy.load(folder)
        seen = np.random.default_rng(0).normal(size=(20, size)).astype(np.float32)
        model = tf.saved_model.load(str(export_run(folder, output=folder / "model"))).signatures["serving_default"]
        np.testing.assert_allclose(model(observation=tf.constant(seen))["action"], kept.act(seen), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "family", "sentence"),
    [
        ("own_heads:shared_diagonals", "policy_gradient", "layers that policy gradients do not train"),
        ("own_heads:no_network", "policy_gradient", "must make a wng_tf.policies.network.Network of 3 inputs"),
        ("own_heads:no_network", "evolution", "must make a wng_tf.policies.network.Network of 6 inputs"),
        ("own_heads:failing", "policy_gradient", "Network 'own_heads:failing' failed: RuntimeError: broken"),
        ("own_heads:failing", "evolution", "Network 'own_heads:failing' failed: RuntimeError: broken"),
        ("own_heads:missing", "policy_gradient", "Network 'own_heads:missing' cannot be imported"),
        ("own_heads:missing", "evolution", "Network 'own_heads:missing' cannot be imported"),
        ("unheard_of", "policy_gradient", "Unknown network 'unheard_of'"),
        ("unheard_of", "evolution", "--network must be one of toeplitz, mlp"),
    ],
)
def test_what_is_no_network_is_one_sentence(network, family, sentence):
    with pytest.raises(UserError, match=sentence):
        if family == "policy_gradient":
            train(None, env=AIM, network=network)
        else:
            evolve(env="Point", alg="es", network=network, total_timesteps=90, **SMALL)


def test_no_file_outside_the_heads_asks_for_the_kind_of_actions():
    package = Path(wng_tf.__file__).parent
    found = {"discrete": set(), "Discrete": set()}
    for file in package.rglob("*.py"):
        with tokenize.open(file) as source:
            words = {token.string for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.NAME}
        for word in words & set(found):
            found[word].add(file.relative_to(package).as_posix())
    inside = {name: {file for file in files if not file.startswith("policies/")} for name, files in found.items()}
    # What observations may be, which `envs` flattens, is another matter.
    assert inside == {"discrete": set(), "Discrete": {"envs/space_checks.py"}}
    assert found["Discrete"] > inside["Discrete"]
