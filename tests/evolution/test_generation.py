"""Rollouts of a population against one environment at a time, and against themselves cut differently."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from baselines_compat.vec_env.slot import NonFiniteError
from wng_tf.envs import tasks
from wng_tf.envs.point import PointVectorEnv
from wng_tf.evolution import population
from wng_tf.evolution.env_partitions import EnvPartitions, make_partitions
from wng_tf.evolution.generation import Generation
from wng_tf.policies import heads, networks
from wng_tf.policies.normalizers import Normalizer
from wng_tf.policies.saved import SavedPolicy
from wng_tf.policies.spec import PolicySpec

TOY = "toy_worlds:Countdown-v0"


def prepare(name, pairs=4, network="mlp", hidden=(5,), horizon=30, scale=1.0):
    """A population with its seeds and noise: everything that a generation takes."""
    env = tasks.make(name)
    head = heads.deterministic(env.action_space)
    build = {"toeplitz": networks.toeplitz, "mlp": networks.mlp}[network]
    spec = PolicySpec(build(env.observation_space.shape[0], hidden, head.num_outputs), head)
    theta = scale * spec.network.initial(np.random.default_rng(0))
    thetas = np.concatenate([population.mirrored(theta, population.perturbations(0, 0, (pairs, len(theta))), 0.3), [theta]])
    seeds = population.start_seeds(0, 0, pairs, 1, "none")
    noise = population.action_noise(0, 0, horizon, pairs, 1, head.num_outputs)
    rng = np.random.default_rng(1)
    shape = spec.observations
    shift, scale = 0.1 * rng.standard_normal(shape), 0.5 + rng.random(shape)
    return spec, thetas, seeds, noise, Normalizer(shift.astype(np.float32), scale.astype(np.float32))


def run(name, setup, *, chunk=None, workers=1, horizon=30, action_noise=0.0, **kwargs):
    spec, thetas, seeds, noise, normalizer = setup
    if spec.head.num_noise:
        spec = replace(spec, head=replace(spec.head, noise=action_noise))
    else:
        noise = None
    partitions = make_partitions(tasks.resolve(name), chunk or len(thetas), workers)
    try:
        return Generation(spec, partitions, horizon, **kwargs)(thetas, seeds, noise, normalizer)
    finally:
        partitions.close()


def one_by_one(name, setup, horizon, action_noise):
    """Every rollout alone, in the single environment, with the NumPy policy."""
    spec, thetas, seeds, noise, normalizer = setup
    env = tasks.make(name)
    for n, (theta, seed) in enumerate(zip(thetas, seeds, strict=True)):
        policy = SavedPolicy(spec, theta, normalizer, env.observation_space, env.action_space)
        observation, _ = env.reset(seed=seed)
        observations, actions, rewards = [], [], []
        for t in range(horizon):
            action = policy.act(observation)
            if spec.head.num_noise:
                half = spec.head.noise_scale()
                low, high = env.action_space.low, env.action_space.high
                action = np.clip(action + half * np.float32(action_noise) * noise[t, n], low, high)
            observations.append(observation)
            actions.append(action)
            observation, reward, terminated, truncated, _ = env.step(action)
            rewards.append(reward)
            if terminated or truncated:
                break
        yield np.array(observations), np.array(actions), np.array(rewards), observation


def assert_same(a, b):
    np.testing.assert_array_equal(a.returns, b.returns)
    np.testing.assert_array_equal(a.observation_squares, b.observation_squares)
    for name in ("rewards", "lengths", "final_observations", "observation_sums", "observations", "actions"):
        np.testing.assert_array_equal(getattr(a.trajectories, name), getattr(b.trajectories, name))


@pytest.mark.parametrize(
    ("name", "network", "noise"),
    [("Point", "toeplitz", 0.1), ("Hopper-v5", "mlp", 0.05), ("CartPole-v1", "mlp", 0.0), (TOY, "mlp", 0.0)],
)
def test_against_one_environment_at_a_time(name, network, noise):
    setup = prepare(name, network=network)
    got = run(name, setup, action_noise=noise, every_step=True)
    trajectories = got.trajectories
    lengths = set()
    for n, (observations, actions, rewards, last) in enumerate(one_by_one(name, setup, 30, noise)):
        steps = len(rewards)
        lengths.add(steps)
        assert trajectories.lengths[n] == steps
        close = {"rtol": 1e-3, "atol": 1e-3}  # float32 actions in two libraries, through 30 steps of physics
        np.testing.assert_allclose(trajectories.rewards[n, :steps], rewards, **close)
        np.testing.assert_allclose(trajectories.observations[n, :steps], observations, **close)
        np.testing.assert_allclose(trajectories.final_observations[n], last, **close)
        np.testing.assert_allclose(trajectories.observation_sums[n], observations.sum(axis=0), rtol=1e-3, atol=0.05)
        np.testing.assert_allclose(got.observation_squares[n], (observations**2).sum(axis=0), rtol=1e-3, atol=0.5)
        assert got.returns[n] == pytest.approx(rewards.sum(), rel=1e-3, abs=1e-3)
        if not setup[0].head.num_noise:
            np.testing.assert_array_equal(trajectories.actions[n, :steps].argmax(axis=1), actions)
        else:
            np.testing.assert_allclose(trajectories.actions[n, :steps], actions, **close)
        assert (trajectories.rewards[n, steps:] == 0).all()
        assert (trajectories.observations[n, steps:] == 0).all()
    assert name == "Point" or len(lengths) > 1, "no episode ended early: the test shows nothing"


@pytest.mark.parametrize("name", ["Point", "Hopper-v5", "CartPole-v1"])
def test_chunks_do_not_matter(name):
    setup = prepare(name, network="toeplitz" if name == "Point" else "mlp", hidden=(16, 16))
    whole = run(name, setup, action_noise=0.1, every_step=True)
    for chunk in (1, 4, 20):
        assert_same(whole, run(name, setup, chunk=chunk, action_noise=0.1, every_step=True))


def test_threads_do_not_matter():
    for name, horizon in (("Point", 50), ("Quadruped", 8)):
        setup = prepare(name, horizon=horizon, network="toeplitz", hidden=(16,))
        one = run(name, setup, horizon=horizon, action_noise=0.1)
        assert_same(one, run(name, setup, horizon=horizon, workers=2, action_noise=0.1))
        assert_same(one, run(name, setup, horizon=horizon, workers=3, chunk=4, action_noise=0.1))


def test_worker_processes_do_not_matter():
    for name in ("Hopper-v5", TOY):
        setup = prepare(name, hidden=(16,))
        assert_same(run(name, setup), run(name, setup, workers=2, chunk=5))


def test_members_whose_episode_is_over_do_not_act_to_the_end():
    spec, thetas, seeds, noise, normalizer = prepare(TOY, pairs=20)
    partitions = make_partitions(tasks.resolve(TOY), len(thetas), 1)
    generation = Generation(spec, partitions, 30)
    (loop,) = generation.loops
    step, acted = loop._step, []

    def counted(actions):
        acted.append(len(actions))
        return step(actions)

    loop._step = counted
    lengths = generation(thetas, seeds, noise, normalizer).trajectories.lengths
    partitions.close()
    assert len(acted) == lengths.max()
    assert lengths.sum() <= sum(acted) < 2 * lengths.sum() + len(thetas)


def test_one_compiled_loop_serves_every_generation():
    setup = prepare("Point")
    spec, thetas, seeds, noise, normalizer = setup
    partitions = make_partitions(tasks.resolve("Point"), len(thetas), 2)
    generation = Generation(spec, partitions, 10)
    first = generation(thetas, seeds, noise, normalizer)
    second = generation(thetas + 0.1, seeds, noise, normalizer)
    assert (first.returns != second.returns).any()
    assert_same(first, generation(thetas, seeds, noise, normalizer))
    assert [loop._loop.experimental_get_tracing_count() for loop in generation.loops] == [1, 1]
    partitions.close()


@pytest.mark.parametrize("where", ["observation", "reward"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_a_number_is_named(where, workers):
    name = f"toy_worlds:Broken{where.capitalize()}-v0"
    setup = prepare(name)
    with pytest.raises(NonFiniteError, match=f"{where} at step 3"):
        run(name, setup, workers=workers)


def test_an_action_that_is_not_a_number_is_named():
    spec, thetas, seeds, noise, normalizer = prepare("Point")
    thetas[2] = np.nan
    with pytest.raises(NonFiniteError, match="action at step 1"):
        run("Point", (spec, thetas, seeds, noise, normalizer))


def test_without_noise_and_normalizer():
    """Observations are then seen as they are, beyond ±10 too, where the normalizer clips: Point's goal is at 25."""
    spec, thetas, seeds, noise, _ = prepare("Point", pairs=8, network="toeplitz", hidden=(8,), horizon=50, scale=0.1)
    setup = (spec, thetas, seeds, None, None)
    silent = run("Point", setup, horizon=50, normalize=False)
    assert_same(silent, run("Point", (spec, thetas, seeds, noise * 0, None), horizon=50, normalize=False))
    for n, (_, _, rewards, _) in enumerate(one_by_one("Point", setup[:3] + (noise, None), 50, 0.0)):
        np.testing.assert_allclose(silent.trajectories.rewards[n], rewards, rtol=1e-3, atol=1e-3)
    zero, one = np.zeros(6, np.float32), np.ones(6, np.float32)
    clipped = run("Point", (spec, thetas, seeds, None, Normalizer(zero, one)), horizon=50)
    assert np.abs(silent.returns - clipped.returns).max() > 1.0
    assert (silent.observation_squares == 0).all()
    assert (silent.trajectories.observation_sums == 0).all()
    assert silent.trajectories.actions is None


@pytest.mark.parametrize("name", [TOY, "Point"])
def test_worlds_are_vector_environments_in_parts(name):
    partitions = make_partitions(tasks.resolve(name), 5, 2)
    assert all(isinstance(part, gym.vector.VectorEnv) for part in partitions.parts)
    assert [part.num_envs for part in partitions.parts] == [3, 2]
    partitions.close()
    few = make_partitions(tasks.resolve(name), 1, 2)
    assert [part.num_envs for part in few.parts] == [1]
    few.close()


def test_more_parts_than_members():
    setup = prepare("Point", pairs=1)
    assert_same(run("Point", setup), run("Point", setup, workers=4, chunk=8))


def endless(parts=2):
    """A population of Point in parts whose episodes take a minute."""
    spec, thetas, seeds, noise, normalizer = prepare("Point", horizon=100_000)
    sizes = {1: (9,), 2: (5, 4)}[parts]
    partitions = EnvPartitions(tuple(PointVectorEnv(num, autoreset_mode="Disabled") for num in sizes))
    return partitions, Generation(spec, partitions, 100_000), thetas, (seeds, noise, normalizer)


def test_after_a_fault_in_one_part_the_others_stop():
    partitions, generation, thetas, rest = endless()
    thetas[1] = np.nan
    with pytest.raises(NonFiniteError, match="action at step 1"):
        generation(thetas, *rest)
    steps = [loop._record.step for loop in generation.loops]
    assert steps[1] == 1
    assert steps[0] < 50_000
    partitions.close()


def held_at_the_third_step(generation):
    """From its third step on, every loop waits until it is told to stop: nothing but that ends the generation."""
    held = threading.Event()

    def hold(loop, step):
        def holding(actions):
            if loop._record.step == 2:
                held.set()
                assert loop._stop.wait(60.0), "nobody said stop"
            return step(actions)

        loop._step = holding

    for loop in generation.loops:
        hold(loop, loop._step)
    return held


def interrupt_once(event):
    event.wait(60.0)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("parts", [1, 2])
def test_an_interruption_stops_all_parts_and_waits_for_them(parts):
    partitions, generation, thetas, rest = endless(parts)
    held = held_at_the_third_step(generation)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's own workers ignore it
    try:
        threading.Thread(target=interrupt_once, args=(held,), daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            generation(thetas, *rest)
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(loop._record.step <= 3 for loop in generation.loops)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    partitions.close()


def test_an_interruption_while_the_parts_begin_stops_those_that_have(monkeypatch):
    partitions, generation, thetas, rest = endless(2)
    held, begin = held_at_the_third_step(generation), ThreadPoolExecutor.submit

    def interrupted(executor, run, loop, share):
        if loop is generation.loops[1]:
            held.wait(60.0)
            raise KeyboardInterrupt
        return begin(executor, run, loop, share)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generation(thetas, *rest)
    assert [loop._record.step for loop in generation.loops] == [3, 0]
    partitions.close()
