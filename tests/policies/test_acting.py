"""One policy whichever way it comes: returned by `learn`, saved, loaded, of a run, exported. It acts on what an environment
gives."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import toy_envs  # noqa: F401  registers the environment with Dict observations
from gymnasium import spaces
from short_runs import RUNS, TINY, uncompiled

import wng_tf
from baselines_compat.conform import FlatBox
from wng_tf import algorithms, families, parts, saved_policy
from wng_tf.envs import tasks
from wng_tf.errors import UserError
from wng_tf.export import export_run
from wng_tf.policies import heads
from wng_tf.policies import spaces as space_trees
from wng_tf.policies.network import Network
from wng_tf.policies.normalizers import RunningNormalizer
from wng_tf.policies.observations import rows_of
from wng_tf.policies.saved import SavedPolicy
from wng_tf.policies.spec import PolicySpec
from wng_tf.training.settings import has_effect

NAMES = ["ppo on CartPole", "bg_wnpg on pendulum", "wnes on Point"]
KINDS = ["returned", "saved", "of the run", "exported", "copied", "pickled"]


def settings_of(name: str) -> dict:
    """What `wng_tf.learn` takes for one of RUNS: it refuses settings without an effect."""
    given = dict(RUNS[name])
    if given["alg"] in algorithms.POLICY_GRADIENTS:
        row = algorithms.find(given["alg"])
        config = families.POLICY_GRADIENT.config(**{part: getattr(row, part) for part in families.POLICY_GRADIENT.parts})
        given |= {name: value for name, value in TINY.items() if has_effect(config, name, network="mlp")}
    return given


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """From the name of a run to its policy by each of KINDS."""
    made: dict[str, dict[str, SavedPolicy]] = {}

    def of(name: str) -> dict[str, SavedPolicy]:
        if name not in made:
            folder = tmp_path_factory.mktemp("acting")
            with uncompiled():
                returned = wng_tf.learn(log_path=folder / "run", progress=False, **settings_of(name))
            made[name] = {
                "returned": returned,
                "saved": wng_tf.load(returned.save(folder / "new" / "policy")),
                "of the run": wng_tf.load(folder / "run"),
                "exported": wng_tf.load(export_run(folder / "run")),
                "copied": copy.deepcopy(dataclasses.replace(returned, model=None)),
                "pickled": pickle.loads(pickle.dumps(returned)),
            }
            made[name]["folder"] = folder  # type: ignore[assignment]
        return made[name]

    return of


def observations(policy: SavedPolicy, count: int = 50) -> np.ndarray:
    """Raw ones, far from mean 0 and variance 1."""
    return (np.random.default_rng(0).normal(size=(count, policy.spec.observations)) * 3.0 + 1.0).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_one_class_and_the_same_actions_everywhere(name, policies):
    found = policies(name)
    returned = found["returned"]
    seen = observations(returned)
    actions, state = returned.predict(seen, deterministic=True)
    assert state is None
    returned.set_random_seed(5)
    expected = returned.step(seen)
    for kind in KINDS:
        policy = found[kind]
        assert type(policy) is SavedPolicy and policy.about["env"] == RUNS[name]["env"], kind
        np.testing.assert_array_equal(policy.predict(seen, deterministic=True)[0], actions)
        np.testing.assert_array_equal(policy.act(seen), actions)
        np.testing.assert_allclose(policy.predict(seen[3], deterministic=True)[0], actions[3], rtol=1e-5)
        np.testing.assert_array_equal(policy.get_flat(), returned.theta)
        policy.set_random_seed(5)
        for ours, theirs in zip(policy.step(seen), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    model = tf.saved_model.load(str(found["folder"] / "run" / "export")).signatures
    exported = model["serving_default"](observation=tf.constant(seen))["action"].numpy()
    np.testing.assert_allclose(exported, actions, atol=1e-5)
    assert exported.dtype == actions.dtype


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_what_the_environment_takes(name, policies):
    policy = policies(name)["returned"]
    with gymnasium.make(tasks.resolve(RUNS[name]["env"]).env_id) as env:
        assert policy.action_space == env.action_space
        observation, _ = env.reset(seed=0)
        for _ in range(5):
            action, _ = policy.predict(observation)
            assert env.action_space.contains(action)
            observation, *_ = env.step(action)
    drawn = policy.predict(observations(policy, 500))[0]
    assert all(map(policy.action_space.contains, drawn))


def distribution(policy: SavedPolicy, rows: np.ndarray):
    """TFP's, from Keras networks on normalized observations."""
    normalizer = policy.normalizer
    scaled = np.clip((rows - normalizer.mean) / np.sqrt(normalizer.var + 1e-8), -10.0, 10.0).astype(np.float32)
    outputs = policy.actor(scaled)
    if policy.logstd is None:
        return tfp.distributions.Categorical(logits=outputs), scaled
    return tfp.distributions.MultivariateNormalDiag(outputs, tf.exp(policy.logstd)), scaled


@pytest.mark.parametrize("name", ["ppo on CartPole", "bg_wnpg on pendulum"])
@pytest.mark.parametrize("kind", ["returned", "saved"])
def test_step_and_value_are_those_of_the_trained_networks(name, kind, policies):
    policy, returned = policies(name)[kind], policies(name)["returned"]
    seen = observations(policy)
    actions, values, states, neglogpacs = policy.step(seen)
    assert states is None and values.shape == neglogpacs.shape == (len(seen),)
    expected, scaled = distribution(returned, seen)
    np.testing.assert_allclose(-neglogpacs, expected.log_prob(actions), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(values, returned.critic(scaled)[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(policy.value(seen), values)
    one = policy.step(seen[0])
    assert one[0].shape == actions[0].shape and np.shape(one[1]) == np.shape(one[3]) == ()
    np.testing.assert_allclose(policy.value(seen[0]), values[0], rtol=1e-5)
    same = np.repeat(seen[:1], 100, axis=0)
    assert (policy.step(same)[0] != policy.step(same)[0]).any()  # a fresh sample each call


def test_samples_have_the_policys_distribution(policies):
    from scipy import stats

    policy = policies("bg_wnpg on pendulum")["returned"]
    wide = dataclasses.replace(policy, action_space=spaces.Box(-np.inf, np.inf, (1,)))
    seen = np.repeat(observations(policy, 1), 10_000, axis=0)
    pd, _ = distribution(policy, seen[:1])
    centred = (wide.predict(seen)[0] - pd.mean().numpy()) / pd.stddev().numpy()
    assert stats.kstest(centred[:, 0], "norm").pvalue > 1e-3
    policy = policies("ppo on CartPole")["saved"]
    seen = np.repeat(observations(policy, 1), 10_000, axis=0)
    pd, _ = distribution(policies("ppo on CartPole")["returned"], seen[:1])
    expected = pd.probs_parameter().numpy()[0]
    counts = np.bincount(policy.predict(seen)[0], minlength=2)
    assert stats.chisquare(counts, expected / expected.sum() * len(seen)).pvalue > 1e-3


def test_evolution_strategies_have_neither_values_nor_densities(policies):
    policy = policies("wnes on Point")["returned"]
    actions, values, states, neglogpacs = policy.step(observations(policy))
    assert policy.action_space.contains(actions[0]) and values is None and states is None and neglogpacs is None
    with pytest.raises(UserError, match="no value function"):
        policy.value(observations(policy))


@pytest.mark.parametrize("name", ["ppo on CartPole", "wnes on Point"])
def test_callbacks_are_handed_a_policy_that_acts(name, tmp_path):
    """The one of then: that of the last call is the one returned."""
    seen = []

    def keep(local, _):
        seen.append((local["policy"], local["policy"].save(tmp_path / f"{len(seen)}")))

    with uncompiled():
        returned = wng_tf.learn(callback=keep, progress=False, **settings_of(name))
    raw = observations(returned)
    for policy, path in seen:
        np.testing.assert_array_equal(policy.act(raw), wng_tf.load(path).act(raw))
    np.testing.assert_array_equal(seen[-1][0].act(raw), returned.act(raw))
    assert len(seen) > 1 and not np.array_equal(seen[0][0].theta, returned.theta)
    if returned.normalizer is not None:
        assert seen[0][0].statistics.observations.count < returned.statistics.observations.count


def test_the_keras_networks_are_there_where_they_were_trained(policies):
    found = policies("ppo on CartPole")
    returned = found["returned"]
    np.testing.assert_array_equal(returned.model.get_flat(), returned.get_flat())
    assert returned.actor is returned.model.actor and returned.size == len(returned.theta) and returned.discrete
    for absent in ("saved", "pickled"):
        with pytest.raises(AttributeError, match="only where they were trained"):
            found[absent].actor  # noqa: B018
    with pytest.raises(AttributeError, match="no 'nothing'"):
        returned.nothing  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_wrong_observations_are_refused_by_name(name, policies):
    policy = policies(name)["saved"]
    size = policy.spec.observations
    for use in (policy.predict, policy.step, *([policy.value] if policy.value_network else [])):
        for wrong in (np.zeros(size + 1), np.zeros((2, 3, size)), {"a": np.zeros(size)}, None, "x"):
            with pytest.raises(UserError, match=rf"acts on observations of .*{size}"):
                use(wrong)
    with pytest.raises(UserError, match="no recurrent state"):
        policy.predict(np.zeros(size), True)


# ---- observations of other spaces ---------------------------------------------------------------------------------------

ORIGINALS = {
    "dict": spaces.Dict(place=spaces.Box(-2.0, 2.0, (2,)), goal=spaces.Discrete(3), image=spaces.Box(0.0, 1.0, (2, 2))),
    "tuple": spaces.Tuple([spaces.Box(-2.0, 2.0, (3,)), spaces.MultiBinary(2)]),
    "nested": spaces.Dict(a=spaces.Tuple([spaces.Discrete(2), spaces.Box(-1.0, 1.0, (1,))]), b=spaces.Discrete(2, start=5)),
    "choice": spaces.Discrete(4),
    "choices": spaces.MultiDiscrete([2, 3]),
    "matrix": spaces.Box(-1.0, 1.0, (3, 2)),
}


def flat_space(original) -> FlatBox:
    flat = spaces.flatten_space(original)
    return FlatBox.of(spaces.Box(flat.low, flat.high, dtype=flat.dtype.type), original)


@pytest.mark.parametrize("name", ORIGINALS)
def test_observations_of_every_space_alone_and_in_batches(name):
    original = ORIGINALS[name]
    space = flat_space(original)
    original.seed(3)
    samples = [original.sample() for _ in range(5)]
    expected = np.array([spaces.flatten(original, sample) for sample in samples], np.float64)
    for sample, row in zip(samples, expected, strict=True):
        rows, single = rows_of(sample, space)
        assert single
        np.testing.assert_array_equal(rows, row[np.newaxis])
    for count in (5, 1):
        batch = gymnasium.vector.utils.concatenate(
            original, samples[:count], gymnasium.vector.utils.create_empty_array(original, count)
        )
        for several in (batch, samples[:count]):
            rows, single = rows_of(several, space)
            assert not single
            np.testing.assert_array_equal(rows, expected[:count])
    if not isinstance(original, spaces.Discrete):
        np.testing.assert_array_equal(rows_of(expected, space)[0], expected)  # flat, as `tasks.make` gives them
        assert rows_of(expected[0], space)[1]


@pytest.mark.parametrize("name", ORIGINALS)
def test_spaces_come_back_from_plain_data(name):
    space = space_trees.from_tree(space_trees.to_tree(flat_space(ORIGINALS[name])))
    assert isinstance(space, FlatBox) and space == flat_space(ORIGINALS[name]) and space.original == ORIGINALS[name]
    again = pickle.loads(pickle.dumps(space))
    assert again.original == space.original


WRONG = [
    ("dict", {"place": np.zeros(2), "goal": 1}, "without 'image'"),
    ("dict", {"place": np.zeros(3), "goal": 1, "image": np.zeros((2, 2))}, "in its part 'place'"),
    ("dict", {"place": np.zeros((2, 2)), "goal": np.zeros(3, int), "image": np.zeros((2, 2, 2))}, "different lengths"),
    ("tuple", (np.zeros(3),), "2 values"),
    ("choice", 7, "whole number of Discrete"),
    ("choice", [0, 9], "whole number of Discrete"),
    ("matrix", np.zeros((2, 2)), "acts on observations of Box(-1.0, 1.0, (3, 2), float32), or a batch"),
    ("matrix", np.zeros((4, 2, 3)), "acts on observations of Box(-1.0, 1.0, (3, 2), float32), or a batch"),
    ("choices", np.zeros((2, 4)), "acts on observations of MultiDiscrete([2 3]), or a batch"),
    ("dict", np.zeros((2, 4)), "acts on observations of Dict("),
]


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG)
def test_what_is_no_observation_of_the_space_is_named(name, value, sentence):
    with pytest.raises(UserError, match="acts on observations of") as caught:
        rows_of(value, flat_space(ORIGINALS[name]))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("alg", ["ppo", "es"])
@pytest.mark.parametrize("workers", [1, 2])
def test_dict_observations_as_the_environment_gives_them(alg, workers, tmp_path):
    sizes = {"ppo": {"nsteps": 16, "nminibatches": 2, "num_env": 2}, "es": {"population": 2, "num_env": 4}}[alg]
    folder = tmp_path / "run"
    with uncompiled():
        policy = wng_tf.learn(
            alg=alg, env="toy_envs:toy/Compass-v0", total_timesteps=64,
            log_path=folder, progress=False, num_workers=workers, num_hidden=4, **sizes,
        )  # fmt: skip
    with gymnasium.make("toy/Compass-v0") as env:
        observation, _ = env.reset(seed=1)
        action, _ = policy.predict(observation, deterministic=True)
        assert env.action_space.contains(action)
        assert wng_tf.load(folder).predict(observation, deterministic=True)[0] == action
        flat = spaces.flatten(env.observation_space, observation)
        assert policy.act(flat) == action
    with pytest.raises(UserError, match="without 'height'"):
        policy.predict({"arrow": 1})


# ---- handmade policies --------------------------------------------------------------------------------------------------


def handmade(space: spaces.Space, **changes) -> SavedPolicy:
    head = heads.stochastic(space)
    spec = PolicySpec(Network.of_dense(((3, 5, "tanh"), (5, head.num_outputs, "linear"))), head)
    theta = np.random.default_rng(1).normal(size=spec.num_parameters).astype(np.float32)
    made = SavedPolicy(
        spec, theta, RunningNormalizer(np.full(3, 1e3), np.ones(3)), spaces.Box(-np.inf, np.inf, (3,), np.float64), space
    )
    return dataclasses.replace(made, **changes)


def test_neglogpacs_are_those_of_the_actions_returned():
    """Clipped and rounded actions have the density that whoever stored them computes again."""
    for space in (spaces.Box(-0.1, 0.1, (2,)), spaces.Box(-3, 3, (2,), np.int32), spaces.Box(-1.0, 1.0, (2,), np.float64)):
        policy = handmade(space)
        seen = np.random.default_rng(0).normal(1e3, 1.0, (200, 3))
        actions, values, _, neglogpacs = policy.step(seen)
        assert values is None and all(map(space.contains, actions))
        outputs = policy.spec.network.forward(policy.spec.materialise(policy.theta), policy.normalizer(seen))
        expected = tfp.distributions.MultivariateNormalDiag(outputs, np.exp(policy.theta[-2:]))
        np.testing.assert_allclose(neglogpacs, -expected.log_prob(actions.astype(np.float32)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("space", [spaces.Discrete(5), spaces.Box(-1.0, 1.0, (2,))])
def test_log_probabilities_in_numpy_are_those_of_the_distribution(space):
    head = heads.stochastic(space)
    rng = np.random.default_rng(0)
    outputs = (rng.normal(size=(50, head.num_outputs)) * 4.0).astype(np.float32)
    free = rng.normal(size=head.num_free).astype(np.float32)
    actions = head.acts(outputs, head.draw(free, rng, 50))
    general = super(type(head), head).log_prob(outputs, free, actions)
    np.testing.assert_allclose(head.log_prob(outputs, free, actions), general, rtol=1e-4, atol=1e-4)


def test_a_file_that_is_no_policy_is_one_sentence(tmp_path, trained):
    (tmp_path / "text").write_text("no policy")
    with pytest.raises(UserError, match="text"):
        wng_tf.load(tmp_path / "text")
    with pytest.raises(UserError, match="There is no"):
        wng_tf.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no run in"):
        wng_tf.load(tmp_path)
    with pytest.raises(UserError, match="is a folder"):
        handmade(spaces.Discrete(2)).save(tmp_path)
    whole = handmade(spaces.Discrete(2)).save(tmp_path / "policy").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        wng_tf.load(tmp_path / "half")
    folder = trained("ppo on CartPole")
    by_file = wng_tf.load(folder / "checkpoints" / "best.npz")
    np.testing.assert_array_equal(by_file.theta, saved_policy.load(folder, "best").theta)
    assert by_file.about == {"alg": "ppo", "env": "CartPole-v1"}


def test_a_head_of_ones_own_is_saved(tmp_path):
    import own_heads

    parts.HEADS.register("bernoulli", own_heads.Bernoulli)
    try:
        policy = handmade(spaces.MultiBinary(2))
        loaded = wng_tf.load(policy.save(tmp_path / "policy"))
        seen = np.random.default_rng(0).normal(1e3, 1.0, (20, 3))
        np.testing.assert_array_equal(loaded.act(seen), policy.act(seen))
        actions, _, _, neglogpacs = policy.step(seen)
        outputs = policy.spec.network.forward(policy.spec.materialise(policy.theta), policy.normalizer(seen))
        expected = tfp.distributions.Independent(tfp.distributions.Bernoulli(outputs), 1).log_prob(actions)
        np.testing.assert_allclose(-neglogpacs, expected, rtol=1e-5)
    finally:
        parts.HEADS.remove("bernoulli")


# ---- the door -----------------------------------------------------------------------------------------------------------


def test_the_door_imports_no_tensorflow_until_it_is_used(trained):
    code = (
        "import sys; from wng_tf import learn, load; assert callable(learn)\n"
        f"load({str(trained('ppo on CartPole'))!r}).step([0.0] * 4)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"alg": "ppo", "num_basis": 7}, "--num_basis has no effect with --alg=ppo"),
        ({"alg": "es", "num_basis": 7}, "--num_basis has no effect with --alg=es"),
        ({"alg": "ppo", "eval_episodes": 7}, "--eval_episodes has no effect with --alg=ppo: it goes with --eval_interval"),
        ({"alg": "es", "eval_env": "CartPole-v1"}, "--eval_env has no effect with --alg=es: it goes with --eval_interval"),
        ({"alg": "wtrpo", "distance": "kl", "radius_unit": "absolute"}, "--radius_unit has no effect"),
        ({"alg": "es", "nsteps": 7}, "--nsteps is not a setting of evolution strategies"),
        ({"alg": "ppo", "population": 7}, "--population is not a setting of policy gradients"),
        ({"alg": "ppo", "learning_rate": 1e-3}, "Unknown setting 'learning_rate'.*Did you mean lr?"),
        ({"alg": "es", "sigmma": 1e-3}, "Unknown setting 'sigmma'.*Did you mean sigma"),
        ({"alg": "pppo"}, "Did you mean ppo"),
        ({"alg": "ppo", "log_dir": "x"}, "Did you mean log_path"),
        ({"alg": "ppo", "total_timesteps": 1.5}, "whole number, not 1.5"),
        ({"alg": "es", "total_timesteps": "many"}, "whole number, not 'many'"),
    ],
)
def test_the_door_refuses_what_the_command_refuses(given, sentence, monkeypatch):
    with pytest.raises(UserError, match=sentence):
        wng_tf.learn(**{"env": "CartPole-v1", "total_timesteps": 1, **given})
