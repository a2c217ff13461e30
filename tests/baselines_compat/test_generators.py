"""Environments that draw from generators of their own go on after a resumption as if nothing had happened, or say so."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from unruly_envs import Walk

from baselines_compat.actor import ActorSpec
from baselines_compat.monitor import Monitor
from baselines_compat.vec_env import DummyVecEnv, Normalizer, NormalizerSettings, SubprocVecEnv, generators

MODULE_RNG = np.random.default_rng(5)


class Drawing(Walk):
    """Draws observations and lengths by `draw(low, high)`."""

    def draw(self) -> float:
        raise NotImplementedError

    def observe(self) -> np.ndarray:
        return np.array([self.draw(), self.draw()], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        self.seed_own(seed)
        self.t, self.length = 0, 3 + int(9 * self.draw())
        return self.observe(), {}

    def seed_own(self, seed: int | None) -> None:
        gym.Env.reset(self, seed=seed)


class OldRandomState(Drawing):
    def seed_own(self, seed):
        if seed is not None:
            self.np_random = np.random.RandomState(seed)

    def draw(self):
        return self.np_random.random_sample() + 1e-3 * self.np_random.randn()


class RaisingProperty(Drawing):
    """Its np_random cannot be asked for."""

    @property
    def np_random(self):
        raise AttributeError("this environment has no np_random")

    def seed_own(self, seed):
        if seed is not None:
            self.rng = np.random.Generator(np.random.SFC64(seed))

    def draw(self):
        return self.rng.random()


class Parts(Drawing):
    """Generators in a part, a list and a dict, made in the constructor and never seeded."""

    class Wind:
        def __init__(self):
            self.generators = [np.random.Generator(np.random.MT19937()), np.random.RandomState()]

    def __init__(self):
        super().__init__()
        self.wind, self.others = self.Wind(), {"gusts": random.Random(), 3: np.random.default_rng()}

    def draw(self):
        first, second = self.wind.generators
        return (first.random() + second.rand() + self.others["gusts"].random() + self.others[3].random()) / 4


class Gauss(Drawing):
    """Keeps half of a pair of normal numbers in the generator."""

    def seed_own(self, seed):
        if seed is not None:
            self.rng = random.Random(seed)

    def draw(self):
        return abs(np.tanh(self.rng.gauss(0.0, 1.0)))


class ReplacedEveryEpisode(Drawing):
    def seed_own(self, seed):
        super().seed_own(seed)
        self.rng = np.random.default_rng(self.np_random.integers(2**31))

    def draw(self):
        return self.rng.random()


class OfItsModule(Drawing):
    def draw(self):
        return MODULE_RNG.random()


class OfItsClass(Drawing):
    rng = np.random.default_rng(3)

    def draw(self):
        return self.rng.random()


class OfItsActionSpace(Drawing):
    def draw(self):
        return 0.5 + 0.49 * float(self.action_space.sample()[0])


class Shared(Drawing):
    """Draws from NumPy's own generator, as nobody should."""

    def draw(self):
        return np.random.rand()


class Remembering(Drawing):
    """Its episodes differ by their number, which nobody can know."""

    def __init__(self):
        super().__init__()
        self.episode = 0

    def seed_own(self, seed):
        super().seed_own(seed)
        self.episode += 1

    def draw(self):
        return (self.np_random.random() + 0.1 * self.episode) % 1.0


class Sticky(gym.Wrapper):
    """A wrapper with a generator that exists from its first seeded reset on."""

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        return self.env.step(action if self.rng.random() < 0.5 else -action * self.rng.random())


class Strict(Walk):
    """Refuses a reset before the end of its episode."""

    def __init__(self):
        super().__init__()
        self.over = True

    def reset(self, **kwargs: Any):
        if not self.over:
            raise RuntimeError("the episode is not over")
        self.over = False
        return super().reset(**kwargs)

    def step(self, action):
        result = super().step(action)
        self.over = result[2]
        return result


WATCHED: list[Callable[[], gym.Env]] = [
    Strict,
    lambda: Monitor(Walk(), None),
    lambda: Sticky(Strict()),
    lambda: gym.wrappers.TimeLimit(Monitor(Walk(), None), 4),
    lambda: gym.wrappers.OrderEnforcing(gym.wrappers.TimeLimit(Strict(), 5)),
]
OWN = [
    Walk,
    OldRandomState,
    RaisingProperty,
    Parts,
    Gauss,
    ReplacedEveryEpisode,
    OfItsModule,
    OfItsClass,
    OfItsActionSpace,
    lambda: Sticky(Walk()),
    lambda: Sticky(OldRandomState()),
]


def collect(venv: Any, steps: int) -> dict[str, np.ndarray]:
    """A segment of a fixed policy, without normalization."""
    spec = ActorSpec(((2, 4, "tanh"), (4, 1, "linear")), discrete=False)
    flat = np.random.default_rng(0).normal(scale=0.3, size=spec.size).astype(np.float32)
    arrays, _ = venv.collect(spec, flat, steps, Normalizer((2,), NormalizerSettings(ob=False, ret=False)))
    return {name: np.array(value) for name, value in vars(arrays).items()}


def go_on(make: Callable[[], gym.Env], collected: int, num_env: int = 1) -> tuple[Any, Any, list[str]]:
    """A segment after `collected` steps: without an interruption, and in fresh environments; and what those say."""
    with DummyVecEnv([make] * num_env, seed=4) as venv:
        for _ in range(collected // 10):
            collect(venv, 10)
        state = venv.get_state()
        expected = collect(venv, 40)
    with DummyVecEnv([make] * num_env, seed=77) as other:
        said = other.set_state(state)
        actual = collect(other, 40)
        said += other.remarks()
    return expected, actual, said


@pytest.mark.parametrize("collected", [10, 60])
@pytest.mark.parametrize("make", [*OWN, *WATCHED])
def test_a_resumed_environment_goes_on_as_before(make, collected):
    expected, actual, said = go_on(make, collected)
    np.testing.assert_equal(actual, expected)
    assert said == []


def test_generators_of_a_module_serve_several_environments():
    expected, actual, _ = go_on(OfItsModule, 10, num_env=2)
    np.testing.assert_equal(actual["observations"].shape, expected["observations"].shape)


@pytest.mark.parametrize("make", [Remembering, Shared])
def test_what_cannot_be_repeated_says_so(make):
    _, _, said = go_on(make, 60)
    assert said and all(line.endswith(".") for line in said)
    assert "resumed run" in said[-1] if make is Shared else "did not repeat its open episode" in said[0]


def test_shared_generators_are_told_of_once_they_are_used_and_not_before():
    with DummyVecEnv([Walk, Shared]) as venv:
        assert venv.remarks() == []
        collect(venv, 10)
        (line,) = venv.remarks()
    assert line.startswith("Environment 1 (Shared) draws from the generators that all modules share")


def test_workers_tell_too():
    with SubprocVecEnv([Walk, functools.partial(Shared)], num_workers=2) as venv:
        collect(venv, 10)
        assert len(venv.remarks()) == 1
        state = venv.get_state()
        state[0]["pending"] = state[0]["pending"] + 1.0
        assert any("Environment 0" in line and "did not repeat" in line for line in venv.set_state(state))


def test_an_episode_that_ends_too_early_in_the_replay_is_left():
    class Shorter(Walk):
        shorter = False

        def step(self, action):
            observation, reward, _, _, _ = super().step(action)
            return observation, reward, self.t >= (2 if self.shorter else 7), False, {}

    with DummyVecEnv([Shorter]) as venv:
        collect(venv, 5)
        state = venv.get_state()
    Shorter.shorter = True
    with DummyVecEnv([lambda: Monitor(Shorter(), None)]) as venv:
        (line,) = venv.set_state(state)
        assert "did not repeat its open episode, of 5 steps" in line
        collect(venv, 5)


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "SFC64", "Philox"])
@pytest.mark.parametrize("kind", [np.random.Generator, np.random.RandomState])
def test_states_come_back_into_objects_that_do_not_exist_yet(bits, kind):
    env, other = Walk(), Walk()
    env.mine = kind(getattr(np.random, bits)(8))
    env.mine.standard_normal(3)
    env.mine.bytes(3)
    saved = generators.states(generators.find(env))
    other.other = None
    generators.restore(other, saved)
    np.testing.assert_array_equal(other.mine.standard_normal(5), env.mine.standard_normal(5))


def test_the_walk_ends_and_calls_nothing():
    class Odd(Walk):
        def __init__(self):
            super().__init__()
            self.itself, self.many = self, list(range(10**6))
            self.deep = head = {}
            for _ in range(100):
                head["next"] = head = {}

        @property
        def wheels(self):
            raise RuntimeError("asked")

    assert all(place.label.startswith(__name__) for place in generators.find(Odd()))  # those of this module
