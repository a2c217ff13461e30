"""Random streams: no two of them alike, and those of small numbers as they always were."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from baselines_compat.vec_env.slot import EnvSlot
from wng_tf.evolution import population
from wng_tf.natural_gradient.seeds import stateless_seed
from wng_tf.training import streams
from wng_tf.training.streams import PURPOSES

# Words of 32 and 64 bits end here, and zeros at the end of a key are easily lost.
EDGES = [0, 1, 2, 5, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 5 * 2**32, 2**63, 2**64 - 1, 2**64, 2**64 + 5, 2**96, 2**128 + 1]
NUMBERS = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**130))


@st.composite
def keys(draw):
    purpose = draw(st.sampled_from(PURPOSES))
    return (draw(NUMBERS), purpose, *(draw(NUMBERS) for _ in purpose.index))


def beginning(key) -> tuple:
    """State of a generator before its first draw."""
    seed, purpose, *index = key
    state = streams.generator(seed, purpose, *index).bit_generator.state["state"]
    return tuple(state["key"].tolist()), tuple(state["counter"].tolist())


@given(keys(), keys())
@example((2**32 + 5, streams.UPDATE, 3), (5, streams.UPDATE, 1))
@example((5, streams.ENVIRONMENT_START, 1), (2**32 + 5, streams.ENVIRONMENT_START, 0))
@example((5, streams.ENVIRONMENT_ACTIONS, 0), (5, streams.EVALUATION_ACTIONS, 0))
@example((5, streams.ENVIRONMENT_START, 0), (5, streams.EVALUATION_START, 0))
@example((5, streams.WEIGHTS), (5, streams.PENALTY_FEATURES))
@example((1, streams.POPULATION_STARTS, 0), (2**64 + 1, streams.POPULATION_STARTS, 0))
def test_equal_streams_have_equal_keys(one, other):
    assert (beginning(one) == beginning(other)) == (one == other)


def test_no_two_streams_of_edges_are_alike():
    every = [(s, p, *([i] * len(p.index))) for p in PURPOSES for s in EDGES for i in (EDGES if p.index else [None])]
    assert len({beginning(key) for key in every}) == len(every)


def test_every_purpose_has_a_name_of_its_own():
    assert len({purpose.name for purpose in PURPOSES}) == len(PURPOSES)
    named = [value for value in vars(streams).values() if isinstance(value, streams.Purpose)]
    assert {purpose.name for purpose in named} == {purpose.name for purpose in PURPOSES}


@pytest.mark.parametrize(
    ("seed", "weights", "start", "actions", "update"),
    [
        (0, [2968811710, 3677149159, 745650761, 2884920346], 1467326133, 2750832957606599055, 5597858526997519049),
        (5, [16823399, 2940995229, 2290007392, 1039507385], 3988778043, 9008089739398079757, 2278695657584760064),
        (2**32 - 1, [1992424968, 705021410, 3255730584, 540206095], 2371053468, 740587970864540011, 8007174962270243882),
    ],
)
def test_small_seeds_give_policy_gradients_their_old_bits(seed, weights, start, actions, update):
    assert streams.WEIGHTS.words(4, seed) == weights
    assert streams.ENVIRONMENT_START.words(1, seed, 3) == [start]
    assert streams.generator(seed, streams.ENVIRONMENT_ACTIONS, 3).integers(2**63) == actions
    assert streams.generator(seed, streams.UPDATE, 3).integers(2**63) == update


@pytest.mark.parametrize(
    ("seed", "draws"),
    [
        (0, [1938827630232551745, 346823049777898083, 3572663247172722372, 2793271689948428836, 5928286773274742413]),
        (5, [2128638669399676994, 2377918444805864568, 6633968315815207450, 7750089942764008010, 6400735551657671528]),
        (2**64 - 1, [8410978091818907534, 6330937408044621769, 6348883982879236039, 2376760259399091775]),
    ],
)
def test_seeds_below_64_bits_give_evolution_strategies_their_old_bits(seed, draws):
    purposes = list(population.Stream)[: len(draws)]
    assert [population.tensor_seed(seed, 4, purpose) for purpose in purposes] == draws


@pytest.mark.parametrize("bad", [(-1, 0), (0, -1), (0,), (0, 0, 0)])
def test_what_is_no_key_is_refused(bad):
    seed, *index = bad
    with pytest.raises(ValueError, match="'update' is keyed by seed and update"):
        streams.generator(seed, streams.UPDATE, *index)
    with pytest.raises(TypeError):
        streams.generator(0.5, streams.UPDATE, 1)


def test_environments_of_different_runs_do_not_share_their_streams():
    runs = ((5, 0), (5, 1), (2**32 + 5, 0), (2**32 + 5, 1), (1, 5), (2**64, 0))
    slots = [EnvSlot(lambda: gymnasium.make("CartPole-v1"), i, seed) for seed, i in runs]
    assert len({slot._reset_seed for slot in slots}) == len(slots)
    assert len({slot.rng.integers(2**63) for slot in slots}) == len(slots)


def test_seeds_of_tensorflow_hold_64_bits():
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    assert len({tuple(stateless_seed(seed).numpy().tolist()) for seed in seeds}) == len(seeds)
    assert stateless_seed(np.uint64(2**40)).numpy().tolist() == stateless_seed(2**40).numpy().tolist() == [0, 256]
    assert stateless_seed((3, 4)).numpy().tolist() == [3, 4]
    for bad in (-(2**63) - 1, 2**64):
        with pytest.raises(ValueError, match="at most 64 bits"):
            stateless_seed(bad)
