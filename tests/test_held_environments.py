"""`learn(env=...)` with what people hold, in both families: the numbers are those of the id, and what it costs is said."""

from __future__ import annotations

import functools
import json

import gymnasium as gym
import held_envs
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from held_envs import Counting, Drift, Native
from short_runs import TINY, uncompiled

from baselines_compat.actor import ActorSpec
from baselines_compat.vec_env import (
    DummyVecEnv,
    GymVecEnv,
    Normalizer,
    NormalizerSettings,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    make_vec_env,
)
from wng_tf import evaluate
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as evolve
from wng_tf.policy_gradient.learn import learn
from wng_tf.training import run_folder

ID = "CartPole-v1"
SETTINGS = {**TINY, "nsteps": 48, "alg": "ppo", "total_timesteps": 192, "seed": 3, "progress": False}
ES = {"alg": "es", "total_timesteps": 400, "population": 3, "num_hidden": 4, "horizon": 20, "seed": 3, "progress": False}


@pytest.fixture(autouse=True)
def without_xla():
    with uncompiled():
        yield


def theta_of(env, **given) -> np.ndarray:
    seen = []
    learn(env=env, callback=lambda local: seen.append(local["learner"].theta.numpy()), **{**SETTINGS, **given})
    return seen[-1]


def make_pole() -> gym.Env:
    return gym.make(ID)


def test_one_environment_in_all_its_forms_gives_the_same_bits():
    own = make_pole()
    forms = {"object": own, "class": functools.partial(gym.make, ID), "function": make_pole, "lambda": lambda: gym.make(ID)}
    expected = theta_of(ID, nsteps=48)
    # "classic-control tasks" have settings of their own, and these forms are of that kind.
    for name, form in forms.items():
        assert np.array_equal(theta_of(form, nsteps=48), expected), name
    own.reset()  # it stays open


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_a_vector_env_gives_the_same_bits_as_the_id_in_every_mode(kind, mode):
    if kind is AsyncVectorEnv and mode == "NextStep":
        pytest.skip("its processes are slow to start; the other two modes are as good")
    own = kind([make_pole, make_pole], autoreset_mode=mode)
    try:
        found = theta_of(own)
        assert not own.closed
    finally:
        own.close()
    assert np.array_equal(found, theta_of(ID, num_env=2))


def test_a_vec_env_gives_the_same_bits_as_the_id_and_stays_open():
    venv = make_vec_env(ID, 2, SETTINGS["seed"])
    expected = theta_of(ID, num_env=2)
    assert np.array_equal(theta_of(venv), expected)
    venv.reset()
    assert np.array_equal(theta_of(VecNormalize(make_vec_env(ID, 2, SETTINGS["seed"]))), expected)


class Plain(VecEnv):
    """Somebody's own, with the least that there is to write."""

    def __init__(self, inner: VecEnv):
        super().__init__(inner.num_envs, inner.observation_space, inner.action_space)
        self.inner = inner

    def reset(self):
        return self.inner.reset()

    def step_wait(self):
        self.inner.step_async(self._actions)
        return self.inner.step_wait()


def test_a_vec_env_with_nothing_but_reset_and_step_gives_the_same_bits():
    assert np.array_equal(theta_of(Plain(make_vec_env(ID, 2, 9))), theta_of(make_vec_env(ID, 2, 9), seed=3)) is False
    assert np.array_equal(theta_of(Plain(make_vec_env(ID, 2, 3))), theta_of(ID, num_env=2))


def test_baselines_wrappers_of_several_environments_are_trained_through():
    wrapped = VecFrameStack(make_vec_env(ID, 2, SETTINGS["seed"]), 3)
    seen = []
    learn(env=wrapped, callback=lambda local: seen.append(local["batch"].observations.shape), **SETTINGS)
    assert set(seen) == {(96, 12)}


def collected(env: gym.vector.VectorEnv, nsteps: int):
    venv = GymVecEnv(env, seed=0)
    normalizer = Normalizer((2,), NormalizerSettings(ob=False, ret=False))
    spec = ActorSpec(((2, 1, "linear"),))
    return [venv.collect(spec, np.zeros(spec.size), nsteps, normalizer) for _ in range(2)]


MODES = {
    "native": lambda: Native((3, 2)),
    **{
        mode: functools.partial(SyncVectorEnv, [lambda: Counting(3), lambda: Counting(2)], autoreset_mode=mode)
        for mode in ("NextStep", "SameStep", "Disabled")
    },
}


@pytest.mark.parametrize("mode", MODES)
def test_segments_hold_real_steps_alone_and_what_followed_the_last(mode):
    """Every row by hand: no reset is taken for a step, and a time limit keeps the observation that it cut."""
    for env, length in enumerate((3, 2)):
        found = collected(MODES[mode](), nsteps=7)
        for segment, (arrays, episodes) in enumerate(found):
            own, rows = arrays.of(env), []
            for row in range(7):
                episode, t = own.observations[row]
                assert own.raw_rewards[row] == episode + t + 1
                over = t + 1 == length
                assert own.terminated[row] == (over and episode % 2 == 0)
                assert own.truncated[row] == (over and episode % 2 == 1)
                if over or row == 6:
                    assert tuple(own.final_observations[row]) == (episode, t + 1)
                rows.append((episode, t))
            for (e1, t1), (e2, t2) in zip(rows, rows[1:], strict=False):
                assert (e2, t2) == ((e1, t1 + 1) if t1 + 1 < length else (e1 + 1, 0))
            if mode != "native":  # there what one does while the other is reset is played and passed over
                assert rows[0] == ((segment * 7) // length, (segment * 7) % length)
            for record in episodes[env]:
                assert record.l == length


def test_what_an_object_costs_is_said(tmp_path):
    learn(env=held_envs.Scaled(make_pole()), log_path=tmp_path / "one", **SETTINGS)
    log = (tmp_path / "one" / "log.txt").read_text()
    assert "object(CartPoleEnv) is an object that cannot be made again" in log
    assert "no exact resume" in log
    assert "has to be given again" in log
    learn(env=make_pole(), log_path=tmp_path / "two", **SETTINGS)
    assert "The run is recorded as --env=CartPole-v1" in (tmp_path / "two" / "log.txt").read_text()
    learn(env=ID, log_path=tmp_path / "three", **SETTINGS)
    assert "cannot be made again" not in (tmp_path / "three" / "log.txt").read_text()


@pytest.mark.parametrize("family", [learn, evolve])
def test_a_run_in_an_object_is_resumed_and_evaluated_with_one_like_it(family, tmp_path):
    settings = SETTINGS if family is learn else ES
    folder = tmp_path / "run"
    family(env=Drift(), log_path=folder, **settings)
    with pytest.raises(UserError, match="give it again, as learn"):
        family(env=run_folder.flag_values(folder)["env"], log_path=folder, resume=True, **settings)
    with pytest.raises(UserError, match="give it again, as learn"):
        evaluate.evaluate_run(folder, 1)
    family(env=Drift(), log_path=folder, resume=True, **{**settings, "total_timesteps": settings["total_timesteps"] + 100})
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    found = evaluate.evaluate_run(folder, 2, env=Drift())
    assert found["deterministic"]["lengths"] == [7, 7]
    with pytest.raises(UserError, match="must be one environment"):
        evaluate.evaluate_run(folder, 1, env=make_vec_env("CartPole-v1", 2))


def test_evolution_in_an_object_or_by_a_function_gives_the_same_bits():
    thetas = []
    for env in ("held_envs:Drift", held_envs.make_drift, lambda: Drift(), Drift()):
        evolve(env=env, callback=lambda p, _: thetas.append(p.state.theta), **ES)
    quarters = np.array_split(np.array(thetas), 4)
    for other in quarters[1:]:
        np.testing.assert_array_equal(quarters[0], other)


def test_evolution_refuses_what_steps_together():
    with pytest.raises(UserError, match="must be one environment, not object\\(DummyVecEnv\\) of 2"):
        evolve(env=make_vec_env(ID, 2), **ES)
    together = ", and num_env={} if so many are to step together."
    for env, instead in {
        make_vec_env(ID, 2): f"give env='{ID}', or a function that makes one of them",
        make_vec_env(Drift, 2): "give its id, or a function that makes one of them",
        SyncVectorEnv([lambda: gym.make(ID)] * 3): f"give env='{ID}', or a function",
    }.items():
        with pytest.raises(UserError) as error:
            evolve(env=env, **ES)
        assert instead in str(error.value) and str(error.value).endswith(together.format(env.num_envs))
        env.close()


@pytest.mark.parametrize(("family", "settings"), [(learn, {**SETTINGS, "num_env": 2}), (evolve, ES)])
@pytest.mark.parametrize("timeout", [0.0, 60.0])
def test_one_environment_is_not_taken_for_several(family, settings, timeout, tmp_path):
    one = Drift()
    for make in (lambda: one, lambda: held_envs.Scaled(one)):
        with pytest.raises(UserError, match="returned the same environment again: let it make a new one each time"):
            family(env=make, env_timeout=timeout, log_path=tmp_path / "run", **settings)
    with pytest.raises(UserError, match="returned the same environment again"):
        DummyVecEnv([lambda: one] * 2)
    family(env=lambda: one, **{**settings, "num_env": 1})  # of which there is one


@pytest.mark.parametrize(("family", "settings"), [(learn, SETTINGS), (evolve, ES)])
def test_training_is_not_evaluated_in_its_own_object(family, settings):
    one = Drift()
    for other in (one, held_envs.Scaled(one)):
        with pytest.raises(UserError, match="eval_env is the object that training uses"):
            family(env=one, eval_env=other, eval_interval=64, **settings)


@pytest.mark.parametrize("family", [learn, evolve])
def test_arguments_and_wrappers_are_recorded_and_used_everywhere(family, tmp_path):
    settings = dict(SETTINGS if family is learn else ES)
    options = {"env_kwargs": {"scale": 10.0, "limit": 5}, "env_wrapper": [held_envs.Scaled, "held_envs:Shifted"]}
    returns, workers = {}, {"num_env": 2} if family is learn else {"num_env": 3}
    for name, more in {"one": {}, "two": {"num_workers": 2}}.items():
        folder = tmp_path / name
        family(env="held_envs:Drift", log_path=folder, **options, **settings, **workers, **more)
        returns[name] = json.loads((folder / "summary.json").read_text())["eprewmean"]
        flags = run_folder.flag_values(folder)
        assert flags["env_kwargs"] == '{"limit": 5, "scale": 10.0}'
        assert flags["env_wrapper"] == "held_envs:Scaled,held_envs:Shifted"
    assert returns["one"] == returns["two"] < -100  # twenty times the sum of five distances, plus five
    found = evaluate.evaluate_run(tmp_path / "one", 2, trust=True)
    assert found["deterministic"]["lengths"] == [5, 5]
    assert found["deterministic"]["mean"] < -100
    for changed in ({"env_kwargs": {"scale": 10.0}}, {"env_wrapper": None}):
        with pytest.raises(UserError, match="--env_"):
            family(
                env="held_envs:Drift", log_path=tmp_path / "one", resume=True, **{**options, **settings, **workers, **changed}
            )
    family(env="held_envs:Drift", log_path=tmp_path / "one", resume=True, **options, **settings, **workers)
