"""Every action that an environment gets is of its space, in its dtype, and its own to keep: wherever a policy acts."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from short_runs import TINY, uncompiled
from toy_envs import KEPT_SPACES

from wng_tf import evaluate, saved_policy
from wng_tf.evolution.learn import learn as evolve
from wng_tf.export import export_run
from wng_tf.policy_gradient.learn import learn

PLACES = [("es", space) for space in KEPT_SPACES]
PLACES += [("ppo", space) for space in ("float64", "int32", "uint8", "discrete")]  # which take longer


def environment(space: str) -> str:
    return f"toy_envs:toy/Keeping-{space}-v0"


def train(family: str, space: str, folder, workers: int = 1) -> None:
    if family == "es":
        evolve(env=environment(space), alg="es", total_timesteps=63, population=3, action_noise=2.0,
               num_workers=workers, log_path=folder)  # fmt: skip
    else:
        wide = {} if space == "discrete" else {"init_logstd": 3.0}
        settings = {**TINY, **wide, "num_env": workers, "num_workers": workers}
        with uncompiled():
            learn(env=environment(space), alg="ppo", total_timesteps=64, log_path=folder, **settings)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Trains a run of a family on a space, once."""
    made = {}

    def get(family: str, space: str):
        if (family, space) not in made:
            made[family, space] = tmp_path_factory.mktemp("runs") / f"{family}-{space}"
            train(family, space, made[family, space])
        return made[family, space]

    return get


@pytest.mark.parametrize(("family", "space"), PLACES)
def test_in_training_evaluation_policy_and_export(family, space, runs, tmp_path):
    folder = runs(family, space)
    evaluate.evaluate_run(folder, episodes=2)
    policy = saved_policy.load(folder)
    assert policy.action_space == KEPT_SPACES[space]
    seen = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    model = tf.saved_model.load(str(export_run(folder, output=tmp_path / "model"))).signatures
    seed = {"seed": tf.constant(1, tf.int64)} if family == "ppo" else {}
    likeliest = model["serving_default"](observation=tf.constant(seen))["action"].numpy()
    sampled = model["sample"](observation=tf.constant(seen), **seed)["action"].numpy()
    own = policy.act(seen), policy.act(seen, np.random.default_rng(0), deterministic=False)
    for actions in (likeliest, sampled, *own):
        assert actions.dtype == policy.action_space.dtype
        assert all(map(policy.action_space.contains, actions))
    one = policy.act(seen[0])
    assert policy.action_space.contains(one) and one.dtype == policy.action_space.dtype
    # Whole numbers may differ by one where the two ways of computing the output round to either side of a half.
    largest = np.abs(own[0].astype(np.float64)).max()
    np.testing.assert_allclose(likeliest.astype(np.float64), own[0].astype(np.float64), atol=1e-5 * max(largest, 1.0))


@pytest.mark.parametrize(("family", "space"), [("es", "float64"), ("es", "int32"), ("es", "discrete"), ("ppo", "float64")])
def test_in_worker_processes(family, space, tmp_path):
    train(family, space, tmp_path / "run", workers=2)


def test_bounds_that_float32_cannot_stretch_to_count_as_none():
    from gymnasium import spaces

    from wng_tf.policies import heads

    head = heads.deterministic(spaces.Box(-1e300, 1e300, (2,), np.float64))
    assert not head.bounded
    assert heads.deterministic(spaces.Box(-3e38, 3e38, (2,), np.float32)).bounded
