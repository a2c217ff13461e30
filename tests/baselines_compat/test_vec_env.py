"""Vectorised environments: bookkeeping of episodes, collection against lock-step, processes."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from toy_envs import Broken, Choice, Drifting, Faulty, Refusing, Scripted, Spy

from baselines_compat.actor import ActorSpec
from baselines_compat.cmd_util import make_vec_env
from baselines_compat.errors import UserError
from baselines_compat.vec_env import (
    DummyVecEnv,
    NonFiniteError,
    Normalizer,
    NormalizerSettings,
    SubprocVecEnv,
    VecNormalize,
    WorkerError,
)

RAW = NormalizerSettings(ob=False, ret=False)
SCRIPT = ((3, "terminated"), (2, "truncated"), (4, "both"))


def gaussian_actor(obs: int, act: int, seed: int = 0) -> tuple[ActorSpec, np.ndarray]:
    spec = ActorSpec(((obs, 4, "tanh"), (4, act, "linear")), discrete=False)
    return spec, np.random.default_rng(seed).normal(scale=0.3, size=spec.size).astype(np.float32)


def categorical_actor(obs: int, choices: int) -> tuple[ActorSpec, np.ndarray]:
    spec = ActorSpec(((obs, choices, "linear"),), discrete=True)
    return spec, np.random.default_rng(0).normal(scale=0.3, size=spec.size).astype(np.float32)


def raw_normalizer(size: int) -> Normalizer:
    return Normalizer((size,), RAW)


def fields(arrays) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in vars(arrays).items()}


# ---- bookkeeping ----------------------------------------------------------------------------------------------------


@pytest.fixture
def scripted() -> list[tuple[dict[str, np.ndarray], list]]:
    """Three segments of 4 steps over episodes of 3 (terminated), 2 (truncated) and 4 (both) steps."""
    with DummyVecEnv([functools.partial(Scripted, SCRIPT)]) as venv:
        segments = []
        for _ in range(3):
            arrays, episodes = venv.collect(*gaussian_actor(2, 1), 4, raw_normalizer(2))
            segments.append(({name: value[0] for name, value in fields(arrays).items()}, episodes[0]))
        return segments


def test_observations_run_through_episodes_and_segments(scripted):
    seen = np.concatenate([arrays["observations"] for arrays, _ in scripted])
    expected = [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (2, 2),
        (2, 3),
        (3, 0),
        (3, 1),
        (3, 2),
    ]
    np.testing.assert_array_equal(seen, np.float32(expected))


def test_terminated_truncated_and_both_are_kept_apart(scripted):
    terminated = np.concatenate([arrays["terminated"] for arrays, _ in scripted])
    truncated = np.concatenate([arrays["truncated"] for arrays, _ in scripted])
    np.testing.assert_array_equal(np.flatnonzero(terminated), [2, 8, 11])
    np.testing.assert_array_equal(np.flatnonzero(truncated), [4, 8])


def test_final_observations_stand_where_an_episode_or_the_segment_ends(scripted):
    final = np.concatenate([arrays["final_observations"] for arrays, _ in scripted])
    expected = np.zeros((12, 2), np.float32)
    expected[2] = (0, 3)  # terminated
    expected[3] = (1, 1)  # end of the segment, inside an episode
    expected[4] = (1, 2)  # truncated
    expected[7] = (2, 3)  # end of the segment
    expected[8] = (2, 4)  # both
    expected[11] = (3, 3)  # terminated at the end of the segment
    np.testing.assert_array_equal(final, expected)


def test_rewards_stay_as_the_environment_gave_them(scripted):
    rewards = np.concatenate([arrays["raw_rewards"] for arrays, _ in scripted])
    np.testing.assert_array_equal(rewards, [1, 2, 3, 11, 12, 21, 22, 23, 24, 31, 32, 33])
    np.testing.assert_array_equal(rewards, np.concatenate([arrays["rewards"] for arrays, _ in scripted]))


def test_episodes_are_recorded_in_the_segment_in_which_they_end(scripted):
    assert [[(e.r, e.l) for e in episodes] for _, episodes in scripted] == [
        [(6.0, 3)],
        [(23.0, 2)],
        [(90.0, 4), (96.0, 3)],
    ]
    times = [e.t for _, episodes in scripted for e in episodes]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 600


def test_lock_step_resets_at_once_and_says_how_the_episode_ended():
    with DummyVecEnv([functools.partial(Scripted, SCRIPT)]) as venv:
        np.testing.assert_array_equal(venv.reset(), [[0, 0]])
        ends = []
        for _ in range(9):
            observations, rewards, dones, infos = venv.step([np.zeros(1)])
            assert observations.shape == (1, 2)
            assert rewards.shape == dones.shape == (1,)
            assert ("terminal_observation" in infos[0]) == dones[0]
            if dones[0]:
                info, episode = infos[0], infos[0]["episode"]
                assert observations[0, 1] == 0
                end = (*info["terminal_observation"], info["TimeLimit.truncated"], episode["r"], episode["l"])
                ends.append(end)
        assert ends == [(0, 3, False, 6.0, 3), (1, 2, True, 23.0, 2), (2, 4, False, 90.0, 4)]


def test_actions_are_clipped_for_the_environment_and_stored_as_drawn():
    spec, flat = gaussian_actor(3, 3)
    flat[-3:] = 2.0  # wide: most draws leave the box
    sent = []

    class Recording(Drifting):
        def step(self, action):
            sent.append(action.copy())
            assert self.action_space.contains(action)
            return super().step(action)

    with DummyVecEnv([Recording]) as venv:
        arrays, _ = venv.collect(spec, flat, 50, raw_normalizer(3))
    assert np.abs(arrays.actions).max() > 1.0
    np.testing.assert_array_equal(np.clip(arrays.actions[0], -1.0, 1.0), sent)


def test_discrete_actions_are_counted_from_zero_and_sent_from_start():
    with DummyVecEnv([functools.partial(Choice, start=5)]) as venv:
        arrays, episodes = venv.collect(*categorical_actor(2, 3), 12, raw_normalizer(2))
    assert arrays.actions.dtype == np.int32
    assert set(np.unique(arrays.actions)) == {0, 1, 2}
    echoed = np.array(arrays.observations[0, 1:, 0])
    inside = ~arrays.terminated[0, :-1]
    np.testing.assert_array_equal(echoed[inside], arrays.actions[0, :-1][inside] + 5)
    right = arrays.actions[0] == np.arange(12) % 6 % 3
    np.testing.assert_array_equal(arrays.raw_rewards[0], right)
    assert [e.l for e in episodes[0]] == [6, 6]


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
@pytest.mark.parametrize("training", [True, False])
def test_normalized_rewards_go_on_from_a_state_inside_an_episode(kind, training):
    def make() -> VecNormalize:
        return VecNormalize(kind([functools.partial(Drifting, 50)] * 2, seed=3))

    actions = [np.sin(np.arange(6.0).reshape(2, 3) + t) for t in range(40)]
    with make() as venv:
        venv.reset()
        for t in range(20):
            venv.step(actions[t])
        venv.training = training
        state = venv.get_state()
        expected = [venv.step(actions[t])[:3] for t in range(20, 40)]
    with make() as other:
        other.set_state(state)
        for t, step in zip(range(20, 40), expected, strict=True):
            for ours, theirs in zip(other.step(actions[t])[:3], step, strict=True):
                np.testing.assert_array_equal(ours, theirs)


# ---- collection against lock-step -----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"ob": False}, {"ret": False}, {"clipob": 0.5, "cliprew": 0.05}])
def test_collecting_from_one_environment_is_lock_step_normalization(settings):
    make = functools.partial(Drifting, 7)
    with VecNormalize(DummyVecEnv([make], seed=3), gamma=0.9, **settings) as fast:
        segments = [fields(fast.collect(*gaussian_actor(3, 3), 10)[0]) for _ in range(3)]
        statistics = fast.ob_rms.state(), fast.ret_rms.state()
    collected = {name: np.concatenate([s[name][0] for s in segments]) for name in segments[0]}
    with VecNormalize(DummyVecEnv([make], seed=3), gamma=0.9, **settings) as slow:
        observation = slow.reset()
        for t in range(30):
            np.testing.assert_allclose(collected["observations"][t], observation[0], rtol=1e-6, atol=1e-6)
            observation, rewards, dones, infos = slow.step([collected["actions"][t]])
            np.testing.assert_allclose(collected["rewards"][t], rewards[0], rtol=1e-6, atol=1e-7)
            assert dones[0] == collected["truncated"][t]
            if dones[0]:
                np.testing.assert_allclose(
                    collected["final_observations"][t], infos[0]["terminal_observation"], rtol=1e-6, atol=1e-6
                )
        # Lock-step has seen the observation that the next segment would begin with.
        if slow.normalizer.settings.ob:
            assert slow.ob_rms.count == pytest.approx(statistics[0]["count"] + 1)
        if slow.normalizer.settings.ret:
            for key, value in statistics[1].items():
                np.testing.assert_allclose(value, slow.ret_rms.state()[key], rtol=1e-10)


def test_statistics_are_those_of_every_observation_of_every_environment():
    with VecNormalize(DummyVecEnv([Drifting] * 3, seed=1), gamma=0.9) as venv:
        seen, returns = [], []
        for slot in venv.venv.slots:  # the buffer that Drifting reuses must not reach the statistics
            step = slot.env.step

            def spying(action, step=step, slot=slot):
                seen.append(slot.env.state.copy())
                result = step(action)
                discounted = result[1] + 0.9 * (returns[-1] if slot.env.t > 1 else 0.0)
                returns.append(discounted)
                return result

            slot.env.step = spying
        for _ in range(2):
            returns.append(0.0)
            venv.collect(*gaussian_actor(3, 3), 7)
        samples = np.array(seen)
        np.testing.assert_allclose(venv.ob_rms.mean, samples.sum(axis=0) / (len(samples) + 1e-4), rtol=1e-9)
        np.testing.assert_allclose(venv.ob_rms.var, samples.var(axis=0), rtol=1e-3)
        assert venv.ret_rms.count == pytest.approx(42 + 1e-4)


def test_frozen_statistics_do_not_move():
    with VecNormalize(DummyVecEnv([Drifting], seed=1)) as venv:
        venv.collect(*gaussian_actor(3, 3), 20)
        venv.training = False
        before = venv.ob_rms.state(), venv.ret_rms.state()
        venv.reset()
        venv.step([np.zeros(3)])
        for old, new in zip(before, (venv.ob_rms.state(), venv.ret_rms.state()), strict=True):
            for key in old:
                np.testing.assert_array_equal(old[key], new[key])


# ---- state ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "actor"),
    [
        (Drifting, gaussian_actor(3, 3)),
        (functools.partial(gym.make, "InvertedPendulum-v5"), gaussian_actor(4, 1)),
        (functools.partial(Choice, start=0), categorical_actor(2, 3)),
    ],
)
@pytest.mark.parametrize("steps", [0, 5, 24])
def test_a_restored_environment_goes_on_as_if_nothing_had_happened(make, actor, steps):
    """Before the first step, inside the first episode (seeded), and inside a later one (its stream continued)."""
    with VecNormalize(DummyVecEnv([make] * 2, seed=5)) as venv:
        if steps:
            venv.collect(*actor, steps)
        state = venv.get_state()
        expected = fields(venv.collect(*actor, 30)[0])
        later = venv.get_state()
    with VecNormalize(DummyVecEnv([make] * 2, seed=5)) as other:
        other.set_state(state)
        actual, episodes = other.collect(*actor, 30)
        for name, value in fields(actual).items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
        np.testing.assert_equal(other.get_state(), later)


def test_episodes_that_a_restart_interrupts_keep_their_return_and_length():
    with DummyVecEnv([Drifting], seed=5) as venv:
        venv.collect(*gaussian_actor(3, 3), 10, raw_normalizer(3))
        state = venv.get_state()
        _, expected = venv.collect(*gaussian_actor(3, 3), 10, raw_normalizer(3))
    with DummyVecEnv([Drifting], seed=99) as other:
        other.set_state(state)
        _, actual = other.collect(*gaussian_actor(3, 3), 10, raw_normalizer(3))
    assert [(e.r, e.l) for e in actual[0]] == [(e.r, e.l) for e in expected[0]]
    assert actual[0][0].l == 7


def test_seeds_make_streams():
    def first(seed: int) -> np.ndarray:
        with DummyVecEnv([Drifting] * 2, seed=seed) as venv:
            return fields(venv.collect(*gaussian_actor(3, 3), 5, raw_normalizer(3))[0])["observations"]

    np.testing.assert_array_equal(first(7), first(7))
    assert not np.array_equal(first(7), first(8))
    assert not np.array_equal(first(7)[0], first(7)[1])


# ---- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "at", "last", "message"),
    [
        ("observation", 3, False, "Environment 0 met a non-finite observation at step 3"),
        ("observation", 3, True, "Environment 0 met a non-finite observation at step 3"),
        ("observation", 10, False, "Environment 0 met a non-finite observation at step 10"),
        ("reward", 4, False, "Environment 0 met a non-finite reward at step 3"),
        ("reward", 4, True, "Environment 0 met a non-finite reward at step 3"),
    ],
)
def test_what_is_not_finite_is_named(what, at, last, message):
    with VecNormalize(DummyVecEnv([functools.partial(Faulty, what, at, last)])) as venv:
        before = venv.normalizer.state()
        with pytest.raises(NonFiniteError, match=message):
            venv.collect(*gaussian_actor(3, 2), 10)
        np.testing.assert_equal(venv.normalizer.state(), before)


def test_an_action_that_is_not_finite_is_named():
    spec, flat = gaussian_actor(3, 2)
    flat[-1] = 1e30  # exp overflows
    venv = VecNormalize(DummyVecEnv([functools.partial(Faulty, "nothing", 1)]))
    with venv, np.errstate(over="ignore"), pytest.raises(NonFiniteError, match="non-finite action at step 0"):
        venv.collect(spec, flat, 10)


def test_an_environments_own_error_stays_what_it_is():
    with DummyVecEnv([Broken]) as venv, pytest.raises(RuntimeError, match="a wheel fell off"):
        venv.collect(*gaussian_actor(1, 1), 3, raw_normalizer(1))


# ---- processes ------------------------------------------------------------------------------------------------------

PARTS = [functools.partial(Drifting, 7)] * 3


@pytest.fixture(scope="module")
def begun():
    """Three environments in two workers, and their state before anything happens."""
    with VecNormalize(SubprocVecEnv(PARTS, seed=2, num_workers=2), gamma=0.9) as venv:
        yield venv, venv.get_state()


@pytest.fixture
def workers(begun):
    """The same workers for all tests below, which leave them usable; at their beginning for each."""
    venv, beginning = begun
    venv.set_state(beginning)
    return venv


@pytest.mark.parametrize("how", ["collect", "step"])
@pytest.mark.parametrize("make", [DummyVecEnv, functools.partial(SubprocVecEnv, num_workers=2)])
def test_the_state_before_the_beginning_is_restored_too(make, how):
    def segment(venv):
        return fields(venv.collect(*gaussian_actor(3, 3), 10)[0])

    with VecNormalize(make(PARTS, seed=2), gamma=0.9) as venv:
        beginning = venv.get_state()
        if how == "step":
            venv.reset()
            venv.step(np.zeros((3, 3)))
            venv.set_state(beginning)
        first = segment(venv)
        venv.set_state(beginning)
        np.testing.assert_equal(venv.get_state(), beginning)
        np.testing.assert_equal(segment(venv), first)
    with VecNormalize(DummyVecEnv(PARTS, seed=2), gamma=0.9) as fresh:
        np.testing.assert_equal(segment(fresh), first)


def test_the_number_of_workers_changes_no_bit(workers):
    with VecNormalize(DummyVecEnv(PARTS, seed=2), gamma=0.9) as here:
        for nsteps in (10, 10, 25):
            ours, our_episodes = here.collect(*gaussian_actor(3, 3), nsteps)
            theirs, their_episodes = workers.collect(*gaussian_actor(3, 3), nsteps)
            for name, value in fields(theirs).items():
                np.testing.assert_array_equal(value, fields(ours)[name], err_msg=name)
            strip = [[[(e.r, e.l) for e in one] for one in all_] for all_ in (our_episodes, their_episodes)]
            assert strip[0] == strip[1]
            np.testing.assert_equal(workers.get_state(), here.get_state())


def test_workers_restore_their_environments(workers):
    state = workers.get_state()
    expected = fields(workers.collect(*gaussian_actor(3, 3), 12)[0])
    workers.set_state(state)
    np.testing.assert_equal(fields(workers.collect(*gaussian_actor(3, 3), 12)[0]), expected)


def test_workers_step_as_this_process_does(workers):
    actions = np.random.default_rng(0).normal(size=(20, 3, 3))
    with DummyVecEnv(PARTS, seed=2) as here:
        here.set_state(workers.venv.get_state())
        np.testing.assert_array_equal(here.reset(), workers.venv.reset())
        for action in actions:
            ours, theirs = here.step(action), workers.venv.step(action)
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_equal(other, one)


def test_workers_are_small_and_import_no_tensorflow():
    with SubprocVecEnv([functools.partial(Spy, "Hopper-v5")], num_workers=1) as venv:
        arrays, _ = venv.collect(*gaussian_actor(2, 1), 3, raw_normalizer(2))
        heavy, megabytes = arrays.observations[0, -1]
    assert heavy == 0.0
    assert 10.0 < megabytes < 150.0


def test_a_worker_that_fails_is_reported_with_its_traceback():
    with (
        SubprocVecEnv([Broken]) as venv,
        pytest.raises(WorkerError, match="(?s)worker 0 failed.*a wheel fell off"),
    ):
        venv.collect(*gaussian_actor(1, 1), 3, raw_normalizer(1))


def test_a_worker_names_what_is_not_finite():
    message = "Environment 0 met a non-finite reward at step 1"
    with (
        SubprocVecEnv([functools.partial(Faulty, "reward", 2)]) as venv,
        pytest.raises(NonFiniteError, match=message),
    ):
        venv.collect(*gaussian_actor(3, 2), 4, raw_normalizer(3))


def test_an_environment_that_cannot_be_made_is_bad_input_wherever_it_is_made():
    with pytest.raises(ValueError, match="no such robot"):
        DummyVecEnv([Refusing])
    with pytest.raises(ValueError, match="no such robot"):
        SubprocVecEnv([Refusing])


def test_a_dead_worker_is_noticed():
    venv = SubprocVecEnv([Drifting] * 2, num_workers=2)
    try:
        os.kill(venv._workers[1].process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"worker 1 .*--resume"):
            venv.collect(*gaussian_actor(3, 3), 5, raw_normalizer(3))
        with pytest.raises(WorkerError, match=r"worker 1 .*--resume"):
            venv.reset()
    finally:
        venv.close()
    assert venv._workers == []


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"env_fns": []}, "env_fns must be a list of functions that make an environment, one at least, not []"),
        ({"env_fns": ["CartPole-v1"]}, "env_fns must be a list of functions"),
        ({"env_fns": "CartPole-v1"}, "env_fns must be a list of functions"),
        ({"env_fns": Drifting}, "env_fns must be a list of functions"),
        ({"seed": 1.5}, "seed must be a whole number from 0 on, not 1.5"),
        ({"seed": -1}, "seed must be a whole number from 0 on, not -1"),
        ({"seed": None}, "seed must be a whole number from 0 on, not None"),
        ({"timeout": "x"}, "timeout must be a number of seconds, not 'x'"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds, not nan"),
    ],
)
def test_what_environments_cannot_be_made_from_is_one_sentence(kind, given, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        kind(**{"env_fns": [Drifting], **given})


def test_how_many_workers_is_a_whole_number():
    for workers in (1.5, -1, "two"):
        with pytest.raises(UserError, match="num_workers must be a whole number from 1 on"):
            SubprocVecEnv([Drifting], num_workers=workers)
        with pytest.raises(UserError, match="num_workers must be a whole number from 0 on"):
            make_vec_env("CartPole-v1", 1, num_workers=workers)


def test_make_vec_env_makes_either_kind():
    with make_vec_env("CartPole-v1", 2, seed=1, env_kwargs={"render_mode": None}) as venv:
        assert isinstance(venv, DummyVecEnv)
        assert venv.num_envs == 2
        assert venv.reset().shape == (2, 4)
    with make_vec_env(Drifting, 2, num_workers=2) as venv:
        assert isinstance(venv, SubprocVecEnv)
        assert [w.indices for w in venv._workers] == [[0], [1]]


SCRIPT_HEAD = """
import functools, sys, time
sys.path.append({tests!r})
import numpy as np
from baselines_compat.actor import ActorSpec
from baselines_compat.vec_env import Normalizer, NormalizerSettings, SubprocVecEnv
from toy_envs import Drifting
spec = ActorSpec(((3, 3, "linear"),), discrete=False)

def start():
    venv = SubprocVecEnv([Drifting] * 2, num_workers=2)
    return venv, venv.collect(spec, np.zeros(spec.size, np.float32), 8, Normalizer((3,), NormalizerSettings()))
"""


def run_script(body: str) -> subprocess.Popen:
    head = SCRIPT_HEAD.format(tests=str(Path(__file__).parents[1]))
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", head + body], stdout=pipe, stderr=pipe, text=True)


def shared_memory_names() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("psm_*")}


@pytest.mark.parametrize("held", [False, True])
def test_shared_memory_is_released_in_silence(held):
    """Also where the caller still holds the arrays when the environments are closed."""
    body = "venv, (arrays, _) = start(); print(venv._memory.name)\n{}venv.close()\n{}"
    use = "assert np.isfinite(arrays.observations).all()\n"
    process = run_script(body.format("", use) if held else body.format("del arrays\n", ""))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert err == ""
    assert out.strip() not in shared_memory_names()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("busy", [False, True])
def test_workers_die_with_their_parent(busy):
    body = "venv, _ = start(); print(venv._memory.name, *[w.process.pid for w in venv._workers], flush=True)\n"
    wait = "while True: venv.reset()\n" if busy else "time.sleep(600)\n"
    process = run_script(body + wait)
    name, *pids = process.stdout.readline().split()
    pids = [int(pid) for pid in pids]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 300.0
    while time.monotonic() < deadline and (any(map(alive, pids)) or name in shared_memory_names()):
        time.sleep(0.05)
    assert not any(map(alive, pids))
    assert name not in shared_memory_names()
    process.stdout.close()
    process.stderr.close()
