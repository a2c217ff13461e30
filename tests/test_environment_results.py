"""What environments return is taken where its meaning is clear, and refused by one sentence where it is not: everywhere."""

from __future__ import annotations

import re

import numpy as np
import odd_envs
import pytest
from short_runs import TINY, progress, uncompiled

from baselines_compat.errors import NonFiniteError, UnusableOutput, UserError
from baselines_compat.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize, make_vec_env
from wng_tf import evaluate, saved_policy
from wng_tf.envs import tasks
from wng_tf.envs.guarded import Guarded
from wng_tf.evolution.frozen_vector_env import FrozenVectorEnv
from wng_tf.evolution.learn import learn as evolve
from wng_tf.policy_gradient.learn import learn
from wng_tf.training import checkpoint, run_folder

ODD = "odd_envs:odd/"


def name_of(argument: str, what: str) -> str:
    return f"{ODD}{argument}-{what.replace(' ', '-')}-v0"


def train(family: str, env: str, workers: int = 1, log_path=None, **more) -> None:
    if family == "es":
        evolve(env=env, alg="es", population=3, num_workers=workers, log_path=log_path, **{"total_timesteps": 50, **more})
    else:
        settings = {**TINY, "num_env": workers, "num_workers": workers, "total_timesteps": 64, **more}
        with uncompiled():
            learn(env=env, alg="ppo", log_path=log_path, **settings)


def slot_steps(env: str, count: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, rewards and ends of lock-step rollouts."""
    with make_vec_env(lambda: tasks.make(env), 1, seed=3) as venv:
        seen, rewards, dones = [venv.reset()[0]], [], []
        for _ in range(count):
            observation, reward, done, _ = venv.step([np.array([0.75], np.float32)])
            seen.append(observation[0])
            rewards.append(reward[0])
            dones.append(done[0])
    return np.array(seen), np.array(rewards), np.array(dones)


def world_steps(env: str, count: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of a world of a population."""
    worlds = FrozenVectorEnv(env, 1)
    seen, rewards, dones = [worlds.reset(seed=[3])[0][0]], [], []
    for _ in range(count):
        observation, reward, terminated, *_ = worlds.step(np.array([[0.75]], np.float32))
        seen.append(observation[0])
        rewards.append(reward[0])
        dones.append(terminated[0])
    worlds.close()
    return np.array(seen), np.array(rewards), np.array(dones)


# ---- clear ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [slot_steps, world_steps])
@pytest.mark.parametrize("what", odd_envs.REWARDS)
def test_a_reward_is_the_number_that_it_holds(steps, what):
    seen, rewards, dones = steps(name_of("reward", what))
    plain = steps(name_of("reward", "float"))
    expected = [float(np.ravel(np.asarray(odd_envs.REWARDS[what](r)).astype(np.float64))[0]) for r in plain[1]]
    np.testing.assert_array_equal(rewards, expected)
    np.testing.assert_array_equal(seen, plain[0])
    np.testing.assert_array_equal(dones, plain[2])


@pytest.mark.parametrize("steps", [slot_steps, world_steps])
@pytest.mark.parametrize("what", odd_envs.OBSERVATIONS)
@pytest.mark.parametrize("argument", ["observation", "first"])
def test_an_observation_is_the_vector_that_it_holds(steps, what, argument):
    seen, *_ = steps(name_of(argument, what))
    plain = steps(name_of("reward", "float"))[0]
    changed = {"integers": lambda x: np.trunc(4 * x), "bools": lambda x: x > 0}.get(what, lambda x: x)
    odd = slice(0, 1) if argument == "first" else slice(1, 7)
    np.testing.assert_allclose(seen[odd], changed(plain[odd]), rtol=0.01 if "16" in what else 0)


@pytest.mark.parametrize("steps", [slot_steps, world_steps])
@pytest.mark.parametrize("what", odd_envs.FLAGS)
def test_an_end_is_the_truth_value_that_it_holds(steps, what):
    np.testing.assert_array_equal(steps(name_of("flag", what))[2], steps(name_of("reward", "float"))[2])


@pytest.mark.parametrize("what", odd_envs.PARTS)
def test_parts_of_an_observation_are_what_they_hold(what):
    np.testing.assert_array_equal(slot_steps(name_of("parts", what))[0], slot_steps(name_of("parts", "plain"))[0])


@pytest.mark.parametrize("env", ["reward-shape-1", "reward-bfloat16", "observation-column", "flag-shape-1", "parts-arrays"])
def test_segments_equal_lock_step(env):
    """`collect` has checks of its own."""
    from baselines_compat.actor import ActorSpec

    def make():
        return tasks.make(f"{ODD}{env}-v0")

    with VecNormalize(DummyVecEnv([make], seed=3)) as fast, VecNormalize(DummyVecEnv([make], seed=3)) as slow:
        size = fast.observation_space.shape[0]
        spec = ActorSpec(((size, 1, "linear"),), discrete=False)
        arrays, _ = fast.collect(spec, np.linspace(-0.1, 0.1, spec.size).astype(np.float32), 20)
        observation = slow.reset()
        for t in range(20):
            np.testing.assert_allclose(arrays.observations[0, t], observation[0], rtol=1e-5, atol=1e-6)
            observation, reward, done, _ = slow.step([arrays.actions[0, t]])
            np.testing.assert_allclose(arrays.rewards[0, t], reward[0], rtol=1e-5, atol=1e-6)
            assert done[0] == arrays.terminated[0, t]


@pytest.mark.parametrize("family", ["es", "ppo"])
@pytest.mark.parametrize("env", ["reward-shape-1", "observation-list"])
def test_whole_runs_and_their_evaluations_take_them(family, env, tmp_path):
    train(family, f"{ODD}{env}-v0", log_path=tmp_path / "run")
    result = evaluate.evaluate_run(tmp_path / "run", episodes=2)
    assert result["deterministic"]["mean_length"] == 7.0


# ---- not clear ------------------------------------------------------------------------------------------------------

BAD = [("reward", what) for what in odd_envs.BAD_REWARDS]
BAD += [(argument, what) for what in odd_envs.BAD_OBSERVATIONS for argument in ("observation", "first")]
BAD += [("flag", what) for what in odd_envs.BAD_FLAGS]
BAD += [("parts", what) for what in odd_envs.BAD_PARTS]
WORDS = {"reward": "the reward", "flag": "terminated"}


def assert_one_sentence(error: BaseException, *words: str) -> None:
    text = str(error)
    assert "\n" not in text and "odd/" in text, text
    for word in words:
        assert re.search(word, text), text


@pytest.mark.parametrize("steps", [slot_steps, world_steps])
@pytest.mark.parametrize(("argument", "what"), BAD)
def test_what_has_no_clear_meaning_is_refused(steps, argument, what):
    with pytest.raises(UnusableOutput) as caught:
        steps(name_of(argument, what))
    where = [] if argument == "parts" else ["reset" if argument == "first" else "step"]
    assert_one_sentence(caught.value, WORDS.get(argument, "observation"), *where)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("family", ["es", "ppo"])
@pytest.mark.parametrize("env", ["reward-none", "observation-one", "first-scalar", "parts-transposed"])
def test_runs_refuse_it_with_one_worker_and_several(family, env, workers):
    with pytest.raises(UserError) as caught:
        train(family, f"{ODD}{env}-v0", workers)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("where", ["slot", "world", "process", "workers", "evaluation"])
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("reset", "has a reset of the old"),
        ("seed", "takes no seed"),
        ("options", "takes no options"),
        ("step", "has a step of the old"),
        ("parts", "has a reset of the old"),
    ],
)
def test_the_old_interface_is_named(where, what, said):
    env = f"{ODD}old-{what}-v0"
    with pytest.raises(UnusableOutput) as caught:
        if where == "slot":
            slot_steps(env)
        elif where == "world":
            world_steps(env)
        elif where == "process":
            worlds = FrozenVectorEnv(env, 1, own_process=True)
            try:
                worlds.reset(seed=[3])
                worlds.step(np.zeros((1, 1), np.float32))
            finally:
                worlds.close()
        elif where == "workers":
            import functools

            with SubprocVecEnv([functools.partial(tasks.make, env)]) as venv:
                venv.reset()
                venv.step([np.zeros(1)])
        else:
            policy = type("Still", (), {"act": lambda *_: np.zeros(1, np.float32)})()
            with Guarded(env) as world:
                evaluate.play(policy, world, 1, 0, deterministic=True)
    assert_one_sentence(caught.value, said)


@pytest.mark.parametrize("steps", [slot_steps, world_steps])
@pytest.mark.parametrize("count", [None, 3, 6])
def test_another_number_of_values_is_not_called_the_old_interface(steps, count):
    with pytest.raises(UnusableOutput) as caught:
        steps(f"{ODD}steps-{count}-v0")
    assert_one_sentence(caught.value, "from step")
    assert "old Gym" not in str(caught.value)


def test_without_wrappers_the_old_interface_is_named_too():
    for make, said in ((odd_envs.OldReset, "reset"), (odd_envs.OldSeed, "seed"), (odd_envs.OldStep, "step")):
        with DummyVecEnv([make]) as venv, pytest.raises(UnusableOutput, match=said):
            venv.reset()
            venv.step([np.zeros(1)])


# ---- too large ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("family", "env", "more"),
    [
        ("ppo", "reward-1e160", {}),
        ("ppo", "reward-1e200", {"normalize_rewards": False}),
        ("ppo", "reward-1e308", {}),
        ("ppo", "observation-1e160", {}),
        ("ppo", "observation-1e200", {"normalize_observations": False}),
        ("es", "reward-1e160", {}),
        ("es", "reward-1e308", {}),
        ("es", "observation-1e200", {}),
        ("es", "observation-1e200", {"normalize_observations": False}),
    ],
)
def test_finite_numbers_that_overflow_stop_the_run_and_keep_the_last_checkpoint(family, env, more, workers, tmp_path):
    folder = tmp_path / "run"
    sizes = {"total_timesteps": 10_000, "save_interval": 1, **more}
    if family == "ppo":
        sizes["nsteps"] = 32 if workers == 1 else 16
    with pytest.raises(NonFiniteError, match="large|overflow|infinite return") as caught:
        train(family, f"{ODD}huge-{env}-v0", workers, folder, **sizes)
    assert re.search("reward|return" if "reward" in env else "observation", str(caught.value).lower())
    step, state = checkpoint.load(folder / run_folder.CHECKPOINTS)
    assert step > 0 and not _holds_nan(state["learner"])
    if family == "ppo":
        for statistics in state["learner"]["env"]["normalizer"].values():
            assert np.isfinite(statistics["mean"]).all() and np.isfinite(statistics["m2"]).all()
    assert int(float(progress(folder)[-1]["misc/total_timesteps"])) == step
    policy = saved_policy.load(folder)
    assert np.isfinite(policy.act(np.ones(2, np.float32))).all()


def _holds_nan(tree) -> bool:
    if isinstance(tree, dict):
        return any(map(_holds_nan, tree.values()))
    if isinstance(tree, list):
        return any(map(_holds_nan, tree))
    return isinstance(tree, np.ndarray) and tree.dtype.kind == "f" and bool(np.isnan(tree).any())


# ---- saved policies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ppo on Hopper", "wnes on Point"])
def test_saved_policies_act_on_observations_of_their_size_only(name, trained):
    policy = saved_policy.load(trained(name))
    size = policy.observation_space.shape[0]
    one = np.random.default_rng(0).normal(size=size).astype(np.float32)
    action = policy.act(one)
    for same in (one.tolist(), tuple(one), one[:, np.newaxis], one.astype(object), np.ma.array(one)):
        np.testing.assert_array_equal(policy.act(same), action)
    assert policy.act(one[np.newaxis]).shape == (1, *action.shape)
    assert policy.act(np.zeros((0, size))).shape == (0, *action.shape)
    for wrong in (one[:1], one[:-1], 0.0, None, "text", {"a": one}, np.zeros((3, 1)), np.zeros((2, 2, size)), one + 1j):
        with pytest.raises(UserError, match="acts on observations of"):
            policy.act(wrong)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        policy.act(np.full(size, np.nan))
