"""The NumPy actor: its weights, its actions, its frequencies. Against the Keras policy in test_policies.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from baselines_compat.actor import (
    ACTIVATIONS,
    Actor,
    ActorSpec,
    BernoulliHead,
    CategoricalHead,
    MultiCategoricalHead,
)

SMALL = ActorSpec(((2, 3, "tanh"), (3, 2, "linear")), discrete=False)
LOGITS = np.array([0.3, -1.0, 1.5, 0.0])


def categorical(logits: np.ndarray) -> Actor:
    """An actor without inputs that matter: the logits are its biases."""
    spec = ActorSpec(((1, logits.size, "linear"),), discrete=True)
    return Actor(spec, np.concatenate([np.zeros(logits.size), logits]))


def test_weights_are_read_in_their_order():
    """Kernel by rows, bias, layer by layer, then the log deviations."""
    flat = np.random.default_rng(0).normal(size=SMALL.size).astype(np.float32)
    assert SMALL.size == 2 * 3 + 3 + 3 * 2 + 2 + 2
    x = [0.5, -1.0]
    hidden = [math.tanh(sum(x[i] * flat[3 * i + j] for i in range(2)) + flat[6 + j]) for j in range(3)]
    mean = [sum(hidden[i] * flat[9 + 2 * i + j] for i in range(3)) + flat[15 + j] for j in range(2)]
    actor = Actor(SMALL, flat)
    np.testing.assert_allclose(actor.params(np.float32(x)), mean, rtol=1e-5)
    np.testing.assert_allclose(actor.std, np.exp(flat[17:]), rtol=1e-6)
    perturbation = np.float32([1.0, -2.0])
    np.testing.assert_allclose(actor.act(np.float32(x), perturbation), mean + perturbation, rtol=1e-5)
    np.testing.assert_allclose(actor.mode(np.float32(x)), mean, rtol=1e-5)


def test_further_weights_are_the_value_networks_and_too_few_are_an_error():
    flat = np.arange(SMALL.size + 7, dtype=np.float32) / 100
    x = np.float32([1.0, 2.0])
    np.testing.assert_array_equal(Actor(SMALL, flat).params(x), Actor(SMALL, flat[: SMALL.size]).params(x))
    with pytest.raises(ValueError, match="takes 19 weights, not 18"):
        Actor(SMALL, flat[: SMALL.size - 1])


def test_the_actor_keeps_its_own_weights_and_leaves_observations_alone():
    flat = np.ones(SMALL.size, np.float32)
    actor, x = Actor(SMALL, flat), np.float32([0.1, 0.2])
    before = actor.params(x)
    flat[:] = 0.0
    np.testing.assert_array_equal(actor.params(x), before)
    np.testing.assert_array_equal(x, np.float32([0.1, 0.2]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_stay_in_float32_and_finite_far_out(name):
    spec = ActorSpec(((1, 1, name), (1, 1, "linear")), discrete=False)
    actor = Actor(spec, np.float32([1.0, 0.0, 1.0, 0.0, 0.0]))
    with np.errstate(all="raise", under="ignore"):
        for x in (-300.0, -1.0, 0.0, 1.0, 300.0):
            result = actor.params(np.float32([x]))
            assert result.dtype == np.float32
            assert np.isfinite(result).all()


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_actions_are_those_of_the_network_to_the_last_bit(name, layers):
    spec = ActorSpec((*[(4, 4, name)] * (layers - 1), (4, 4, "linear")))
    rng = np.random.default_rng(0)
    actor = Actor(spec, rng.normal(size=spec.size).astype(np.float32))
    states, noise = rng.normal(size=(2, 9, 4)).astype(np.float32)
    actions = [actor.act(state, row) for state, row in zip(states, noise, strict=True)]
    for state, row, action in zip(states, noise, actions, strict=True):  # after all have been taken: none is overwritten
        assert action.tobytes() == (actor.params(state) + row).tobytes()


def test_discrete_actions_are_where_the_sum_of_probabilities_passes_the_uniform_number():
    rng = np.random.default_rng(0)
    for count in (1, 2, 7):
        logits = rng.normal(size=count).astype(np.float32)
        cumulative = np.cumsum(np.exp(logits - logits.max(), dtype=np.float64))
        actor = categorical(logits)
        for row in rng.random((50, 1)):
            action = actor.act(np.zeros(1, np.float32), row)
            assert type(action) is int
            assert action == np.searchsorted(cumulative, row[0] * cumulative[-1], side="right")


def test_frequencies_of_discrete_actions():
    actor = categorical(LOGITS)
    noise = actor.draw_perturbations(np.random.default_rng(0), 20_000)
    actions = [actor.act(np.zeros(1, np.float32), row) for row in noise]
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum() * len(actions)
    assert stats.chisquare(np.bincount(actions, minlength=4), expected).pvalue > 0.01
    assert actor.mode(np.zeros(1, np.float32)) == 2


def test_discrete_actions_at_the_ends_of_the_unit_interval():
    actor = categorical(LOGITS)
    assert actor.act(np.zeros(1, np.float32), np.array([0.0])) == 0
    assert actor.act(np.zeros(1, np.float32), np.array([np.nextafter(1.0, 0.0)])) == 3
    impossible_last = categorical(np.array([0.0, 0.0, -np.inf]))
    assert impossible_last.act(np.zeros(1, np.float32), np.array([np.nextafter(1.0, 0.0)])) == 1
    impossible_first = categorical(np.array([-np.inf, 0.0]))
    assert impossible_first.act(np.zeros(1, np.float32), np.array([0.0])) == 1


def test_large_logits_do_not_overflow():
    actor = categorical(np.array([1e4, -1e4, 1e4]))
    actions = [actor.act(np.zeros(1, np.float32), row) for row in actor.draw_perturbations(np.random.default_rng(1), 200)]
    assert set(actions) == {0, 2}


def test_perturbations_of_gaussian_actions_have_the_policys_deviation_and_repeat():
    flat = np.zeros(SMALL.size)
    flat[-2:] = np.log([0.5, 3.0])
    actor = Actor(SMALL, flat)
    drawn = actor.draw_perturbations(np.random.default_rng(0), 5_000)
    assert drawn.shape == (5_000, 2)
    assert drawn.dtype == np.float32
    assert stats.kstest((drawn / [0.5, 3.0]).ravel(), "norm").pvalue > 0.01
    np.testing.assert_array_equal(drawn, actor.draw_perturbations(np.random.default_rng(0), 5_000))


def test_several_choices_of_which_one_is_a_choice():
    """The numbers, to the last bit, of the categorical head for the same uniforms."""
    rng = np.random.default_rng(0)
    outputs = (3.0 * rng.normal(size=(200, 4))).astype(np.float32)
    one, alone = MultiCategoricalHead((4,)), CategoricalHead(4)
    drawn = [head.draw(np.zeros(0), np.random.default_rng(1), 200) for head in (one, alone)]
    np.testing.assert_array_equal(*drawn)
    expected = [[alone.act(row, uniform)] for row, uniform in zip(outputs, drawn[0], strict=True)]
    np.testing.assert_array_equal(one.act(outputs, drawn[0]), expected)
    np.testing.assert_array_equal([one.act(*pair) for pair in zip(outputs, drawn[0], strict=True)], expected)
    np.testing.assert_array_equal(one.mode(outputs)[:, 0], alone.mode(outputs))


def test_frequencies_of_several_choices_and_switches():
    logits = np.array([0.3, -1.0, 1.5, 0.0, 2.0], np.float32)
    head = MultiCategoricalHead((3, 2))
    uniforms = head.draw(np.zeros(0), np.random.default_rng(0), 20_000)
    chosen = head.act(np.tile(logits, (20_000, 1)), uniforms)
    exact = np.exp(logits.astype(np.float64))
    joint = np.outer(*(part / part.sum() for part in (exact[:3], exact[3:]))).ravel()
    assert stats.chisquare(np.bincount(2 * chosen[:, 0] + chosen[:, 1], minlength=6), joint * 20_000).pvalue > 0.01
    assert head.mode(logits).tolist() == [2, 1]
    impossible = head.act(np.float32([0, 0, -np.inf, 0, -np.inf]), np.full(2, np.nextafter(1.0, 0.0)))
    assert impossible.tolist() == [1, 0]
    switches = BernoulliHead(2)
    bits = switches.act(np.tile(logits[:2], (20_000, 1)), switches.draw(np.zeros(0), np.random.default_rng(0), 20_000))
    for bit, logit in zip(bits.T, logits[:2], strict=True):
        assert stats.binomtest(int(bit.sum()), len(bit), 1.0 / (1.0 + math.exp(-logit))).pvalue > 0.01
    assert switches.mode(logits[:2]).tolist() == [1, 0]
