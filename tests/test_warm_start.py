"""Runs that begin from an earlier policy: what they take over, what does not fit, and how they are resumed."""

from __future__ import annotations

import dataclasses
import shutil

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from short_runs import TINY, as_flags, uncompiled

import wng_tf
from baselines_compat.running_mean_std import RunningMeanStd
from wng_tf import run
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as evolve
from wng_tf.policies import warm_start
from wng_tf.policy_gradient.learn import learn
from wng_tf.sweeps.check import check_settings
from wng_tf.sweeps.grid import Run
from wng_tf.training import checkpoint
from wng_tf.training.stopping import Interrupted

POLE = {"env": "CartPole-v1", "progress": False, **TINY}
SMALL = {"population": 3, "num_env": 7, "horizon": 20, "num_hidden": 8, "progress": False}
STILL = {"lr": "1e-30"}
"""Steps that change no float32."""


class Bounds(gymnasium.Env):
    """Observations [3] about (5, -5, 50); two real actions within `bound`."""

    def __init__(self, bound: float = np.inf, numbers: int = 3):
        self.observation_space = spaces.Box(-np.inf, np.inf, (numbers,), np.float64)
        self.action_space = spaces.Box(-bound, bound, (2,), np.float32)
        self.centre = np.array([5.0, -5.0, 50.0, 0.0])[:numbers]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(self.centre, 1.0), {}

    def step(self, action):
        return self.np_random.normal(self.centre, 1.0), -float(np.square(action).mean()), False, False, {}


gymnasium.register("warm/Free-v0", entry_point=Bounds, max_episode_steps=10)
gymnasium.register("warm/Bounded-v0", entry_point=Bounds, kwargs={"bound": 1.0}, max_episode_steps=10)
gymnasium.register("warm/Four-v0", entry_point=Bounds, kwargs={"numbers": 4}, max_episode_steps=10)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Folders of short runs by name, trained once."""
    root = tmp_path_factory.mktemp("sources")
    makers = {
        "ppo pole": lambda path: learn(alg="ppo", total_timesteps=128, log_path=path, **POLE),
        "es pole": lambda path: evolve(env="CartPole-v1", alg="es", total_timesteps=100, log_path=path, **SMALL),
        "ppo free": lambda path: learn(alg="ppo", total_timesteps=128, log_path=path, **{**POLE, "env": "warm/Free-v0"}),
        "es free": lambda path: evolve(env="warm/Free-v0", alg="es", total_timesteps=100, log_path=path, **SMALL),
        "ppo keras": lambda path: learn(alg="ppo", total_timesteps=128, log_path=path, network="own_networks:sized", **POLE),
        "es keras": lambda path: evolve(
            env="CartPole-v1", alg="es", network="own_networks:sized", total_timesteps=100, log_path=path, **SMALL
        ),
        "ppo shared": lambda path: learn(alg="ppo", total_timesteps=128, log_path=path, value_network="shared", **POLE),
        "ppo bounded": lambda path: learn(
            alg="ppo", total_timesteps=128, log_path=path, **{**POLE, "env": "warm/Bounded-v0"}
        ),
    }

    def of(name: str):
        path = root / name.replace(" ", "-")
        if not path.exists():
            with uncompiled():
                makers[name](path)
        return path

    return of


def first_batch(**given):
    """The policy and the statistics that a run's first rollout acted with, from what it acted on, and what it returned."""
    told = []
    with uncompiled():
        policy = learn(
            total_timesteps=64, callback=lambda local, _: told.append(local["batch"]), **{**POLE, **STILL, **given}
        )
    return policy, told[0]


@pytest.mark.parametrize("kind", ["run", "checkpoint", "file", "export"])
def test_policy_value_function_and_normalizers_come_along(kind, sources, tmp_path):
    folder = sources("ppo pole")
    source = wng_tf.load(folder)
    path = {
        "run": lambda: folder,
        "checkpoint": lambda: folder / "checkpoints" / f"checkpoint-{128:012d}.npz",
        "file": lambda: source.save(tmp_path / "policy"),
        "export": lambda: source.export(tmp_path / "model"),
    }[kind]()
    policy, batch = first_batch(alg="wnpg", load_path=path, log_path=tmp_path / "run", num_basis=2)
    np.testing.assert_allclose(policy.theta, source.theta, rtol=1e-6)
    # What the normalizer has seen is the source's, and the new run's samples.
    expected = RunningMeanStd(shape=(4,))
    expected.moments = source.statistics.observations
    assert policy.statistics.observations.count == pytest.approx(expected.count + 64, abs=2)
    assert policy.statistics.returns.count == pytest.approx(source.statistics.returns.count + 64, abs=2)
    assert np.abs(batch.observations).max() < 10.0 and batch.values.std() > 0.0
    assert f"--load_path={path}\n" in (tmp_path / "run" / "flags.txt").read_text()
    np.testing.assert_array_equal(wng_tf.load(tmp_path / "run" / "start.npz").theta, source.theta)


@pytest.mark.parametrize(
    ("source", "alg"),
    [("es free", "es"), ("es pole", "wnes"), ("ppo pole", "es"), ("ppo free", "es")],
)
def test_evolution_strategies_begin_from_what_fits_them(source, alg, sources, tmp_path):
    """The policy that the first generation evaluates is the source."""
    begun = wng_tf.load(sources(source))
    layers = {"num_layers": 2} if source.startswith("ppo") else {}
    with uncompiled():
        policy = evolve(
            env=begun.about["env"], alg=alg, network="mlp", total_timesteps=1, load_path=sources(source), **SMALL, **layers
        )
    seen = np.random.default_rng(0).normal(begun.statistics.observations.mean, 1.0, (200, begun.spec.observations))
    np.testing.assert_allclose(policy.act(seen), begun.act(seen), rtol=1e-4, atol=1e-5)
    assert policy.statistics.observations.count == begun.statistics.observations.count


@pytest.mark.parametrize("source", ["es pole", "es free"])
def test_policy_gradients_begin_from_evolution_strategies(source, sources):
    begun = wng_tf.load(sources(source))
    layers = {"num_layers": len(begun.spec.network.layers) - 1}
    policy, _ = first_batch(alg="ppo", env=begun.about["env"], load_path=sources(source), **layers)
    size = begun.spec.network.size
    own, taken = (one.spec.network.matrices(one.theta) for one in (policy, begun))
    for (ours, bias), (theirs, other) in zip(own, taken, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        np.testing.assert_allclose(bias, other, rtol=1e-5, atol=1e-7)
    assert len(policy.theta) > size and policy.statistics.observations.count > begun.statistics.observations.count


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("ppo keras", {"network": "own_networks:sized"}),
        ("es keras", {"network": "own_networks:sized"}),
        ("ppo shared", {"value_network": "shared"}),
        ("ppo shared", {"value_network": "copy"}),
        ("es pole", {"value_network": "shared", "num_layers": 1}),
    ],
)
def test_keras_and_shared_networks_come_along(source, given, sources, tmp_path):
    begun = wng_tf.load(sources(source))
    if source == "es pole":
        given = {**given, "num_layers": len(begun.spec.network.layers) - 1}
    policy, _ = first_batch(alg="ppo", load_path=sources(source), log_path=tmp_path / "run", **given)
    seen = np.random.default_rng(0).normal(begun.statistics.observations.mean, 1.0, (50, 4))
    rows = [one.spec.network.forward(one.spec.network.matrices(one.theta), begun.normalizer(seen)) for one in (policy, begun)]
    np.testing.assert_allclose(*rows, rtol=1e-4, atol=1e-6)
    if begun.value_network is not None:
        values = [one.value_network.forward(one._value_matrices, begun.normalizer(seen)) for one in (policy, begun)]
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-6)


def test_a_strategy_begins_from_a_keras_network_of_a_policy_gradient(sources):
    begun = wng_tf.load(sources("ppo keras"))
    given = {"network": "own_networks:sized", "load_path": sources("ppo keras"), **SMALL}
    with uncompiled():
        policy = evolve(env="CartPole-v1", alg="es", total_timesteps=1, **given)
    seen = np.random.default_rng(0).normal(begun.statistics.observations.mean, 1.0, (50, 4))
    np.testing.assert_array_equal(policy.act(seen), begun.act(seen))


@pytest.mark.parametrize("source", ["ppo pole", "es pole"])
def test_workers_change_no_bit(source, sources):
    begun = {"env": "CartPole-v1", "load_path": sources(source)}
    thetas = []
    for workers in (1, 2):
        with uncompiled():
            if source == "ppo pole":
                policy = learn(alg="ppo", total_timesteps=128, num_env=2, num_workers=workers, **{**POLE, **begun})
            else:
                policy = evolve(alg="es", total_timesteps=300, num_workers=workers, **SMALL, **begun)
        thetas.append(policy.theta)
    np.testing.assert_array_equal(*thetas)
    assert not np.array_equal(thetas[0], wng_tf.load(sources(source)).theta)


REFUSED = [
    ("ppo pole", {"env": "warm/Free-v0"}, r"CartPole-v1.*observations Box.*\(4,\).*warm/Free-v0.*\(3,\)"),
    ("ppo free", {"env": "warm/Four-v0"}, r"observations .*\(3,\).*\(4,\)"),
    ("ppo free", {"env": "warm/Bounded-v0"}, r"actions Box\(-inf.*warm/Bounded-v0.*Box\(-1"),
    ("ppo pole", {"num_hidden": 16}, r"network 4-8-8-2, tanh, dense, and this run 4-16-16-2, tanh, dense"),
    ("ppo pole", {"num_layers": 1}, r"network 4-8-8-2, tanh, dense, and this run 4-8-2"),
    ("ppo pole", {"activation": "relu"}, r"4-8-8-2, tanh, dense, and this run 4-8-8-2, relu"),
    ("ppo pole", {"value_network": "shared"}, "a value network of its own, and this run a shared one.*--value_network=copy"),
    ("ppo pole", {"network": "own_networks:sized"}, "another network than this run"),
    ("ppo keras", {"network": "own_networks:other"}, "another network than this run"),
    ("ppo pole", {"normalize_observations": False}, "policy of normalized observations.*raw.*--normalize_observations=true"),
]


@pytest.mark.parametrize(("source", "given", "sentence"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(source, given, sentence, sources, tmp_path):
    with pytest.raises(UserError, match=f"--load_path=.*{sentence}"):
        learn(alg="ppo", total_timesteps=64, load_path=sources(source), log_path=tmp_path / "run", **{**POLE, **given})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("source", "given", "sentence"),
    [
        ("ppo bounded", {"env": "warm/Bounded-v0", "num_layers": 2}, r"Gaussian head \(ppo\).*Stretched head \(es\)"),
        (
            "ppo pole",
            {"env": "CartPole-v1", "num_layers": 2, "network": "toeplitz"},
            "dense, and this run 4-8-8-2, tanh, toeplitz",
        ),
        ("ppo pole", {"env": "warm/Free-v0", "num_layers": 2}, "observations"),
    ],
)
def test_what_does_not_fit_an_evolution_strategy(source, given, sentence, sources, tmp_path):
    settings = {"network": "mlp", **SMALL, **given}
    with pytest.raises(UserError, match=f"--load_path=.*{sentence}"):
        evolve(alg="es", total_timesteps=64, load_path=sources(source), log_path=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_run_is_resumed_whose_source_is_gone(sources, tmp_path):
    """Bit for bit what it would have been uninterrupted."""
    source = tmp_path / "source"
    shutil.copytree(sources("ppo pole"), source)
    given = {"alg": "ppo", "load_path": source, "total_timesteps": 256, "save_interval": 1, **POLE}
    with uncompiled():
        whole = learn(log_path=tmp_path / "whole", **given)

        def interrupt(local, _):
            if local["number"] == 2:
                raise KeyboardInterrupt

        with pytest.raises((KeyboardInterrupt, Interrupted)):
            learn(log_path=tmp_path / "parts", callback=interrupt, **given)
        shutil.rmtree(source)
        assert checkpoint.latest_step(tmp_path / "parts" / "checkpoints") == 64
        again = learn(log_path=tmp_path / "parts", resume=True, **given)
        np.testing.assert_array_equal(again.theta, whole.theta)
        # Killed before its first checkpoint, it begins again from the copy that it keeps.
        shutil.rmtree(tmp_path / "parts" / "checkpoints")
        for name in ("summary.json", "progress.csv", "progress.json", "log.txt"):
            (tmp_path / "parts" / name).unlink(missing_ok=True)
        for monitor in (tmp_path / "parts").glob("*.monitor.csv"):
            monitor.unlink()
        anew = learn(log_path=tmp_path / "parts", resume=True, **given)
        np.testing.assert_array_equal(anew.theta, whole.theta)
    with pytest.raises(UserError, match="There is no run in '.*source'"):
        learn(log_path=tmp_path / "other", **given)


def test_a_resumed_run_must_name_the_same_source(sources, tmp_path):
    given = {"alg": "ppo", "total_timesteps": 64, "log_path": tmp_path / "run", **POLE}
    with uncompiled():
        learn(load_path=sources("ppo pole"), **given)
    with pytest.raises(UserError, match="has --load_path=.*not no --load_path"):
        learn(resume=True, **{**given, "total_timesteps": 128})


def test_parameters_of_one_layout_in_the_other(sources):
    """There and back again, to the last bit of float32."""
    gradient, strategy = wng_tf.load(sources("ppo pole")), wng_tf.load(sources("es pole"))
    columns, rows = gradient.spec.network, strategy.spec.network
    if len(columns.layers) != len(rows.layers):
        from wng_tf.policies.networks import mlp

        rows = mlp(4, (8, 8), 2)
    there = warm_start._rewritten(gradient.theta, columns, rows)
    for (ours, _), (theirs, _) in zip(rows.matrices(there), columns.matrices(gradient.theta), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(warm_start._rewritten(there, rows, columns), gradient.theta[: columns.size])


# ---- the command --------------------------------------------------------------------------------------------------------


def test_the_command_takes_the_environment_of_the_source(call, sources, tmp_path):
    source = sources("ppo pole")
    flags = ["--alg=ppo", "--num_hidden=16", "--num_timesteps=64", f"--log_path={tmp_path / 'run'}"]
    outcome = call(run.app, f"--load_path={source}", *flags)
    assert outcome.code == 2 and "network 4-8-8-2, tanh, dense, and this run 4-16-16-2" in outcome.stderr  # not Hopper
    outcome = call(run.app, f"--load_path={tmp_path / 'nowhere'}", *flags)
    assert outcome.code == 2 and "There is no" in outcome.stderr and "Loading TensorFlow" not in outcome.stdout


def test_the_command_trains_and_resumes_when_the_source_is_gone(call, sources, tmp_path):
    source, folder = tmp_path / "source", tmp_path / "run"
    shutil.copytree(sources("ppo pole"), source)
    flags = as_flags(**TINY, alg="ppo", log_path=folder)
    with uncompiled():
        outcome = call(run.app, *flags, f"--load_path={source}", "--num_timesteps=64")
        assert outcome.code == 0 and f"Starting from the policy of {source}" in outcome.stdout
        kept = (folder / "flags.txt").read_text()
        assert "--env=CartPole-v1\n" in kept and f"--load_path={source}\n" in kept
        shutil.rmtree(source)
        outcome = call(run.app, *flags, f"--load_path={source}", "--num_timesteps=128", "--resume")  # its own environment
        assert outcome.code == 0 and "Continuing from step 64" in outcome.stdout
        outcome = call(run.app, f"--flagfile={folder / 'flags.txt'}", "--num_timesteps=192", "--resume")
        assert outcome.code == 0 and "Continuing from step 128" in outcome.stdout
    assert wng_tf.load(folder).statistics.observations.count > 192


def test_an_environment_of_a_stranger_is_not_imported_unasked(call, tmp_path, sources):
    policy = wng_tf.load(sources("ppo pole"))
    policy = dataclasses.replace(policy, about={"alg": "ppo", "env": "strange_module:CartPole-v1"})
    outcome = call(run.app, f"--load_path={policy.save(tmp_path / 'policy')}", "--alg=ppo", f"--log_path={tmp_path / 'run'}")
    assert outcome.code == 2 and "strange_module" in outcome.stderr and "--trust" in outcome.stderr


def test_a_run_begins_from_one_of_an_earlier_version(sources, tmp_path):
    """Which kept the layers of actor and critic, and nothing of heads."""
    folder = tmp_path / "earlier"
    shutil.copytree(sources("ppo pole"), folder)
    whole = wng_tf.load(folder)
    step, state = checkpoint.load(folder / "checkpoints")
    now = state["learner"]["policy"]
    layers = [[row[:3] for row in tree["layers"]] for tree in (now["spec"], now["value"])]
    state["learner"]["policy"] = {
        **{name: now[name] for name in ("observation_space", "action_space", "normalizer")},
        "actor": layers[0],
        "critic": layers[1],
        "discrete": True,
    }
    checkpoint.save(folder / "checkpoints", step, state)
    policy = wng_tf.load(folder)
    np.testing.assert_array_equal(policy.theta, whole.theta)
    assert policy.statistics.observations.count == whole.statistics.observations.count
    begun, _ = first_batch(alg="ppo", load_path=folder)
    np.testing.assert_allclose(begun.theta, whole.theta, rtol=1e-6)


def test_a_strategy_of_an_earlier_version_has_seen_what_its_state_has(sources, tmp_path):
    folder = tmp_path / "earlier"
    shutil.copytree(sources("es pole"), folder)
    step, state = checkpoint.load(folder / "checkpoints")
    del state["learner"]["policy"]["statistics"], state["learner"]["policy"]["about"]
    checkpoint.save(folder / "checkpoints", step, state)
    assert wng_tf.load(folder).statistics.observations.count == state["learner"]["strategy"]["moments"]["count"]


@pytest.mark.parametrize(
    ("source", "family", "given", "name"),
    [
        ("ppo free", learn, {"alg": "ppo", "env": "warm/Free-v0", "init_logstd": -1.0}, "init_logstd"),
        ("es free", evolve, {"alg": "es", "env": "warm/Free-v0", "initial_weights": "positive"}, "initial_weights"),
    ],
)
def test_what_the_policy_replaces_is_refused_beside_it(source, family, given, name, sources, call, tmp_path):
    settings = {"total_timesteps": 64, "load_path": sources(source), "refuse_unused": True, "progress": False}
    told = f"--{name} has no effect with --alg={given['alg']}: it goes with no --load_path. Leave it out."
    with pytest.raises(UserError) as error:
        family(**settings, **given)
    assert str(error.value) == told
    flags = as_flags(**given, load_path=sources(source), num_timesteps=64, log_path=tmp_path / "run")
    outcome = call(run.app, *flags)
    assert (outcome.code, outcome.stderr) == (2, f"error: {told}\n") and not (tmp_path / "run").exists()
    values = {**{name: str(value) for name, value in given.items() if name not in ("alg", "env")}}
    assert check_settings(Run(given["alg"], given["env"], 0, settings=tuple(values.items()))) == set()
    values["load_path"] = str(sources(source))
    assert check_settings(Run(given["alg"], given["env"], 0, settings=tuple(values.items()))) == {name}


def test_a_policy_without_deviations_leaves_those_that_are_given(sources):
    layers = {"num_layers": len(wng_tf.load(sources("es free")).spec.network.layers) - 1}
    given = {"nsteps": 32, "nminibatches": 2, "noptepochs": 1, "lr": "1e-30", "init_logstd": -1.0, "progress": False}
    with uncompiled():
        policy = learn(
            alg="ppo",
            env="warm/Free-v0",
            total_timesteps=32,
            load_path=sources("es free"),
            refuse_unused=True,
            **layers,
            **given,
            num_hidden=SMALL["num_hidden"],
        )
    size, parameters = policy.spec.network.size, policy.spec.num_parameters
    np.testing.assert_allclose(policy.theta[size:parameters], -1.0)
