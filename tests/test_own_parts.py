"""What a user adds from outside of the package: by a path on the command line, or registered by a name."""

from __future__ import annotations

import numpy as np
import own_networks
import own_parts
import pytest
import tensorflow as tf
from short_runs import uncompiled

from wng_tf import embeddings, parts, saved_policy
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as evolve
from wng_tf.policy_gradient.learn import learn
from wng_tf.training import run_folder

AIM = "toy_envs:toy/Aim-v0"
TINY = {"nsteps": 32, "nminibatches": 2, "noptepochs": 1, "num_layers": 1, "num_hidden": 4, "vf_iters": 1, "cg_iters": 4}
SMALL = {"nsteps": 32, "nminibatches": 2, "noptepochs": 1}


@pytest.fixture
def registered():
    """`registered(registry, part)` makes a part available as "own" for the time of a test."""
    entered = []

    def enter(registry, part) -> str:
        registry.register("own", part)
        entered.append(registry)
        return "own"

    yield enter
    for registry in entered:
        registry.remove("own")


def train(tmp_path=None, **given):
    """Two compiled updates; returns the learner and the reports."""
    told = []
    settings = {**TINY, "alg": "pg", "log_path": None if tmp_path is None else tmp_path / "run", **given}
    learn(
        env=AIM,
        total_timesteps=64,
        progress=False,
        callback=lambda local: told.append((local["learner"], local["report"])),
        **settings,
    )
    assert len(told) == 2
    return told[-1][0], [report for _, report in told]


@pytest.mark.parametrize("step_rule", ["minibatch", "trust_region"])
def test_a_metric_with_state(step_rule, registered, tmp_path):
    name = registered(parts.METRICS, own_parts.BlockDiagonal)
    learner, reports = train(tmp_path, metric=name, step_rule=step_rule, damping="fixed", epsilon=0.1)
    assert all(0.0 < report["wng/cosine"] < 1.0 and report["wng/cg_iterations"] >= 1 for report in reports)
    assert all(np.isfinite(block).all() and np.any(block != 0.0) for block in learner.metric_state)
    assert f"--metric={name}" in (tmp_path / "run" / "flags.txt").read_text()
    # What is kept in a checkpoint is what the next update starts from.
    from wng_tf.training import checkpoint

    saved = checkpoint.load(tmp_path / "run" / "checkpoints")[1]["learner"]["learner"]
    for block, kept in zip(learner.metric_state, saved["metric"], strict=True):
        np.testing.assert_array_equal(block, kept)
    learner.metric_state = learner.metric.initial_state()
    learner.restore(saved)
    for block, kept in zip(learner.metric_state, saved["metric"], strict=True):
        np.testing.assert_array_equal(block, kept)


def test_a_metrics_state_is_the_average_of_its_steps():
    """One minibatch an update: the blocks are what NumPy averages from the scores at each update's weights."""
    seen = []

    def note(local) -> None:
        seen.append((local["batch"], local["learner"].policy.get_flat(), local["learner"]))

    settings = {**TINY, "nminibatches": 1, "damping": "fixed", "epsilon": 0.1}
    policy = learn(
        env=AIM, alg="pg", total_timesteps=64, progress=False, callback=note, metric="own_parts:BlockDiagonal", **settings
    )
    learner = seen[-1][2]
    sizes = learner.metric.sizes
    expected = [np.zeros((size, size)) for size in sizes]
    start = learn(env=AIM, alg="pg", total_timesteps=1, lr="1e-30", progress=False, **settings).get_flat()
    for (batch, _, _), theta in zip(seen, (start, seen[0][1]), strict=True):
        variable = tf.Variable(theta)
        with tf.GradientTape() as tape:
            log_probs = policy.pd(policy.unflatten(tf.convert_to_tensor(variable)), batch.observations).logp(batch.actions)
        scores = tape.jacobian(log_probs, variable).numpy()[:, : sum(sizes)]
        blocks = np.split(scores, np.cumsum(sizes)[:-1], axis=1)
        expected = [0.9 * old + 0.1 * s.T @ s / len(s) for old, s in zip(expected, blocks, strict=True)]
    for block, wanted in zip(learner.metric_state, expected, strict=True):
        np.testing.assert_allclose(block, wanted, rtol=1e-3, atol=1e-4)


def test_a_penalty(registered):
    free, _ = train(lr="1e-2", nminibatches=1, noptepochs=5)
    name = registered(parts.PENALTIES, own_parts.MeanShift)
    learner, reports = train(penalty=name, lr="1e-2", nminibatches=1, noptepochs=5)
    assert [report["loss/coefficient"] for report in reports] == [2e3, 4e3]
    assert all(report["loss/mean_shift"] > 0.0 and report["loss/measured"] > 0.0 for report in reports)
    assert learner.state()["mean_shift"] == 4e3
    assert not np.array_equal(learner.theta, free.theta)


def test_a_step_rule(registered):
    name = registered(parts.STEP_RULES, own_parts.SignStep)
    learner, reports = train(step_rule=name, lr="0.25")
    assert [set(report) for report in reports] == [{"loss/policy_loss", "loss/grad_norm"}] * 2
    start, _ = train(step_rule=name, lr="1e-30")
    quarters = (learner.theta.numpy() - start.theta.numpy()) / 0.25
    size = learner.policy.policy_size
    np.testing.assert_allclose(quarters, np.round(quarters), atol=1e-4)
    assert set(np.round(quarters[:size])) <= {-2, -1, 0, 1, 2} and np.any(quarters[:size])
    np.testing.assert_array_equal(quarters[size:], 0.0)


def test_a_surrogate():
    learner, _ = train(surrogate="own_parts:squared_ratio", nminibatches=1)
    usual, _ = train(nminibatches=1)
    assert not np.array_equal(learner.theta, usual.theta)


def test_an_embedding(monkeypatch):
    monkeypatch.setattr(embeddings, "EMBEDDINGS", embeddings.EMBEDDINGS.copy())
    embeddings.register("own")(own_parts.rewards_at_ends)
    _, reports = train(alg="wnpg", embedding="own", num_basis=2)
    assert all(report["wng/effective_rank"] > 0 for report in reports)


@pytest.mark.parametrize("by_path", [False, True])
def test_a_repulsion(by_path, registered):
    name = "own_parts:Farthest" if by_path else registered(parts.REPULSIONS, own_parts.Farthest)
    seen = []
    small = {"population": 4, "num_hidden": 6, "horizon": 10, "progress": False}
    evolve(
        env="Point",
        alg="bges",
        repulsion=name,
        total_timesteps=5 * 90,
        callback=lambda progress, report: seen.append((progress, report.diagnostics)),
        **small,
    )
    assert [len(progress.state.past) for progress, _ in seen] == [1, 2, 3, 3, 3]
    assert seen[0][1]["es/distance_mean"] == 0.0 and all(diagnostics["es/distance_mean"] > 0.0 for _, diagnostics in seen[1:])


@pytest.mark.parametrize("flag", ["surrogate", "penalty", "metric", "step_rule"])
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("own_parts:Missing", "cannot be imported"),
        ("no_such_module:Part", "cannot be imported"),
        ("own_parts:NOT_CALLABLE", "is not a function"),
        ("unheard_of", "must be one of .*, or your own as package.module:name, not 'unheard_of'"),
    ],
)
def test_a_part_that_is_not_there_is_one_sentence_and_no_folder(flag, path, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        learn(env=AIM, alg="pg", total_timesteps=64, log_path=tmp_path / "run", progress=False, **{flag: path})
    assert not (tmp_path / "run").exists()


def test_a_repulsion_that_is_not_there_is_one_sentence_and_no_folder(tmp_path):
    with pytest.raises(UserError, match="Repulsion 'own_parts:Missing' cannot be imported"):
        evolve(env="Point", alg="es", total_timesteps=90, log_path=tmp_path / "run", repulsion="own_parts:Missing")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("step_rule", ["minibatch", "trust_region"])
@pytest.mark.parametrize(
    ("flag", "part", "told"),
    [
        ("metric", "FailsInOperator", r"Metric 'own_parts:FailsInOperator' failed in operator: KeyError: .*own_parts.py"),
        ("metric", "FailsInProduct", r"Metric 'own_parts:FailsInProduct' failed in operator\(\)\.\w+: .*own_parts.py"),
        ("metric", "GivesNothing", r"Update 1 with the metric 'own_parts:GivesNothing' failed: TypeError: "),
        ("penalty", "FailsInWeight", r"Penalty 'own_parts:FailsInWeight' failed in \w+: TypeError: .*own_parts.py"),
        ("step_rule", "FailsInReport", r"Step rule 'own_parts:FailsInReport' failed in report: IndexError: .*own_parts.py"),
    ],
)
def test_a_method_that_fails_is_one_sentence_with_its_cause(flag, part, told, step_rule):
    if flag == "penalty" and step_rule == "trust_region":
        pytest.skip("there is no penalty in a trust region")
    with pytest.raises(UserError, match=told) as error, uncompiled():
        train(**{"step_rule": step_rule, "damping": "fixed", flag: f"own_parts:{part}"})
    assert "\n" not in str(error.value) and str(error.value).endswith(").")
    assert error.value.__cause__ is not None and not isinstance(error.value.__cause__, UserError)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("FailsInCall", r"Repulsion 'own_parts:FailsInCall' failed in __call__: ValueError: .*own_parts.py, line \d+\)\.$"),
        ("FailsInMemory", r"Repulsion 'own_parts:FailsInMemory' failed in memory: AttributeError: "),
    ],
)
def test_a_repulsion_that_fails_is_one_sentence(part, told):
    small = {"population": 4, "num_hidden": 6, "horizon": 10, "progress": False}
    with pytest.raises(UserError, match=told):
        evolve(env="Point", alg="bges", repulsion=f"own_parts:{part}", total_timesteps=5 * 90, **small)


@pytest.mark.parametrize(
    ("flag", "part"),
    [
        ("surrogate", own_parts.squared_ratio),
        ("metric", own_parts.BlockDiagonal),
        ("preconditioner", own_parts.BlockDiagonal),
        ("penalty", own_parts.MeanShift),
        ("step_rule", own_parts.SignStep),
        ("network", own_networks.plain),
    ],
)
def test_a_part_is_given_as_what_it_is(flag, part, tmp_path):
    with uncompiled():
        thetas = []
        for name, given in {"object": part, "path": f"{part.__module__}:{part.__name__}"}.items():
            more = {"log_path": tmp_path / name, flag: given, **SMALL}
            thetas.append(learn(env=AIM, alg="pg", total_timesteps=32, progress=False, **more).theta)
    np.testing.assert_array_equal(*thetas)
    name = f"{part.__module__}:{part.__name__}"
    assert run_folder.flag_values(tmp_path / "object")[parts.RENAMED.get(flag, flag)] == name


@pytest.mark.parametrize(
    ("flag", "part"),
    [("repulsion", own_parts.Farthest), ("embedding", own_parts.rewards_at_ends), ("network", own_networks.plain)],
)
def test_a_part_of_evolution_is_given_as_what_it_is(flag, part, tmp_path):
    small = {"population": 2, "horizon": 5, "progress": False}
    for name, given in {"object": part, "path": f"{part.__module__}:{part.__name__}"}.items():
        evolve(env=AIM, alg="bg_wnes", total_timesteps=40, log_path=tmp_path / name, **small, **{flag: given})
    first, second = (saved_policy.load(tmp_path / name).theta for name in ("object", "path"))
    np.testing.assert_array_equal(first, second)
    assert run_folder.flag_values(tmp_path / "object")[flag] == f"{part.__module__}:{part.__name__}"


@pytest.mark.parametrize("flag", ["surrogate", "metric", "penalty", "step_rule", "network", "embedding"])
def test_what_flags_cannot_name_is_one_sentence_and_no_folder(flag, tmp_path):
    with pytest.raises(UserError, match=f"{flag}=<function .*is no function or class at the top level of a module"):
        learn(env=AIM, alg="wnpg", total_timesteps=64, log_path=tmp_path / "run", progress=False, **{flag: lambda *_: None})
    assert not (tmp_path / "run").exists()
